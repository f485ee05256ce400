"""A stage of blind super-resolution: blur, resizing and noise, each of random strength."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, Key

from elir_jax.data.degradations.blind_super_resolution import MODES, Stage
from elir_jax.device_degradations.canvas import Canvas, room_for
from elir_jax.device_degradations.filtering import filter_picture
from elir_jax.device_degradations.kernels import (
    KernelParameters,
    choice,
    draw_kernel,
    identity_kernel,
    kernel,
    uniform,
)
from elir_jax.device_degradations.noise import gaussian_noise, poisson_noise
from elir_jax.device_degradations.resizing import by_mode, resize


class StageParameters(NamedTuple):
    """The random choices of one stage, for one picture."""

    blurred: Bool[Array, ""]
    kernel: KernelParameters
    scale: Float32[Array, ""]
    mode: Int32[Array, ""]  # a place in data.blind_super_resolution.MODES
    gaussian: Bool[Array, ""]  # noise; otherwise Poisson's
    strength: Float32[Array, ""]  # grey levels of 255 for Gaussian noise; a factor for Poisson's
    grey: Bool[Array, ""]


def draw_stage(settings: Stage, key: Key[Array, ""]) -> StageParameters:
    """Draw each parameter with the distribution in ``settings``."""
    keys = iter(jax.random.split(key, 9))
    blurred = jax.random.bernoulli(next(keys), settings.blur_probability)
    weights = draw_kernel(
        next(keys), settings.blur_sigma, settings.sinc_probability, settings.shape_probabilities
    )
    least, largest = settings.resize_range
    ranges = jnp.array([(1.0, largest), (least, 1.0), (1.0, 1.0)])
    low, high = ranges[choice(next(keys), settings.resize_probabilities)]
    scale = uniform(next(keys), low, high)
    gaussian = jax.random.bernoulli(next(keys), settings.gaussian_probability)
    levels, factor = uniform(next(keys), *settings.gaussian_range), settings.poisson_range
    return StageParameters(
        blurred=blurred,
        kernel=weights,
        scale=scale,
        mode=draw_mode(next(keys)),
        gaussian=gaussian,
        strength=jnp.where(gaussian, levels, uniform(next(keys), *factor)),
        grey=jax.random.bernoulli(next(keys), settings.grey_probability),
    )


def draw_mode(key: Key[Array, ""]) -> Int32[Array, ""]:
    """One of ``data.blind_super_resolution.MODES``, all equally likely."""
    return jax.random.randint(key, (), 0, len(MODES), jnp.int32)


def apply_stage(
    settings: Stage,
    parameters: StageParameters,
    key: Key[Array, ""],
    canvas: Canvas,
    sides: tuple[int | float, int | float],
) -> Canvas:
    """Degrade; the result has the size ``sides`` (height, width) times the drawn factor."""
    weights = jnp.where(parameters.blurred, kernel(parameters.kernel), identity_kernel())
    canvas = filter_picture(canvas, weights)
    room = tuple(room_for(int(side * settings.resize_range[1])) for side in sides)
    size = tuple(
        jnp.clip((side * parameters.scale).astype(jnp.int32), 1, most)
        for side, most in zip(sides, room, strict=True)
    )
    canvas = resize(canvas, size, room, by_mode(parameters.mode))
    return canvas._replace(pixels=jnp.clip(canvas.pixels + _noise(parameters, key, canvas), 0, 1))


def _noise(
    parameters: StageParameters, key: Key[Array, ""], canvas: Canvas
) -> Float32[Array, "h w 3"]:
    white = gaussian_noise(key, canvas.pixels.shape, parameters.grey)
    shot = poisson_noise(white, canvas, parameters.grey)
    return parameters.strength * jnp.where(parameters.gaussian, white / 255, shot)
