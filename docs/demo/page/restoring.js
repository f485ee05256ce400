/** Asks the worker to restore, one picture at a time. */

import {spawn} from "./spawn.js";
import {AGAIN, Told} from "./told.js";

let worker = null;
let abandon = null; // of the restoration that goes on

/**
 * Restore {folder, picture, seed}; `report(share)` is told the progress. A restoration that still
 * goes on is stopped. Resolves to the restored picture, or to null if it was stopped; throws a Told.
 */
export async function restoreBeside(request, report) {
  stop();
  worker ??= spawn(new URL("./worker.js", import.meta.url));
  try {
    return await answer(request, report);
  } catch (error) {
    close(); // its memory may be damaged
    throw error;
  } finally {
    abandon = null;
  }
}

/** Stop what goes on. */
export function stop() {
  if (abandon === null) return;
  close();
  abandon(null);
  abandon = null;
}

function close() {
  worker?.terminate();
  worker = null;
}

function answer(request, report) {
  return new Promise((resolve, reject) => {
    abandon = resolve;
    worker.onmessage = ({data: {share, wrong, restored}}) => {
      if (wrong !== undefined) reject(new Told(wrong));
      else if (restored !== undefined) resolve(restored);
      else report(share);
    };
    worker.onerror = () => {
      reject(new Told(`A program of this page is missing: ${AGAIN}.`));
    };
    worker.postMessage(request);
  });
}
