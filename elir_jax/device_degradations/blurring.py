"""41x41 Gaussian blur and bilinear shrinking as one matrix along each axis (equation 10)."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float32, Int32

from elir_jax.data.degradations.filters import BLUR_SIZE
from elir_jax.device_degradations.canvas import Canvas, Size, mirrored, multiply
from elir_jax.device_degradations.resizing import Matrix, places

REACH = BLUR_SIZE // 2


def blur_down(
    x: Float32[Array, "h w 3"],
    sigma: Float32[Array, ""],
    size: tuple[Size, Size],
    room: tuple[int, int],
) -> Canvas:
    """Blur with a Gaussian of ``sigma`` pixels, then resize to ``size`` on a canvas of ``room``.

    ``x`` is mirrored at its edges, without repeating the edge pixels, as in ``filters.blur_down``.
    """
    rows, columns = (blur_matrix(room[i], x.shape[i], size[i], sigma) for i in (0, 1))
    return Canvas(multiply(x, rows, columns), *size)


def blur_matrix(rows: int, old: int, new: Size, sigma: Float32[Array, ""]) -> Matrix:
    """Row i: the Gaussians about the two pixels between which i lies, each by its share."""
    low, share = places(rows, new, jnp.int32(old))
    low, share = jnp.maximum(low, 0)[:, None], jnp.where(low < 0, 0.0, share)[:, None]
    j = jnp.arange(-REACH, old + REACH + 1, dtype=jnp.int32)  # pixels and their mirror images
    distance = j[None] - low
    taps = (1 - share) * _tap(distance, sigma) + share * _tap(distance - 1, sigma)
    seen = (jnp.arange(rows) < new)[:, None]
    taps = jnp.where(seen, taps / _tap(jnp.arange(-REACH, REACH + 1), sigma).sum(), 0.0)
    images = jnp.concatenate([taps[:, :REACH], taps[:, REACH + old :]], axis=1)
    of_pixel = mirrored(jnp.concatenate([j[:REACH], j[REACH + old :]]), jnp.int32(old))
    fold = (of_pixel[:, None] == jnp.arange(old)[None]).astype(jnp.float32)
    return taps[:, REACH : REACH + old] + jnp.matmul(images, fold, precision=lax.Precision.HIGHEST)


def _tap(distance: Int32[Array, "*shape"], sigma: Float32[Array, ""]) -> Float32[Array, "*shape"]:
    tap = jnp.exp(distance.astype(jnp.float32) ** 2 / (-2 * sigma**2))
    return jnp.where(jnp.abs(distance) <= REACH, tap, 0.0)
