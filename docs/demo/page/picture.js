/** Files of pictures <-> pixels, by the browser's own decoders and its own PNG encoder. */

import {greyPng, isGrey} from "./grey.js";
import {Told} from "./told.js";

const MOST = 2 ** 24; // pixels: the largest canvas of a telephone

/**
 * A file -> {data, height, width, channels: 3}: upright 8-bit sRGB. What is transparent becomes
 * white. Throws a Told that names the file.
 */
export async function readPicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Told(`${file.name}: no picture that this browser can read; save it as PNG or JPEG.`);
  }
  const {width, height} = bitmap;
  if (width * height > MOST) {
    const size = `${width}x${height} pixels are too many`;
    throw new Told(`${file.name}: ${size}, at most ${Math.floor(MOST / 1e6)} million; make it smaller.`);
  }
  const context = contextOf(document.createElement("canvas"), {width, height});
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const {data} = context.getImageData(0, 0, width, height);
  return {data: withoutAlpha(data), height, width, channels: 3};
}

/** Draw a picture on a canvas, in its own size. */
export function draw(canvas, picture) {
  const {data, height, width} = picture;
  const pixels = new ImageData(width, height);
  for (let from = 0, to = 0; from < data.length; to += 4) {
    for (let c = 0; c < 3; c++) pixels.data[to + c] = data[from++];
    pixels.data[to + 3] = 255;
  }
  contextOf(canvas, picture).putImageData(pixels, 0, 0);
}

/** The PNG of a picture that is drawn on a canvas, as a Blob; of a grey one, with one channel. */
export async function pngOf(canvas, picture) {
  if (isGrey(picture) && typeof CompressionStream !== "undefined") {
    return new Blob([await greyPng(picture)], {type: "image/png"});
  }
  const blob = await new Promise((give) => canvas.toBlob(give, "image/png"));
  if (blob === null) throw new Told("The PNG cannot be written: the browser has too little memory.");
  return blob;
}

/** `holiday.jpg` -> `holiday-restored.png`. */
export function resultName(name) {
  return `${name.replace(/\.[^.]+$/, "")}-restored.png`;
}

function contextOf(canvas, {width, height}) {
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", {willReadFrequently: true});
}

function withoutAlpha(rgba) {
  const rgb = new Uint8Array(rgba.length / 4 * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4) {
    for (let c = 0; c < 3; c++) rgb[to++] = rgba[from + c];
  }
  return rgb;
}
