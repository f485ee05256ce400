"""Structural similarity (Wang et al., 2004), as IQA-PyTorch defines it.

On luma (the Y of YIQ) rounded to whole numbers in [0, 255], with an 11x11 Gaussian window of
standard deviation 1.5 and no padding; a negative contrast-structure term counts as zero.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from elir_jax.types import Image

WINDOW = 11
SIGMA = 1.5
LUMA = (0.299, 0.587, 0.114)
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


def _luma(x: Image) -> Float[Array, "b h w 1"]:
    weights = jnp.asarray(LUMA).reshape(1, 1, 1, 3)
    return jnp.round(255.0 * jnp.sum(jnp.clip(x, 0, 1) * weights, axis=-1, keepdims=True))


def _window_mean(y: Float[Array, "b h w 1"]) -> Float[Array, "b h2 w2 1"]:
    offset = np.arange(WINDOW) - WINDOW // 2
    line = np.exp(-(offset**2) / (2 * SIGMA**2))
    line = jnp.asarray(line / line.sum(), jnp.float32)
    for shape in ((WINDOW, 1, 1, 1), (1, WINDOW, 1, 1)):  # the window is separable
        y = jax.lax.conv_general_dilated(
            y,
            line.reshape(shape),
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )
    return y


def ssim(x: Image, reference: Image) -> Float[Array, " b"]:
    """Mean similarity of each image, at most 1. Raises ValueError below 11x11 pixels."""
    if min(x.shape[1:3]) < WINDOW:
        raise ValueError(f"SSIM needs at least {WINDOW}x{WINDOW} pixels, got {x.shape[1:3]}")
    a, b = _luma(x), _luma(reference)
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    # Variances do not change with a shift of the grey values, and near zero float32 keeps more.
    a, b = a - 128.0, b - 128.0
    shifted_a, shifted_b = mean_a - 128.0, mean_b - 128.0
    var_a = _window_mean(a * a) - shifted_a**2
    var_b = _window_mean(b * b) - shifted_b**2
    covariance = _window_mean(a * b) - shifted_a * shifted_b
    structure = jnp.maximum((2 * covariance + C2) / (var_a + var_b + C2), 0.0)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))
