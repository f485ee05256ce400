"""The unit noise of a picture, the same numbers as ``jax.random.normal`` draws, without JAX.

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011),
counted as JAX does with ``jax_threefry_partitionable``: element n of an array is the exclusive or
of the two words that n gives. The bits are JAX's; the normal numbers differ by float32 rounding in
the logarithm and the square root (a test says how much).
"""

import numpy as np

from elir_jax.arrays import Float32, UInt32
from elir_jax.inference.fingerprint import fingerprint
from elir_jax.inference.windows import Stored

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)
PART = 2**22  # numbers that are drawn at once
# The inverse error function of float32 as two polynomials in w = -log(1 - x^2), near and far from 0
# (Giles, "Approximating the erfinv function", GPU Computing Gems, 2011), highest power first.
NEAR = np.float32([2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
                   -0.00125372503, -0.00417768164, 0.246640727, 1.50140941])  # fmt: skip
FAR = np.float32([-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
                  -0.0076224613, 0.00943887047, 1.00167406, 2.83297682])  # fmt: skip
BORDER = 5  # of w

Words = UInt32[np.ndarray, "..."]


def unit_noise(seed: int, image: Stored, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """The numbers of :func:`elir_jax.inference.noise.unit_noise`."""
    key = np.array([0, seed], np.uint32)
    for word in fingerprint(image):
        key = fold_in(key, word)
    return normal(key, shape)


def fold_in(key: UInt32[np.ndarray, "2"], word: np.uint32) -> UInt32[np.ndarray, "2"]:
    """``jax.random.fold_in``: the key of the hash of (0, word)."""
    first, second = threefry(key, np.zeros(1, np.uint32), np.array([word], np.uint32))
    return np.concatenate([first, second])


def normal(key: UInt32[np.ndarray, "2"], shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """``jax.random.normal``."""
    result = np.empty(int(np.prod(shape)), np.float32)
    for first in range(0, result.size, PART):
        some = result[first : first + PART]
        some[:] = _normal(bits(key, first, some.size))
    return result.reshape(shape)


def bits(key: UInt32[np.ndarray, "2"], first: int, count: int) -> Words:
    """The random bits of elements ``first``, ... of an array."""
    number = np.arange(first, first + count, dtype=np.uint64)
    high, low = (number >> np.uint64(32)).astype(np.uint32), number.astype(np.uint32)
    one, other = threefry(key, high, low)
    return one ^ other


def threefry(key: UInt32[np.ndarray, "2"], x0: Words, x1: Words) -> tuple[Words, Words]:
    """The hash of pairs of words."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    with np.errstate(over="ignore"):  # sums are modulo 2^32
        x0, x1 = x0 + keys[0], x1 + keys[1]
        for group in range(5):
            for rotation in ROTATIONS[group % 2]:
                x0 = x0 + x1
                x1 = (x1 << np.uint32(rotation) | x1 >> np.uint32(32 - rotation)) ^ x0
            x0 = x0 + keys[(group + 1) % 3]
            x1 = x1 + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def _normal(bits: Words) -> Float32[np.ndarray, "..."]:
    """Random bits -> normal numbers: 23 bits as a uniform number in (-1, 1), then its quantile."""
    low = np.nextafter(np.float32(-1), np.float32(0))
    unit = (bits >> np.uint32(9) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
    x = np.maximum(low, unit * (np.float32(1) - low) + low)
    w = -np.log1p(-x * x)
    near = w < BORDER
    w = np.where(near, w - np.float32(2.5), np.sqrt(w) - np.float32(3))
    value = np.where(near, NEAR[0], FAR[0])
    for by_near, by_far in zip(NEAR[1:], FAR[1:], strict=True):
        value = np.where(near, by_near, by_far) + value * w
    return np.float32(np.sqrt(2)) * (value * x)
