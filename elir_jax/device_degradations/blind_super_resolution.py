"""Blind super-resolution: Real-ESRGAN's random degradation (arXiv:2107.10833) on the device.

``data/blind_super_resolution.py`` describes it. A picture's own choices are selections between
results, because a compiled program has no branch of a single sample.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, Key

from elir_jax.data.degradations.blind_super_resolution import BlindSuperResolution
from elir_jax.device_degradations.canvas import Canvas, room_for, select, whole
from elir_jax.device_degradations.filtering import filter_picture
from elir_jax.device_degradations.jpeg import compress
from elir_jax.device_degradations.kernels import (
    KernelParameters,
    draw_sinc_kernel,
    identity_kernel,
    kernel,
)
from elir_jax.device_degradations.resizing import bicubic, by_mode, resize
from elir_jax.device_degradations.stages import (
    StageParameters,
    apply_stage,
    draw_mode,
    draw_stage,
)
from elir_jax.pictures.levels import finish


class ChainParameters(NamedTuple):
    """The random choices of one picture's degradation."""

    first: StageParameters
    quality: Int32[Array, ""]  # of the first JPEG
    twice: Bool[Array, ""]  # whether the second stage takes place
    second: StageParameters
    shrink_first: Bool[Array, ""]  # whether the last JPEG comes after the shrinking
    last_quality: Int32[Array, ""]
    mode: Int32[Array, ""]  # of the shrinking
    filtered: Bool[Array, ""]  # after the shrinking
    last_kernel: KernelParameters


def draw(settings: BlindSuperResolution, key: Key[Array, ""]) -> ChainParameters:
    """Draw each parameter with the distribution in ``settings``."""
    keys = iter(jax.random.split(key, 9))
    low, high = settings.quality
    return ChainParameters(
        first=draw_stage(settings.first, next(keys)),
        quality=jax.random.randint(next(keys), (), low, high + 1, jnp.int32),
        twice=jax.random.bernoulli(next(keys), settings.second_order_probability),
        second=draw_stage(settings.second, next(keys)),
        shrink_first=jax.random.bernoulli(next(keys)),
        last_quality=jax.random.randint(next(keys), (), low, high + 1, jnp.int32),
        mode=draw_mode(next(keys)),
        filtered=jax.random.bernoulli(next(keys), settings.final_sinc_probability),
        last_kernel=draw_sinc_kernel(next(keys)),
    )


def apply(
    settings: BlindSuperResolution,
    parameters: ChainParameters,
    key: Key[Array, ""],
    x_hq: Float32[Array, "h w 3"],
) -> Float32[Array, "h w 3"]:
    """Degrade one picture; ``key`` draws its noise."""
    height, width = x_hq.shape[:2]
    first_key, second_key = jax.random.split(key)
    x = apply_stage(settings.first, parameters.first, first_key, whole(x_hq), (height, width))
    x = compress(x, parameters.quality)
    if settings.second_order_probability > 0:
        sides = height / settings.scale, width / settings.scale
        again = apply_stage(settings.second, parameters.second, second_key, x, sides)
        always = settings.second_order_probability == 1  # then the small canvas is enough
        x = again if always else select(parameters.twice, again, x)
    first = parameters.shrink_first
    x = select(first, x, compress(x, parameters.last_quality))
    x = _shrink(settings, parameters, x, (height, width))
    x = select(first, compress(x, parameters.last_quality), x)
    x = resize(x, (height, width), (height, width), bicubic)
    return finish(x.pixels, eight_bit=True)


def _shrink(
    settings: BlindSuperResolution, parameters: ChainParameters, x: Canvas, full: tuple[int, int]
) -> Canvas:
    small = tuple(max(1, side // settings.scale) for side in full)
    x = resize(x, small, tuple(room_for(side) for side in small), by_mode(parameters.mode))
    weights = kernel(parameters.last_kernel)
    weights = jnp.where(parameters.filtered, weights, identity_kernel())
    return filter_picture(x, weights)
