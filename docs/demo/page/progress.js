/** How far a restoration is, and how long it will still take. */

/** "about 40 seconds left", of the share that is done and the seconds it took; "" before any. */
export function timeLeft(share, seconds) {
  if (share <= 0) return "";
  const left = seconds * (1 - share) / share;
  if (left >= 90) return `about ${Math.round(left / 60)} minutes left`;
  const rounded = left > 10 ? 5 * Math.round(left / 5) : Math.max(1, Math.round(left));
  return `about ${rounded} ${rounded === 1 ? "second" : "seconds"} left`;
}

/** Shows progress on a <progress> and in a line of text. */
export class Progress {
  constructor(bar, line) {
    Object.assign(this, {bar, line, began: 0});
  }

  /** Something of unknown length is going on. */
  wait(words) {
    this.bar.removeAttribute("value");
    this.line.textContent = words;
    this.began = 0;
  }

  /** A share of the work is done; the first call starts the clock. */
  show(share) {
    this.began ||= performance.now();
    this.bar.value = share;
    const left = timeLeft(share, (performance.now() - this.began) / 1000);
    this.line.textContent = left ? `Restoring: ${Math.round(100 * share)} %, ${left}` : "Restoring";
  }
}
