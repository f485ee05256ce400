/**
 * Grey pictures: three equal channels in memory, one in a PNG, as elir_jax/pictures/grey.py has
 * them. Pictures are {data, height, width, channels: 3}.
 */

const LUMA = [0.299, 0.587, 0.114].map(Math.fround); // of red, green and blue; ITU-R BT.601
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const UP = 2; // the filter of a row: what it adds to the one above

/** Whether the three channels are equal. */
export function isGrey({data}) {
  for (let at = 0; at < data.length; at += 3) {
    if (data[at] !== data[at + 1] || data[at] !== data[at + 2]) return false;
  }
  return true;
}

/** The luma of floats, in three equal channels. */
export function asGrey(image) {
  const colours = image.data;
  const data = new Float32Array(colours.length);
  for (let at = 0; at < data.length; at += 3) {
    const luma = LUMA[0] * colours[at] + LUMA[1] * colours[at + 1] + LUMA[2] * colours[at + 2];
    data.fill(luma, at, at + 3);
  }
  return {...image, data};
}

/** A PNG of one channel, as bytes. */
export async function greyPng({data, height, width}) {
  const rows = new Uint8Array(height * (width + 1));
  for (let y = 0, to = 0; y < height; y++) {
    rows[to++] = UP;
    for (let x = 0; x < width; x++, to++) {
      const above = y ? data[3 * ((y - 1) * width + x)] : 0;
      rows[to] = data[3 * (y * width + x)] - above;
    }
  }
  const size = new Uint8Array(13);
  new DataView(size.buffer).setUint32(0, width);
  new DataView(size.buffer).setUint32(4, height);
  size[8] = 8; // bits; the other fields are zeros: grey, deflate, no interlacing
  const chunks = [chunk("IHDR", size), chunk("IDAT", await deflated(rows)), chunk("IEND", [])];
  return new Uint8Array(await new Blob([Uint8Array.from(SIGNATURE), ...chunks]).arrayBuffer());
}

async function deflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A chunk: length, kind, content and checksum. */
function chunk(kind, content) {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, checksum(bytes.subarray(4, 8 + content.length)));
  return bytes;
}

/** The CRC-32 of bytes. */
function checksum(bytes) {
  let sum = ~0;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}

const TABLE = Array.from({length: 256}, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});
