/** What happens on the page: a picture comes, is restored, is compared and saved. */

import {follow} from "./compare.js";
import {fetched} from "./fetched.js";
import {draw, pngOf, readPicture, resultName} from "./picture.js";
import {Progress} from "./progress.js";
import {restoreBeside, stop} from "./restoring.js";
import {Told, wordsFor} from "./told.js";

const SEED = 0; // as the command's
const COMFORTABLE = 640; // pixels; small pictures are enlarged within this
const HERE = new URL("./", import.meta.url);
const at = (id) => document.getElementById(id);
const progress = new Progress(at("bar"), at("line"));
let file = null; // the one that was chosen last
let turn = 0; // counts what was asked for; only the latest is shown

/** Restore the chosen file, and show how it goes. */
async function restoreFile() {
  const mine = ++turn;
  stop();
  const show = (found) => {
    if (mine !== turn) return;
    for (const name of ["wrong", "working", "result"]) at(name).hidden = name !== found;
  };
  progress.wait("Loading");
  show("working");
  try {
    const picture = await readPicture(file);
    if (mine !== turn) return;
    const began = performance.now();
    const request = {folder: folderOfModel(), picture, seed: SEED};
    const restored = await restoreBeside(request, (share) => progress.show(share));
    if (restored === null || mine !== turn) return;
    await present(picture, restored, (performance.now() - began) / 1000);
    show("result");
  } catch (error) {
    if (mine === turn) at("wrong").textContent = wordsFor(error);
    show("wrong");
  }
}

async function present(before, after, seconds) {
  draw(at("before"), before);
  draw(at("after"), after);
  fit(before);
  const save = at("save");
  URL.revokeObjectURL(save.href);
  save.href = URL.createObjectURL(await pngOf(at("after"), after));
  save.download = resultName(file.name);
  at("said").textContent = `${before.width}x${before.height} pixels, ${Math.round(seconds)} seconds`;
}

/** Give the comparison the picture's size; small pictures are enlarged by a whole factor. */
function fit({width, height}) {
  const compare = document.querySelector(".compare");
  const scale = Math.max(1, Math.floor(COMFORTABLE / Math.max(width, height)));
  const sizes = {"--width": width, "--height": height, "--scale": scale};
  for (const [name, value] of Object.entries(sizes)) compare.style.setProperty(name, value);
  compare.classList.toggle("small", scale > 1);
}

function folderOfModel() {
  return new URL(`models/${document.querySelector("#models input:checked").value}/`, HERE).href;
}

/** Offer the models that lie in the folder. */
async function offerModels() {
  const models = await (await fetched(new URL("models.json", HERE), "The model")).json();
  models.forEach(({name, words}, number) => {
    const radio = Object.assign(document.createElement("input"), {
      type: "radio", name: "model", value: name, checked: number === 0,
    });
    const label = document.createElement("label");
    label.append(radio, words);
    at("models").append(label);
  });
  at("models").hidden = models.length < 2;
}

function take(files) {
  if (!files.length) throw new Told("That was no file: drop or choose a picture.");
  file = files[0];
  restoreFile();
}

function listen() {
  at("file").addEventListener("change", ({target}) => {
    if (target.files.length) take(target.files);
    target.value = ""; // so that the same file can be chosen again
  });
  at("models").addEventListener("change", () => file && restoreFile());
  at("stop").addEventListener("click", () => {
    turn++;
    stop();
    at("working").hidden = true;
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
  addEventListener("dragleave", () => at("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
    guard(() => take(event.dataTransfer.files));
  });
}

/** Run, and show an error in a line. */
async function guard(work) {
  try {
    await work();
  } catch (error) {
    at("wrong").textContent = wordsFor(error);
    at("wrong").hidden = false;
  }
}

follow(document.querySelector(".compare"));
listen();
at("unready").hidden = true;
at("ready").hidden = false;
guard(offerModels);
