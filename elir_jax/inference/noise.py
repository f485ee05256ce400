"""The source noise of a picture: it follows from the picture's pixels and a seed.

So each picture of a set has its own noise. It is the same whatever pictures are restored with it,
whatever its number or file name is, and whichever command restores it. The runner without JAX
(``elir_jax.edge.threefry``) draws the same numbers.
"""

import math

import jax
import numpy as np
from jaxtyping import Float32, Key

from elir_jax.inference.fingerprint import fingerprint
from elir_jax.inference.windows import Stored

STEP = 2**22  # numbers; shorter draws have the length of a power of two


def picture_key(seed: int, image: Stored) -> Key[jax.Array, ""]:
    """The key of a picture's noise: ``seed`` with the picture's fingerprint folded in.

    ``seed`` is in [0, 2^32).
    """
    key = jax.random.key(seed)
    for word in fingerprint(image):
        key = jax.random.fold_in(key, word)
    return key


def unit_noise(seed: int, image: Stored, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """The picture's noise of that shape: independent numbers of mean 0 and variance 1."""
    # With JAX's default keys (partitionable threefry) a longer draw begins with the shorter. So a
    # few lengths serve all shapes, and jax keeps few programs.
    size = math.prod(shape)
    step = min(STEP, 1 << (size - 1).bit_length())
    drawn = jax.random.normal(picture_key(seed, image), (-(-size // step) * step,))
    return np.asarray(drawn)[:size].reshape(shape)
