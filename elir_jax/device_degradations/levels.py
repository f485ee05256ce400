"""8-bit levels on the device: float32 in [0, 1] to int32 in [0, 255] and back.

The counterpart of ``data/images.py``, which converts on the host: the same products and the same
rounding (halves to even).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, Integer

TOP = 255


def to_levels(x: Float32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """``float32``, clipped to [0, 1] -> the nearest level in [0, 255]."""
    return jnp.round(jnp.clip(x, 0.0, 1.0) * TOP).astype(jnp.int32)


def from_levels(levels: Integer[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Levels in [0, 255], of any integers -> ``float32`` in [0, 1]."""
    return levels.astype(jnp.float32) / TOP


def finish(x: Float32[Array, "*shape"], eight_bit: bool) -> Float32[Array, "*shape"]:
    """Clip to [0, 1], and round to 8 bits if asked."""
    return from_levels(to_levels(x)) if eight_bit else jnp.clip(x, 0.0, 1.0)
