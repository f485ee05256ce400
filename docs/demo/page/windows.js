/**
 * Windows over pictures, as elir_jax/inference/windows.py lays and joins them.
 *
 * The output of a local part sees a bounded neighbourhood, its halo. Windows overlap by twice the
 * halo, and of each only the area is used whose whole halo lies inside, so they leave no seams.
 * Lengths are in units: elements of the coarser of a part's input and output. Images are
 * {data, height, width, channels}, row by row, channels last.
 */

/**
 * The padded length of a side, as elir_jax/inference/whole_pictures.py has it: 1 to 8 times
 * `multiple`, then four sizes for each doubling.
 */
export function paddedSide(pixels, multiple) {
  let step = multiple;
  while (pixels > 8 * step) step *= 2;
  return Math.ceil(pixels / step) * step;
}

/**
 * The windows of at most `most` units that need the least work together, as {rows, columns} of cuts
 * {start, stop, first, last}: a window and its area that is used. Null if such small windows would
 * be smaller than their halo.
 */
export function layOut(height, width, most, halo) {
  let best = null;
  for (const rows of counts(height, halo)) {
    for (const columns of counts(width, halo)) {
      const area = sideOf(height, rows, halo) * sideOf(width, columns, halo);
      if (area > most) continue;
      const work = rows * columns * area;
      if (best === null || work < best.work) best = {work, rows, columns}; // of equals, the first
      break; // more windows would only compute more twice
    }
  }
  if (best === null) return null;
  return {
    rows: cut(height, best.rows, sideOf(height, best.rows, halo)),
    columns: cut(width, best.columns, sideOf(width, best.columns, halo)),
  };
}

/** Length of `count` windows over `length` whose neighbours overlap by twice the halo. */
function sideOf(length, count, halo) {
  return Math.ceil((length + 2 * halo * (count - 1)) / count);
}

/** The possible numbers of windows along a side. */
function* counts(length, halo) {
  for (let count = 1; count === 1 || sideOf(length, count, halo) > 2 * halo + 1; count++) {
    yield count;
  }
}

function cut(length, count, side) {
  const room = length - side;
  const starts = Array.from({length: count}, (_, i) => Math.floor(room * i / Math.max(count - 1, 1)));
  // The seam between neighbours lies in the middle of their overlap.
  const seams = starts.slice(1).map((after, i) => Math.floor((starts[i] + side + after) / 2));
  return starts.map((start, i) => ({
    start, stop: start + side, first: i ? seams[i - 1] : 0, last: i < count - 1 ? seams[i] : length,
  }));
}

/**
 * Run a local part in windows. `call` is the part: images of floats -> an image. The `units` are
 * the number of elements per unit along a side, for input and output; the result has the `size`
 * {height, width}, which may be smaller than the layout.
 */
export async function joinWindows(call, images, layout, [unitIn, unitOut], size) {
  let joined = null;
  for (const row of layout.rows) {
    for (const column of layout.columns) {
      const output = await call(images.map((image) => mirrored(image, row, column, unitIn)));
      joined ??= {
        ...size, channels: output.channels,
        data: new Float32Array(size.height * size.width * output.channels),
      };
      place(output, row, column, unitOut, joined);
    }
  }
  return joined;
}

/** Copy the area of a window that is used to where it belongs. */
function place(output, row, column, unit, joined) {
  const {channels} = joined;
  const left = column.first * unit;
  const right = Math.min(column.last * unit, joined.width);
  const bottom = Math.min(row.last * unit, joined.height);
  for (let y = row.first * unit; y < bottom && left < right; y++) {
    const line = (y - row.start * unit) * output.width - column.start * unit;
    const from = output.data.subarray((line + left) * channels, (line + right) * channels);
    joined.data.set(from, (y * joined.width + left) * channels);
  }
}

/**
 * A window of an image as floats; 8-bit samples become numbers in [0, 1]. Beyond its edges the image
 * is mirrored, repeatedly if it is small.
 */
export function mirrored(image, row, column, unit) {
  const {data, channels} = image;
  const ys = places(row.start * unit, row.stop * unit, image.height);
  const xs = places(column.start * unit, column.stop * unit, image.width);
  const top = data instanceof Float32Array ? 1 : 255;
  const window = new Float32Array(ys.length * xs.length * channels);
  let at = 0;
  for (const y of ys) {
    for (const x of xs) {
      const from = (y * image.width + x) * channels;
      for (let c = 0; c < channels; c++) window[at++] = data[from + c] / top;
    }
  }
  return {data: window, height: ys.length, width: xs.length, channels};
}

function places(start, stop, length) {
  const period = Math.max(2 * (length - 1), 1);
  return Array.from({length: stop - start}, (_, i) => {
    const at = (start + i) % period;
    return at < length ? at : period - at;
  });
}
