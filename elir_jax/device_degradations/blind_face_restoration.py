"""The degradation of blind face restoration: blur, shrink, noise, JPEG, enlarge (equation 10)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, Key

from elir_jax.data.degradations.blind_face_restoration import BlindFaceRestoration
from elir_jax.device_degradations.blurring import blur_down
from elir_jax.device_degradations.canvas import Size, room_for
from elir_jax.device_degradations.jpeg import compress
from elir_jax.device_degradations.kernels import uniform
from elir_jax.device_degradations.resizing import bilinear, resize
from elir_jax.pictures.levels import finish


class FaceParameters(NamedTuple):
    """The strengths of one picture's degradation."""

    sigma: Float32[Array, ""]  # of the blur, pixels
    noise: Float32[Array, ""]  # standard deviation in grey levels of 255
    factor: Float32[Array, ""]  # by which the picture is shrunk
    quality: Int32[Array, ""]  # of the JPEG


def draw(settings: BlindFaceRestoration, key: Key[Array, ""]) -> FaceParameters:
    """Draw each strength uniformly from its range in ``settings``."""
    blur, noise, scale, quality = jax.random.split(key, 4)
    if len(settings.share):
        factor = 1 / uniform(scale, *settings.share)
    else:
        factor = uniform(scale, *settings.scale)
    low, high = settings.quality
    return FaceParameters(
        sigma=uniform(blur, *settings.blur),
        noise=uniform(noise, *settings.noise),
        factor=factor,
        quality=jax.random.randint(quality, (), low, high + 1, jnp.int32),
    )


def apply(
    settings: BlindFaceRestoration,
    parameters: FaceParameters,
    key: Key[Array, ""],
    x_hq: Float32[Array, "h w 3"],
) -> Float32[Array, "h w 3"]:
    """Degrade one picture; ``key`` draws its noise."""
    height, width = x_hq.shape[:2]
    largest = max(settings.share) if len(settings.share) else 1 / min(settings.scale)
    room = room_for(round(height * largest)), room_for(round(width * largest))
    size = tuple(small_side(x_hq.shape[i], parameters.factor, room[i]) for i in (0, 1))
    small = blur_down(x_hq, parameters.sigma, size, room)
    noise = jax.random.normal(key, small.pixels.shape, jnp.float32)
    small = small._replace(pixels=small.pixels + parameters.noise / 255 * noise)
    small = compress(small, parameters.quality)
    x_lq = resize(small, (height, width), (height, width), bilinear).pixels
    return finish(x_lq, settings.eight_bit)


def small_side(side: int, factor: Float32[Array, ""], room: int) -> Size:
    """``side / factor`` to the nearest pixel (halves to even), at least 1."""
    return jnp.clip(jnp.round(side / factor).astype(jnp.int32), 1, room)
