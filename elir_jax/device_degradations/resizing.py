"""Resizing as a matrix along each axis, with the filters that the host's libraries use.

Row i holds the weights of pixel i of the result, whose position among the pixels of the picture is
``(i + 1/2) old / new - 1/2``. Old and new size may be numbers drawn on the device: rows beyond the
new size and columns beyond the old one are zero. Positions are computed in integers, because the
fraction of a large position would have too few digits in float32 to agree to 1e-5.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float32, Int, Int32

from elir_jax.data.degradations.blind_super_resolution import MODES
from elir_jax.device_degradations.canvas import Canvas, Size, multiply

Matrix = Float32[Array, "rows columns"]
Taps = tuple[Int32[Array, " rows"], Float32[Array, " rows"]]  # which pixel, and its weight
Kind = Callable[[int, int, Size, Size], Matrix]  # of (rows, columns, new, old)
CUBIC = -0.75  # OpenCV's


def resize(canvas: Canvas, size: tuple, room: tuple[int, int], kind: Kind) -> Canvas:
    """To ``size`` (height, width) on a canvas of ``room``, by a filter of this file."""
    shape, old = canvas.pixels.shape, (canvas.height, canvas.width)
    new = tuple(jnp.asarray(side, jnp.int32) for side in size)
    rows, columns = (kind(room[axis], shape[axis], new[axis], old[axis]) for axis in (0, 1))
    return Canvas(multiply(canvas.pixels, rows, columns), *new)


def bilinear(rows: int, columns: int, new: Size, old: Size) -> Matrix:
    """OpenCV's ``INTER_LINEAR``: no anti-aliasing, the outermost pixel is repeated."""
    low, share = places(rows, new, old)
    return _spread(rows, columns, new, old, [(low, 1 - share), (low + 1, share)])


def bicubic(rows: int, columns: int, new: Size, old: Size) -> Matrix:
    """OpenCV's ``INTER_CUBIC``: no anti-aliasing, the outermost pixel is repeated."""
    low, share = places(rows, new, old)
    near = [_cubic_near(share), _cubic_near(1 - share)]
    first = _cubic_far(1 + share)
    weights = [first, *near, 1 - first - near[0] - near[1]]
    return _spread(rows, columns, new, old, [(low + i - 1, w) for i, w in enumerate(weights)])


def area(rows: int, columns: int, new: Size, old: Size) -> Matrix:
    """OpenCV's ``INTER_AREA``: the mean over a pixel's cell; a kind of bilinear if it enlarges.

    The enlargement has its own positions: a pixel of the result that lies inside one pixel of the
    picture takes its value, and one that lies across an edge is a mean of two. (By rounding, OpenCV
    sometimes misses an edge that a pixel exactly meets, and repeats a row; we do not copy that.)
    """
    i, j = jnp.arange(rows, dtype=jnp.int32), jnp.arange(columns, dtype=jnp.int32)
    # In units of 1 / (old new) of the picture's length, cells are old long and pixels new.
    start = jnp.maximum((i * old)[:, None], (j * new)[None])
    end = jnp.minimum(((i + 1) * old)[:, None], ((j + 1) * new)[None])
    smaller = _inside(jnp.maximum(end - start, 0) / old, new, old)
    low = i * old // new
    share = jnp.maximum((i + 1) * old - (low + 1) * new, 0) / old
    larger = _spread(rows, columns, new, old, [(low, 1 - share), (low + 1, share)])
    return jnp.where(new <= old, smaller, larger)


def by_mode(mode: Int32[Array, ""]) -> Kind:
    """The filter at place ``mode`` of ``data.blind_super_resolution.MODES``."""
    return functools.partial(_chosen, mode)


def pillow_bicubic(new: int, old: int) -> Float32[np.ndarray, "new old"]:
    """Pillow's bicubic (a = -0.5), with anti-aliasing if it shrinks; sizes are fixed."""
    factor = old / new
    middle = (np.arange(new)[:, None] + 0.5) * factor
    d = np.abs(np.arange(old)[None] + 0.5 - middle) / max(factor, 1.0)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights = np.where(d < 1, near, np.where(d < 2, far, 0.0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def nearest_index(new: int, old: int) -> Int[np.ndarray, " new"]:
    """Nearest neighbour at half-pixel centres: the pixel that each of the result repeats."""
    return ((np.arange(new) + 0.5) * (old / new)).astype(np.int64)


def places(
    rows: int, new: Size, old: Size
) -> tuple[Int32[Array, " rows"], Float32[Array, " rows"]]:
    """The position of each row: its whole part, which may be -1, and its fraction in [0, 1)."""
    i = jnp.arange(rows, dtype=jnp.int32)
    numerator, denominator = (2 * i + 1) * old - new, 2 * new
    low = numerator // denominator
    return low, (numerator - low * denominator) / denominator


def _spread(rows: int, columns: int, new: Size, old: Size, taps: list[Taps]) -> Matrix:
    """A matrix with a few weights in each row; pixels beyond the edges are the outermost ones."""
    j = jnp.arange(columns, dtype=jnp.int32)[None]
    matrix = jnp.zeros((rows, columns), jnp.float32)
    for index, weight in taps:
        here = jnp.clip(index, 0, old - 1)[:, None] == j
        matrix += jnp.where(here, weight[:, None], 0.0)
    return _inside(matrix, new, old)


def _inside(matrix: Matrix, new: Size, old: Size) -> Matrix:
    rows, columns = matrix.shape
    seen = (jnp.arange(rows) < new)[:, None] & (jnp.arange(columns) < old)[None]
    return jnp.where(seen, matrix, 0.0)


def _cubic_near(d: Float32[Array, " rows"]) -> Float32[Array, " rows"]:
    """Keys' kernel at distances up to 1."""
    return ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1


def _cubic_far(d: Float32[Array, " rows"]) -> Float32[Array, " rows"]:
    """Keys' kernel at distances from 1 to 2."""
    return ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC


def _chosen(mode: Int32[Array, ""], rows: int, columns: int, new: Size, old: Size) -> Matrix:
    choices = {"area": area, "bilinear": bilinear, "bicubic": bicubic}
    matrices = [choices[name](rows, columns, new, old) for name in MODES]
    return lax.select_n(mode, *matrices)
