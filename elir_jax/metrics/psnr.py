"""Peak signal-to-noise ratio of each image, as IQA-PyTorch defines it: on RGB in [0, 1]."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.types import Image

EPSILON = 1e-8  # IQA-PyTorch adds it to the error; identical images score 80 dB


def psnr(x: Image, reference: Image) -> Float[Array, " b"]:
    """``10 log10(1 / mean((x - reference)^2))`` in dB, for images clipped to [0, 1]."""
    error = jnp.mean(jnp.square(jnp.clip(x, 0, 1) - reference), axis=(1, 2, 3))
    return -10.0 * jnp.log10(error + EPSILON)
