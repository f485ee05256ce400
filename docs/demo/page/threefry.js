/**
 * The numbers that jax.random.normal draws, as elir_jax/edge/threefry.py has them.
 *
 * Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011),
 * counted as JAX does with jax_threefry_partitionable. The bits are JAX's; the normal numbers differ
 * in the last places. A key is two words of 32 bits.
 */

const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]];
const PARITY = 0x1bd11bda;
// The inverse error function of float32 as two polynomials in w = -log(1 - x^2), near and far from 0
// (Giles, "Approximating the erfinv function", GPU Computing Gems, 2011), highest power first.
const NEAR = [2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
  -0.00125372503, -0.00417768164, 0.246640727, 1.50140941];
const FAR = [-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
  -0.0076224613, 0.00943887047, 1.00167406, 2.83297682];
const BORDER = 5; // of w
const LOWEST = -1 + 2 ** -24; // the float32 next to -1

const {fround} = Math;

/** The hash of two words, into `hashed`. */
function threefry([first, second], x0, x1, hashed) {
  const keys = [first, second, first ^ second ^ PARITY];
  x0 = (x0 + keys[0]) | 0;
  x1 = (x1 + keys[1]) | 0;
  for (let group = 0; group < 5; group++) {
    for (const rotation of ROTATIONS[group % 2]) {
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << rotation) | (x1 >>> (32 - rotation))) ^ x0;
    }
    x0 = (x0 + keys[(group + 1) % 3]) | 0;
    x1 = (x1 + keys[(group + 2) % 3] + group + 1) | 0;
  }
  hashed[0] = x0;
  hashed[1] = x1;
}

/** jax.random.fold_in: the key of the hash of (0, word). */
export function foldIn(key, word) {
  const folded = new Uint32Array(2);
  threefry(key, 0, word, folded);
  return folded;
}

/** The random bits of the first `count` elements of an array, at most 2^32 of them. */
export function bits(key, count) {
  const found = new Uint32Array(count);
  const hashed = new Uint32Array(2);
  for (let n = 0; n < count; n++) {
    threefry(key, 0, n, hashed);
    found[n] = hashed[0] ^ hashed[1];
  }
  return found;
}

/** jax.random.normal: `count` independent numbers of mean 0 and variance 1. */
export function normal(key, count) {
  const numbers = new Float32Array(count);
  bits(key, count).forEach((word, n) => { numbers[n] = quantile(word); });
  return numbers;
}

/** Random bits -> a normal number: 23 bits as a uniform number in (-1, 1), then its quantile. */
function quantile(word) {
  const unit = (word >>> 9) * 2 ** -23;
  const x = Math.max(LOWEST, fround(2 * unit + LOWEST));
  const w = -Math.log1p(-fround(x * x));
  const [terms, place] = w < BORDER ? [NEAR, w - 2.5] : [FAR, Math.sqrt(w) - 3];
  return Math.SQRT2 * x * terms.reduce((value, term) => value * place + term);
}
