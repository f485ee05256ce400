"""JPEG on the device: exactly the pixels that Pillow's libjpeg-turbo decodes, in int32.

It uses Pillow's defaults: YCbCr with chroma at half resolution along both axes (4:2:0), the tables
of Annex K, the accurate integer transform, and a triangle filter to enlarge chroma. Entropy coding
is lossless and left out. Every rounding is libjpeg's; file names below are those of libjpeg-turbo.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int32

from elir_jax.device_degradations.canvas import BLOCK, Canvas, Size
from elir_jax.device_degradations.jpeg_blocks import (
    CHROMINANCE,
    LUMINANCE,
    Plane,
    code_plane,
    descale,
    quantization_table,
)
from elir_jax.pictures.levels import from_levels, to_levels

Levels = Int32[Array, "h w 3"]
Half = Int32[Array, "h2 w2"]
HALF = 1 << 15  # of a fixed-point number with 16 bits after the point
MIDDLE = 128
TRIANGLE_LEAST = 4  # pixels of width up to which chroma is repeated instead (jdsample.c)


def compress(canvas: Canvas, quality: Int32[Array, ""]) -> Canvas:
    """Round the picture to 8 bits, compress it at ``quality`` in [1, 100] and decode it.

    Sides of the canvas must be multiples of 16. Raises ValueError otherwise.
    """
    levels = jpeg(to_levels(canvas.pixels), canvas.height, canvas.width, quality)
    return canvas._replace(pixels=from_levels(levels))


def jpeg(levels: Levels, height: Size, width: Size, quality: Int32[Array, ""]) -> Levels:
    """Compress and decode ``levels[:height, :width]`` in [0, 255]; the rest has no meaning.

    Sides of ``levels`` must be multiples of 16. Raises ValueError otherwise.
    """
    if levels.shape[0] % BLOCK or levels.shape[1] % BLOCK:
        raise ValueError(f"sides of a canvas must be multiples of {BLOCK}, got {levels.shape[:2]}")
    luminance = quantization_table(LUMINANCE, quality)
    chrominance = quantization_table(CHROMINANCE, quality)
    # The encoder fills up blocks with the outermost pixels (jcsample.c, jcprepct.c).
    y, *chroma = _from_rgb(_hold(_hold(levels, height, 0), width, 1))
    planes = [code_plane(y, luminance)]
    for plane in chroma:
        # Chroma is filled up to the right before it is halved, but downwards after.
        half = _hold(_halve(plane), (height + 1) // 2, 0)
        planes.append(_double(code_plane(half, chrominance), height, width))
    return _to_rgb(*planes)


def _from_rgb(levels: Levels) -> tuple[Plane, Plane, Plane]:
    """Y, Cb, Cr (jccolor.c); chroma's half is one less than a half, to stay within 255."""
    r, g, b = levels[..., 0], levels[..., 1], levels[..., 2]
    offset = (MIDDLE << 16) + HALF - 1
    y = (19595 * r + 38470 * g + 7471 * b + HALF) >> 16
    cb = (-11059 * r - 21709 * g + 32768 * b + offset) >> 16
    cr = (32768 * r - 27439 * g - 5329 * b + offset) >> 16
    return y, cb, cr


def _to_rgb(y: Plane, cb: Plane, cr: Plane) -> Levels:
    """jdcolor.c."""
    cb, cr = cb - MIDDLE, cr - MIDDLE
    r = y + descale(91881 * cr, 16)
    g = y + descale(-22554 * cb - 46802 * cr, 16)
    b = y + descale(116130 * cb, 16)
    return jnp.clip(jnp.stack([r, g, b], axis=-1), 0, 255)


def _halve(plane: Plane) -> Half:
    """Means of 2x2; halves are rounded down and up by turns along a row (jcsample.c)."""
    height, width = plane.shape
    total = plane.reshape(height // 2, 2, width // 2, 2).sum((1, 3), dtype=jnp.int32)
    return (total + 1 + (jnp.arange(width // 2) % 2)[None]) >> 2


def _double(plane: Half, height: Size, width: Size) -> Plane:
    """Enlarge chroma of a picture of ``height`` x ``width`` pixels by a triangle filter.

    Each result is 3/4 of its own sample and 1/4 of the nearest neighbour's, along both axes; at
    the picture's edges the sample itself is the neighbour (jdsample.c).
    """
    plane = _hold(_hold(plane, (height + 1) // 2, 0), (width + 1) // 2, 1)
    rows = _interleave(3 * plane + _previous(plane, 0), 3 * plane + _next(plane, 0), axis=0)
    left = (3 * rows + _previous(rows, 1) + 8) >> 4
    right = (3 * rows + _next(rows, 1) + 7) >> 4
    repeated = plane.repeat(2, axis=0).repeat(2, axis=1)
    return jnp.where(width > TRIANGLE_LEAST, _interleave(left, right, axis=1), repeated)


def _hold(x: Int32[Array, "h w *c"], size: Size, axis: int) -> Int32[Array, "h w *c"]:
    """Repeat the picture's last row (``axis`` 0) or column (1) to the end of the canvas."""
    place = lax.broadcasted_iota(jnp.int32, x.shape, axis)
    return jnp.where(place < size, x, lax.dynamic_slice_in_dim(x, size - 1, 1, axis))


def _previous(x: Plane, axis: int) -> Plane:
    first, rest = lax.slice_in_dim(x, 0, 1, axis=axis), lax.slice_in_dim(x, 0, -1, axis=axis)
    return jnp.concatenate([first, rest], axis)


def _next(x: Plane, axis: int) -> Plane:
    rest, last = lax.slice_in_dim(x, 1, None, axis=axis), lax.slice_in_dim(x, -1, None, axis=axis)
    return jnp.concatenate([rest, last], axis)


def _interleave(first: Half, second: Half, axis: int) -> Plane:
    shape = list(first.shape)
    shape[axis] *= 2
    return jnp.stack([first, second], axis + 1).reshape(shape)
