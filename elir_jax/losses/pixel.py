"""Losses on decoded images: equation 11, and the release's optional term on the flow's result."""

from collections.abc import Callable

from elir_jax.losses.reduction import mean_squared_error
from elir_jax.types import Image, Latent, Scalar


def pixel_l2(decode: Callable[[Latent], Image], z: Latent, x_hq: Image) -> Scalar:
    """``|| D(z) - x_hq ||^2`` over all elements, images in [0, 1] (equation 11 with z = z_mmse)."""
    return mean_squared_error(decode(z), x_hq)
