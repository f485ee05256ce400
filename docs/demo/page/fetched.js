/** Files of the page's folder. */

import {AGAIN, Told} from "./told.js";

/**
 * The response of a file; `what` it is stands in the error. The server is always asked whether the
 * file has changed: parts of two builds do not fit together.
 */
export async function fetched(url, what) {
  let response;
  try {
    response = await fetch(url, {cache: "no-cache"});
  } catch {
    throw new Told(`${what} cannot be fetched: is the page's server still running?`);
  }
  if (!response.ok) {
    throw new Told(`${what} is missing (${url.pathname.split("/").pop()}): ${AGAIN}.`);
  }
  return response;
}
