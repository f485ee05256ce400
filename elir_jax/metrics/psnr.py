"""Squared error, and the peak signal-to-noise ratio as IQA-PyTorch defines it: RGB in [0, 1]."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.types import Image

EPSILON = 1e-8  # IQA-PyTorch adds it to the error; identical images score 80 dB


def squared_error(x: Image, reference: Image) -> Float[Array, " b"]:
    """The mean squared difference of images; ``x`` is clipped to [0, 1]."""
    return jnp.mean(jnp.square(jnp.clip(x, 0, 1) - reference), axis=(1, 2, 3))


def psnr(x: Image, reference: Image) -> Float[Array, " b"]:
    """``10 log10(1 / mean((x - reference)^2))`` in dB, for images clipped to [0, 1]."""
    return -10.0 * jnp.log10(squared_error(x, reference) + EPSILON)
