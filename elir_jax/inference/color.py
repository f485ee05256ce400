"""Colours from the degraded picture: the wavelet correction of one-step restorers.

Source: a usual step after a restoration, named in DirectFlow's Table 3 (paper 004). It suits
degradations that keep local means. Clipped strong noise does not: it moves dark and bright areas
towards grey.
"""

import numpy as np

from elir_jax.arrays import Float32

LEVELS = 5  # each smooths over twice the distance; together some 60 pixels

Picture = Float32[np.ndarray, "h w c"]


def with_colors_of(degraded: Picture, restored: Picture) -> Picture:
    """``restored`` with the low frequencies of ``degraded``; both have values of about [0, 1].

    That is the high band of one and the low band of the other, of an undecimated wavelet transform
    with the kernel (1, 2, 1) x (1, 2, 1) / 16, dilated by 1, 2, 4, 8 and 16 pixels; edge pixels are
    repeated outwards.
    """
    return restored + low_band(degraded - restored)


def low_band(picture: Picture) -> Picture:
    """What ``LEVELS`` smoothings leave."""
    for level in range(LEVELS):
        for axis in (0, 1):
            picture = _smooth(picture, 2**level, axis)
    return picture


def _smooth(picture: Picture, reach: int, axis: int) -> Picture:
    """A quarter, a half and a quarter of pixels that are ``reach`` apart along ``axis``."""
    width = [(reach, reach) if axis == i else (0, 0) for i in range(picture.ndim)]
    padded = np.moveaxis(np.pad(picture, width, mode="edge"), axis, 0)
    smooth = padded[reach:-reach] * np.float32(0.5)
    smooth += np.float32(0.25) * padded[: -2 * reach]
    smooth += np.float32(0.25) * padded[2 * reach :]
    return np.moveaxis(smooth, 0, axis)
