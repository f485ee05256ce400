"""Losses on images: equation 11, the release's term on the flow's result, and one of edges."""

from collections.abc import Callable

import jax.numpy as jnp

from elir_jax.losses.reduction import mean_squared_error
from elir_jax.types import Image, Latent, Scalar


def pixel_l2(decode: Callable[[Latent], Image], z: Latent, x_hq: Image) -> Scalar:
    """``|| D(z) - x_hq ||^2`` over all elements, images in [0, 1] (equation 11 with z = z_mmse)."""
    return mean_squared_error(decode(z), x_hq)


def gradient_l1(x: Image, y: Image) -> Scalar:
    """Mean absolute difference of the vertical differences plus that of the horizontal ones."""
    error = x - y
    return jnp.mean(jnp.abs(jnp.diff(error, axis=1))) + jnp.mean(jnp.abs(jnp.diff(error, axis=2)))
