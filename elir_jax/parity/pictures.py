"""What both comparisons with a checkout do with pictures."""

import math
from pathlib import Path

import numpy as np

from elir_jax.errors import UserError
from elir_jax.pictures.images import read_image


def read_middle(path: Path, factor: int) -> np.ndarray:
    """The largest middle part, uint8, whose sides are multiples of ``factor``.

    Raises UserError if the picture is smaller than ``factor`` or cannot be read.
    """
    image = read_image(path)
    height, width = (side // factor * factor for side in image.shape[:2])
    if not height or not width:
        raise UserError(f"{path}: smaller than {factor}x{factor} pixels")
    return middle(image, height, width)


def middle(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle ``height`` x ``width`` pixels."""
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def psnr_between(ours: np.ndarray, theirs: np.ndarray) -> float:
    """PSNR in dB between two restorations, both clipped to [0, 1]."""
    difference = np.clip(ours, 0, 1).astype(np.float64) - np.clip(theirs, 0, 1)
    return -10 * math.log10(max(float(np.mean(difference**2)), 1e-30))
