"""Structural similarity (Wang et al., 2004) and its form over scales, as IQA-PyTorch has them.

On luma (the Y of YIQ) rounded to whole numbers in [0, 255], with an 11x11 Gaussian window of
standard deviation 1.5 and no padding; a negative contrast-structure term counts as zero. MS-SSIM
(Wang et al., 2003) multiplies these terms of five scales.
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
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, the finest first
SMALLEST = (WINDOW - 1) * 2 ** (len(EXPONENTS) - 1) + 1  # pixels: the least side for MS-SSIM


def _luma(x: Image) -> Float[Array, "b h w 1"]:
    # For one colour in a thousand, luma lies halfway between whole numbers, and the last bit of the
    # sum decides. Clipping after weighting prevents compilers from fusing products into the sum,
    # which would change the decision, and differently from program to program.
    weights = jnp.asarray(LUMA).reshape(1, 1, 1, 3)
    red, green, blue = jnp.split(jnp.clip(x * weights, 0, weights), 3, axis=-1)
    return jnp.round(255.0 * (red + green + blue))


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


def _whole_mean(y: Float[Array, "b h w 1"]) -> Float[Array, "b 1 1 1"]:
    return jnp.round(jnp.mean(y, axis=(1, 2, 3), keepdims=True))


def ssim(x: Image, reference: Image) -> Float[Array, " b"]:
    """Mean similarity of each image, at most 1. Raises ValueError below 11x11 pixels."""
    if min(x.shape[1:3]) < WINDOW:
        raise ValueError(f"SSIM needs at least {WINDOW}x{WINDOW} pixels, got {x.shape[1:3]}")
    structure, luminance = _terms(_luma(x), _luma(reference))
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def ms_ssim(x: Image, reference: Image) -> Float[Array, " b"]:
    """The product of the structure terms of five scales, and of the last one's luminance term.

    NaN for pictures below 161 pixels a side: their coarsest scale is smaller than the window.
    """
    if min(x.shape[1:3]) < SMALLEST:
        return jnp.full(x.shape[0], jnp.nan)
    a, b = _luma(x), _luma(reference)
    product = jnp.ones(x.shape[0])
    for exponent in EXPONENTS[:-1]:
        structure, _ = _terms(a, b)
        product *= jnp.mean(structure, axis=(1, 2, 3)) ** exponent
        a, b = _halved(a), _halved(b)
    structure, luminance = _terms(a, b)
    return product * jnp.mean(luminance * structure, axis=(1, 2, 3)) ** EXPONENTS[-1]


def _halved(y: Float[Array, "b h w 1"]) -> Float[Array, "b h2 w2 1"]:
    """Means of 2x2 pixels. An odd side gets a zero at both of its ends, as in IQA-PyTorch."""
    odd = [(side % 2, side % 2) for side in y.shape[1:3]]
    window = (1, 2, 2, 1)
    padding = ((0, 0), *odd, (0, 0))
    return jax.lax.reduce_window(y, 0.0, jax.lax.add, window, window, padding) / 4.0


def _terms(
    a: Float[Array, "b h w 1"], b: Float[Array, "b h w 1"]
) -> tuple[Float[Array, "b h2 w2 1"], Float[Array, "b h2 w2 1"]]:
    """(contrast and structure, luminance) around each place."""
    # A shift of the grey values does not change variances, and near zero float32 is more exact.
    shift_a, shift_b = _whole_mean(a), _whole_mean(b)
    a, b = a - shift_a, b - shift_b
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    var_a = _window_mean(a * a) - mean_a**2
    var_b = _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    mean_a, mean_b = mean_a + shift_a, mean_b + shift_b
    structure = jnp.maximum((2 * covariance + C2) / (var_a + var_b + C2), 0.0)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return structure, luminance
