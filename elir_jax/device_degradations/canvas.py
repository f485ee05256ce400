"""A picture of random size in an array of fixed size.

Degradations shrink each picture by its own factor, but a compiled program has fixed shapes. So the
picture lies in the top left corner of a canvas, and its height and width are computed on the
device. The area outside the picture has no meaning: every operation reads only the picture.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float32, Int32

Size = Int32[Array, ""]
BLOCK = 16  # pixels; JPEG codes squares of this side


class Canvas(NamedTuple):
    """``pixels`` float32; the picture is ``pixels[:height, :width]``."""

    pixels: Float32[Array, "h w 3"]
    height: Size
    width: Size


def whole(x: Float32[Array, "h w 3"]) -> Canvas:
    """A picture that fills its canvas."""
    return Canvas(x, jnp.int32(x.shape[0]), jnp.int32(x.shape[1]))


def room_for(side: int) -> int:
    """The side of a canvas for pictures of at most ``side`` pixels: whole JPEG blocks."""
    return -(-max(side, 1) // BLOCK) * BLOCK


def inside(canvas: Canvas) -> Bool[Array, "h w 1"]:
    """Where the picture is."""
    height, width = canvas.pixels.shape[:2]
    rows, columns = jnp.arange(height) < canvas.height, jnp.arange(width) < canvas.width
    return (rows[:, None] & columns[None, :])[..., None]


def multiply(
    x: Float32[Array, "h w 3"], rows: Float32[Array, "h2 h"], columns: Float32[Array, "w2 w"]
) -> Float32[Array, "h2 w2 3"]:
    """The product with one matrix along each axis.

    It has full float32 precision on every device, because later steps round to 8 bits, and JPEG
    magnifies each level. If the picture does not fill its canvas, the matrices must be zero in the
    columns beyond it.
    """
    tall = jnp.einsum("ih,hwc->iwc", rows, x, precision=lax.Precision.HIGHEST)
    return jnp.einsum("jw,iwc->ijc", columns, tall, precision=lax.Precision.HIGHEST)


def mirrored(index: Int32[Array, "*shape"], size: Size) -> Int32[Array, "*shape"]:
    """Mirror indices beyond the edges of ``size`` pixels back, without repeating edge pixels."""
    period = jnp.maximum(2 * size - 2, 1)
    index = jnp.abs(index) % period
    return jnp.minimum(index, period - index)


def select(choice: Bool[Array, ""], a: Canvas, b: Canvas) -> Canvas:
    """``a`` where ``choice`` is true, otherwise ``b``, on the larger canvas of the two."""
    height, width = (max(a.pixels.shape[i], b.pixels.shape[i]) for i in (0, 1))
    wide = (_widened(c.pixels, height, width) for c in (a, b))
    pixels = jnp.where(choice, *wide)
    sides = ((a.height, b.height), (a.width, b.width))
    return Canvas(pixels, *(jnp.where(choice, *pair) for pair in sides))


def _widened(x: Float32[Array, "h w 3"], height: int, width: int) -> Float32[Array, "h2 w2 3"]:
    return jnp.pad(x, ((0, height - x.shape[0]), (0, width - x.shape[1]), (0, 0)))
