"""The lossy part of JPEG in a plane: 8x8 cosine transform, quantization and back, in integers.

libjpeg's accurate integer transform (``jfdctint.c``, ``jidctint.c``; Loeffler, Ligtenberg and
Moschytz 1989) rounds once after its rows and once after its columns. Between two roundings it is
exact, so each pass is one integer matrix, whatever the order of its sums. Entries are
``8192 sqrt(2) cos(n pi / 16)``; four are off the nearest integer by one, because libjpeg makes each
from several rounded constants.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int32

Plane = Int32[Array, "h w"]
Table = Int32[Array, "8 8"]
Blocks = Int32[Array, "rows 8 columns 8"]

FIXED = 13  # bits after the point in the matrix
KEPT = 2  # bits after the point that are kept between the passes
SCALE = 3  # the transform's results are 8 times the orthonormal ones

# Rows: even and odd frequencies. Columns: the sums and differences of samples n and 7 - n.
EVEN = [
    [8192, 8192, 8192, 8192],
    [10703, 4433, -4433, -10703],
    [8192, -8192, -8192, 8192],
    [4433, -10704, 10704, -4433],
]
ODD = [
    [11363, 9633, 6437, 2260],
    [9633, -2259, -11362, -6436],
    [6437, -11362, 2261, 9633],
    [2260, -6436, 9633, -11363],
]


def _matrix() -> np.ndarray:
    """(frequency, sample): even frequencies are symmetric about the middle, odd ones are not."""
    even, odd = np.array(EVEN, np.int32), np.array(ODD, np.int32)
    matrix = np.empty((8, 8), np.int32)
    matrix[0::2] = np.concatenate([even, even[:, ::-1]], axis=1)
    matrix[1::2] = np.concatenate([odd, -odd[:, ::-1]], axis=1)
    return matrix


FORWARD = _matrix()

# ITU-T T.81, annex K: tables K.1 (luminance) and K.2 (chrominance).
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.int32,
)
CHROMINANCE = np.full((8, 8), 99, np.int32)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def quantization_table(base: np.ndarray, quality: Int32[Array, ""]) -> Table:
    """libjpeg's steps at ``quality`` in [1, 100] (``jcparam.c``); baseline JPEG allows 255."""
    percent = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return jnp.clip((base * percent + 50) // 100, 1, 255)


def code_plane(plane: Plane, steps: Table) -> Plane:
    """Quantize an int32 plane of levels in [0, 255], and decode it; sides are multiples of 8."""
    height, width = plane.shape
    blocks = plane.reshape(height // 8, 8, width // 8, 8) - 128
    blocks = _inverse(_quantize(_forward(blocks), steps[:, None, :]))
    return jnp.clip(blocks.reshape(height, width) + 128, 0, 255)


def descale(x: Int32[Array, "*shape"], bits: int) -> Int32[Array, "*shape"]:
    """``x / 2**bits``, rounded to the nearest, halves up."""
    return (x + (1 << (bits - 1))) >> bits


def _forward(blocks: Blocks) -> Blocks:
    rows = jnp.einsum("ux,aybx->aybu", FORWARD, blocks)
    columns = jnp.einsum("vy,aybu->avbu", FORWARD, descale(rows, FIXED - KEPT))
    return descale(columns, FIXED + KEPT)


def _inverse(blocks: Blocks) -> Blocks:
    columns = jnp.einsum("vy,avbu->aybu", FORWARD, blocks)
    rows = jnp.einsum("ux,aybu->aybx", FORWARD, descale(columns, FIXED - KEPT))
    return descale(rows, FIXED + KEPT + SCALE)


def _quantize(blocks: Blocks, steps: Int32[Array, "8 1 8"]) -> Blocks:
    """To the nearest multiple of each step, halves away from zero, and without the scale of 8."""
    divisor = jnp.broadcast_to(steps[None] << SCALE, blocks.shape)
    number = lax.div(jnp.abs(blocks) + (divisor >> 1), divisor)
    return jnp.sign(blocks) * number * steps[None]
