/**
 * A model in the browser: what its model.json says, and its parts as sessions of onnxruntime-web.
 */

import * as ort from "./vendor/ort/ort.wasm.min.mjs";
import {fetched} from "./fetched.js";
import {Told, AGAIN} from "./told.js";

const RUNTIME = new URL("./vendor/ort/", import.meta.url);

/** The model in a folder: {about, run}; `run(part, inputs)` computes the output of a part. */
export async function openModel(folder) {
  await startRuntime();
  const about = await (await fetched(new URL("model.json", folder), "The model")).json();
  const sessions = {};
  for (const part of about.parts) {
    const file = await fetched(new URL(part.file, folder), "The model");
    sessions[part.name] = await load(new Uint8Array(await file.arrayBuffer()));
  }

  /** Inputs and output: {data, dims}, float32. */
  async function run(part, inputs) {
    const fed = inputs.map(({data, dims}) => new ort.Tensor("float32", data, dims));
    const named = Object.fromEntries(part.inputs.map((name, i) => [name, fed[i]]));
    const found = await sessions[part.name].run(named);
    return found[part.output];
  }

  return {about, run};
}

async function startRuntime() {
  if (typeof WebAssembly === "undefined") {
    throw new Told("This browser has no WebAssembly: use another one, or allow it.");
  }
  const {wasm} = ort.env;
  if (wasm.wasmBinary) return;
  const file = await fetched(new URL("ort-wasm-simd-threaded.wasm", RUNTIME), "The runtime (WASM)");
  wasm.wasmPaths = RUNTIME.href;
  // Threads share memory, which a browser allows only to an isolated page (serve.py).
  wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  wasm.wasmBinary = await file.arrayBuffer();
}

async function load(content) {
  try {
    return await ort.InferenceSession.create(content, {executionProviders: ["wasm"], logSeverityLevel: 3});
  } catch (error) {
    throw new Told(`The model cannot be loaded (${String(error.message).slice(0, 100)}): ${AGAIN}.`);
  }
}
