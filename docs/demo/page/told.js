/** An error whose message is one line of plain words for the user. */
export class Told extends Error {}

/** What helps if a file of the page is missing or damaged. */
export const AGAIN = "build the page's folder again";

/** The line that is shown for any error. */
export function wordsFor(error) {
  if (error instanceof Told) return error.message;
  const said = String(error?.message ?? error).split("\n")[0].slice(0, 200);
  // An allocation that fails in WebAssembly ends as a number, or as one of these.
  if (typeof error === "number" || error instanceof RangeError || /alloc|memory|\b\d{6,}$/i.test(said)) {
    return "The browser has not enough memory for this picture: make the picture smaller.";
  }
  return `Restoring failed: ${said}`;
}
