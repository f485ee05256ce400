"""8-bit levels on the device: float32 in [0, 1] to int32 in [0, 255] and back.

The counterpart of ``pictures/images.py``, which converts on the host: the same values bit for bit
(halves to even).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, Integer

TOP = 255
# 1 / 255 as two numbers. A level times the first, which has 9 bits, is exact, so that the sum is
# rounded once. XLA makes a division by 255 a product with the rounded 1 / 255, which is off by one
# unit in the last place for half of the levels.
LARGE = 32896 / 2.0**23
SMALL = 1 / 255 - LARGE


def to_levels(x: Float32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """``float32``, clipped to [0, 1] -> the nearest level in [0, 255]."""
    return jnp.round(jnp.clip(x, 0.0, 1.0) * TOP).astype(jnp.int32)


def from_levels(levels: Integer[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Levels in [0, 255], of any integers -> ``float32`` in [0, 1]."""
    x = levels.astype(jnp.float32)
    return x * LARGE + x * SMALL


def finish(x: Float32[Array, "*shape"], eight_bit: bool) -> Float32[Array, "*shape"]:
    """Clip to [0, 1], and round to 8 bits if asked."""
    return from_levels(to_levels(x)) if eight_bit else jnp.clip(x, 0.0, 1.0)
