/** Restores beside the page, so that the page can still be used: pictures in, progress out. */

import {openModel} from "./model.js";
import {restore} from "./restorer.js";
import {wordsFor} from "./told.js";

const opened = new Map(); // folder -> model

addEventListener("message", async ({data: {folder, picture, seed}}) => {
  try {
    if (!opened.has(folder)) opened.set(folder, await openModel(folder));
    const restored = await restore(opened.get(folder), picture, seed, (share) => postMessage({share}));
    postMessage({restored}, [restored.data.buffer]);
  } catch (error) {
    postMessage({wrong: wordsFor(error)});
  }
});
