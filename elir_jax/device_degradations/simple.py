"""The degradations of section 5.1.2 on the device: noise, 8x shrinking, masks, grey.

Only noise and masks are random, so these degradations have no parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Key

from elir_jax.data.degradations.tasks import (
    Colorization,
    Denoising,
    Identity,
    Inpainting,
    SuperResolution,
)
from elir_jax.device_degradations.canvas import multiply
from elir_jax.device_degradations.kernels import uniform
from elir_jax.device_degradations.resizing import nearest_index, pillow_bicubic
from elir_jax.pictures.levels import finish

Picture = Float32[Array, "h w 3"]
NoiseKey = Key[Array, ""]


class NoParameters(NamedTuple):
    """The parameters of a degradation with fixed strengths."""


def draw_nothing(settings, key: NoiseKey) -> NoParameters:
    """The (empty) parameters of every degradation in this file."""
    return NoParameters()


def identity(settings: Identity, parameters: NoParameters, key: NoiseKey, x_hq: Picture) -> Picture:
    """No degradation."""
    return x_hq


class Deviation(NamedTuple):
    """The standard deviation of one picture's noise."""

    sigma: Float32[Array, ""]


def draw_deviation(settings: Denoising, key: NoiseKey) -> Deviation:
    """Uniform in the range of ``settings``, or the one that they name."""
    low, high = settings.sigmas if len(settings.sigmas) else (settings.sigma,) * 2
    return Deviation(uniform(key, low, high))


def denoising(settings: Denoising, parameters: Deviation, key: NoiseKey, x_hq: Picture) -> Picture:
    """White Gaussian noise."""
    return finish(x_hq + parameters.sigma * _normal(key, x_hq.shape), settings.eight_bit)


def super_resolution(
    settings: SuperResolution, parameters: NoParameters, key: NoiseKey, x_hq: Picture
) -> Picture:
    """Bicubic shrinking, noise, enlargement by ``settings.up``."""
    full = x_hq.shape[:2]
    small = tuple(max(1, side // settings.factor) for side in full)
    lq = finish(_bicubic(x_hq, small), settings.eight_bit)
    lq = finish(lq + settings.sigma * _normal(key, lq.shape), settings.eight_bit)
    if settings.up == "nearest":
        rows, columns = (nearest_index(*pair) for pair in zip(full, small, strict=True))
        lq = lq[rows][:, columns]
    else:
        lq = _bicubic(lq, full)
    return finish(lq, settings.eight_bit)


def inpainting(
    settings: Inpainting, parameters: NoParameters, key: NoiseKey, x_hq: Picture
) -> Picture:
    """Masked pixels are 0 in all channels; then noise everywhere."""
    mask_key, noise_key = jax.random.split(key)
    kept = kept_pixels(mask_key, x_hq.shape[0], x_hq.shape[1], settings.masked)
    noise = settings.sigma * _normal(noise_key, x_hq.shape)
    return finish(x_hq * kept + noise, settings.eight_bit)


def colorization(
    settings: Colorization, parameters: NoParameters, key: NoiseKey, x_hq: Picture
) -> Picture:
    """The mean of the channels plus noise, the same grey in all three."""
    grey = x_hq.mean(axis=-1, keepdims=True)
    grey = grey + settings.sigma * _normal(key, grey.shape)
    return finish(jnp.repeat(grey, 3, axis=-1), settings.eight_bit)


def kept_pixels(
    key: NoiseKey, height: int, width: int, masked: float
) -> Float32[Array, "height width 1"]:
    """0 for exactly a share ``masked`` of the pixels (rounded down), 1 for the others."""
    number = height * width
    kept = (np.arange(number) >= int(masked * number)).astype(np.float32)
    return jax.random.permutation(key, kept).reshape(height, width, 1)


def _normal(key: NoiseKey, shape: tuple[int, ...]) -> Float32[Array, "..."]:
    return jax.random.normal(key, shape, jnp.float32)


def _bicubic(x: Picture, size: tuple[int, int]) -> Float32[Array, "h2 w2 3"]:
    rows, columns = (pillow_bicubic(*pair) for pair in zip(size, x.shape, strict=False))
    return multiply(x, jnp.asarray(rows), jnp.asarray(columns))
