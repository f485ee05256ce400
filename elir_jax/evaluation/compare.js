/**
 * The divider of a comparison follows the pointer over the whole picture, and the keyboard through
 * the range within it. `compare` is the element that compare.css is about.
 */
export function follow(compare) {
  const range = compare.querySelector("input");

  function move(percent) {
    compare.style.setProperty("--at", percent + "%");
  }

  function point(event) {
    const box = compare.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const percent = 100 * Math.min(Math.max(share, 0), 1);
    range.value = percent;
    move(percent);
  }

  range.addEventListener("input", () => move(range.value));
  compare.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    compare.setPointerCapture(event.pointerId);
    point(event);
  });
  compare.addEventListener("pointermove", (event) => {
    if (compare.hasPointerCapture(event.pointerId)) point(event);
  });
  compare.addEventListener("click", () => range.focus({preventScroll: true}));
}
