"""White Gaussian noise and Real-ESRGAN's shot noise, of each channel or of all three alike.

Both are functions of the same normal numbers, since a picture meets one of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float32, Int32, Key

from elir_jax.data.degradations.blind_super_resolution import LUMA
from elir_jax.device_degradations.canvas import Canvas, inside
from elir_jax.device_degradations.poisson import poisson
from elir_jax.pictures.levels import TOP, to_levels

Pixels = Float32[Array, "h w 3"]
Flag = Bool[Array, ""]
WORD = 32  # bits


def gaussian_noise(key: Key[Array, ""], shape: tuple[int, ...], grey: Flag) -> Pixels:
    """Standard normal numbers; ``grey``: the first channel's in all three."""
    noise = jax.random.normal(key, shape, jnp.float32)
    return jnp.where(grey, noise[..., :1], noise)


def poisson_noise(white: Pixels, canvas: Canvas, grey: Flag) -> Pixels:
    """Shot noise, Poisson(v x) / v - x, of variance x / v.

    x is the picture rounded to 8 bits, and v the number of its different levels, rounded up to a
    power of 2. ``white`` is :func:`gaussian_noise` with the same ``grey``, which means the noise of
    the luminance in all three channels. Outside the picture the noise is 0.
    """
    levels = to_levels(canvas.pixels)
    luminance = jnp.round((levels * LUMA.reshape(1, 1, 3)).sum(-1, keepdims=True))
    levels = jnp.where(grey, luminance.astype(jnp.int32), levels)
    levels = jnp.where(inside(canvas), levels, 0)
    v = level_count(levels, inside(canvas))
    mean = levels / jnp.float32(TOP)
    return poisson(white, v * mean) / v - mean


def level_count(levels: Int32[Array, "h w 3"], counted: Bool[Array, "h w 1"]) -> Float32[Array, ""]:
    """How many of the 256 levels occur where ``counted``, rounded up to a power of 2."""
    bit = jnp.where(counted, jnp.uint32(1) << (levels % WORD).astype(jnp.uint32), jnp.uint32(0))
    words = [
        jnp.where(levels // WORD == word, bit, jnp.uint32(0)) for word in range((TOP + 1) // WORD)
    ]
    seen = jnp.stack([lax.reduce(w, np.uint32(0), lax.bitwise_or, (0, 1, 2)) for w in words])
    different = lax.population_count(seen).sum().astype(jnp.int32)
    return jnp.exp2((WORD - lax.clz(different - 1)).astype(jnp.float32))
