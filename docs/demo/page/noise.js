/**
 * The unit noise of a picture. It follows from the picture's pixels and a seed, as in
 * elir_jax/inference/fingerprint.py and noise.py, so that each restoration can be repeated.
 */

import {blake2b} from "./vendor/hashes/blake2.js";
import {foldIn, normal} from "./threefry.js";

/** 64 bits of a picture, as two words; its pixels are 8-bit RGB. */
export function fingerprint({data, height, width}) {
  const hash = blake2b.create({dkLen: 8});
  hash.update(new TextEncoder().encode(`(${height}, ${width}, 3)`));
  hash.update(data);
  const digest = new DataView(hash.digest().buffer);
  return [digest.getUint32(0, true), digest.getUint32(4, true)];
}

/** The picture's `count` numbers of mean 0 and variance 1. */
export function unitNoise(seed, picture, count) {
  return normal(fingerprint(picture).reduce(foldIn, [0, seed]), count);
}
