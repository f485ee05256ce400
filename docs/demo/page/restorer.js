/**
 * Restores a picture of any size, as elir_jax.edge.Restorer does: the same padding, windows and
 * noise. Encoder and decoder run in windows; the posterior mean and the flow see all latents at once.
 */

import {asGrey, isGrey} from "./grey.js";
import {unitNoise} from "./noise.js";
import {Told} from "./told.js";
import {joinWindows, layOut, paddedSide} from "./windows.js";

// Milliseconds for 32x32 latents (docs/edge.md). Only their ratios count, for the progress.
const COST = {encode: 152, posterior_mean: 92, flow: 63, decode: 163, add: 0};
const MEAN_OF_PIXELS = 84 / 64; // of an estimator of pixels, for one of them

/**
 * Restore a picture {data, height, width, channels: 3} of 8-bit RGB; gives such a picture back,
 * in grey if the picture is, unless the model adds colours.
 * `report(share)` is told the share of the work that is done.
 */
export async function restore(model, picture, seed, report) {
  const plan = planOf(model.about, picture);
  const total = plan.reduce((sum, step) => sum + step.work, 0);
  let image = picture;
  let done = 0;
  const finish = (part, height, width) => {
    done += costOf(part) * height * width;
    report(done / total);
  };
  report(0);
  const made = {};
  for (const step of plan) {
    const images = step.part.also ? [image, made[step.part.also]] : [image];
    image = await step.run(model, images, seed, picture, finish);
    made[step.part.name] = image;
  }
  if (model.about.task !== "colorization" && isGrey(picture)) image = asGrey(image);
  return {...picture, data: levels(image.data)};
}

/** Floats -> the nearest of 8 bits. The array clamps, and rounds halves to even, as NumPy does. */
function levels(data) {
  const rounded = new Uint8ClampedArray(data.length);
  data.forEach((x, i) => { rounded[i] = Math.fround(255 * x); });
  return rounded;
}

/** What a part costs for each element that it counts; both ends of the flow may be decoded. */
function costOf(part) {
  if (part.name === "posterior_mean" && part.reach === "Local") return MEAN_OF_PIXELS;
  return COST[part.name] * (part.name === "decode" && part.also ? 2 : 1);
}

/** The steps of the restoration: {part, work, run}. */
function planOf(about, picture) {
  const side = (pixels) => paddedSide(pixels, about.multiple);
  let [height, width] = [side(picture.height), side(picture.width)];
  return about.parts.map((part, number) => {
    const last = number === about.parts.length - 1;
    const [above, below] = part.scale.split("/").map(Number);
    const [coarse, scale] = below ? [[below, 1], above / below] : [[1, above], above];
    const units = coarse.map((elements) => elements * (part.sizes.unit ?? 1));
    const input = {height: height / units[0], width: width / units[0]};
    [height, width] = [height * scale, width * scale];
    const size = last ? {height: picture.height, width: picture.width} : {height, width};
    return part.reach === "Local" ? local(part, input, units, size, about.flow) : whole(part, input, about.flow);
  });
}

/** A part in windows; `input` is in units. */
function local(part, input, units, size, flow) {
  const layout = layOut(input.height, input.width, part.sizes.at_once, part.sizes.halo);
  if (layout === null) throw new Told("The picture is too large for this model.");
  const area = ({rows: [row], columns: [column]}) =>
    (row.stop - row.start) * (column.stop - column.start);
  // Costs are those of an element, units may be squares of them.
  const perUnit = costOf(part) * (part.sizes.unit ?? 1) ** 2;
  const work = perUnit * layout.rows.length * layout.columns.length * area(layout);

  function run(model, images, seed, picture, finish) {
    const call = async (windows) => {
      const given = part.inputs.includes("fidelity") ? [scalar(flow.fidelity)] : [];
      const output = imageOf(await model.run(part, [...windows.map(tensorOf), ...given]));
      const side = units[0] / (part.sizes.unit ?? 1);
      finish(part, windows[0].height / side, windows[0].width / side);
      return output;
    };
    return joinWindows(call, images, layout, units, size);
  }

  return {part, work, run};
}

/** A part on everything. */
function whole(part, {height, width}, flow) {
  if (height * width > part.sizes.at_once) throw new Told("The picture is too large for this model.");
  const calls = part.noisy ? flow.steps : 1;

  async function run(model, [image], seed, picture, finish) {
    let state = tensorOf(part.noisy && flow.noise ? noised(image, flow, seed, picture) : image);
    for (let m = 0; m < calls; m++) {
      const times = part.noisy ? [scalar(m / flow.steps), scalar(1 / flow.steps)] : [];
      state = await model.run(part, [state, ...times]);
      finish(part, height, width);
    }
    return imageOf(state);
  }

  return {part, work: costOf(part) * calls * height * width, run};
}

/** Where the flow starts: the posterior mean with noise of deviation sigma_s. */
function noised(mean, flow, seed, picture) {
  const sigma = Math.fround(flow.sigma_s);
  const noise = unitNoise(seed, picture, mean.data.length);
  return {...mean, data: mean.data.map((z, i) => z + Math.fround(sigma * noise[i]))};
}

function scalar(value) {
  return {data: Float32Array.of(value), dims: [1]};
}

function tensorOf({data, height, width, channels}) {
  return {data, dims: [1, height, width, channels]};
}

function imageOf({data, dims: [, height, width, channels]}) {
  return {data, height, width, channels};
}
