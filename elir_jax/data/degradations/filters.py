"""The operations of degradations: blur, resizing, noise, JPEG. Images are float32, h x w x 3."""

import io

import cv2
import numpy as np
from jaxtyping import Float32
from PIL import Image

from elir_jax.pictures.images import FloatPixels, Pixels

BLUR_SIZE = 41  # equation 10
BLOCK = 32  # rows of a result computed at once


def gaussian_taps(sigma: float) -> Float32[np.ndarray, " 41"]:
    """The 41 weights of a Gaussian of ``sigma`` pixels, along one axis; they sum to 1."""
    offset = np.arange(BLUR_SIZE) - BLUR_SIZE // 2
    taps = np.exp(-(offset**2) / (2 * sigma**2))
    return (taps / taps.sum()).astype(np.float32)


def blur_down(
    x: Float32[np.ndarray, "h w 3"], sigma: float, height: int, width: int
) -> Float32[np.ndarray, "h2 w2 3"]:
    """41x41 Gaussian blur, then bilinear resizing to ``height`` x ``width`` (half-pixel centres).

    The image is mirrored at its edges, without repeating the edge pixels. Both steps together are
    one matrix along each axis: each resized row needs two blurred rows, and the other blurred rows
    are not computed. The matrix is banded and is processed in small dense blocks.
    """
    full_height, full_width = x.shape[:2]
    y = np.empty((height, full_width, 3), np.float32)
    for target, seen, block in _bands(full_height, height, sigma):
        wide = x[seen].reshape(block.shape[1], -1)
        np.matmul(block, wide, out=y[target].reshape(len(block), -1))
    planes = []
    for plane in cv2.split(y):
        small = np.empty((height, width), np.float32)
        for target, seen, block in _bands(full_width, width, sigma):
            small[:, target] = plane[:, seen] @ block.T
        planes.append(small)
    return cv2.merge(planes)


def _bands(size: int, target: int, sigma: float) -> list[tuple[slice, slice, np.ndarray]]:
    """The matrix of one axis, as (rows of the result, rows of the input, block of weights)."""
    place = np.maximum((np.arange(target) + 0.5) * (size / target) - 0.5, 0.0)
    low = np.minimum(place.astype(np.int64), size - 1)
    share = (place - low).astype(np.float32)[:, None]
    taps = gaussian_taps(sigma)
    weights = np.zeros((target, BLUR_SIZE + 1), np.float32)
    weights[:, :-1] = (1 - share) * taps
    weights[:, 1:] += share * taps
    index = _mirror(low[:, None] + np.arange(BLUR_SIZE + 1) - BLUR_SIZE // 2, size)
    bands = []
    for start in range(0, target, BLOCK):
        rows = slice(start, min(start + BLOCK, target))
        first, last = index[rows].min(), index[rows].max()
        shape = rows.stop - start, last - first + 1
        place = np.arange(shape[0])[:, None] * shape[1] + index[rows] - first
        summed = np.bincount(place.ravel(), weights[rows].ravel(), minlength=shape[0] * shape[1])
        bands.append((rows, slice(first, last + 1), summed.astype(np.float32).reshape(shape)))
    return bands


def _mirror(index: np.ndarray, size: int) -> np.ndarray:
    """Mirror indices beyond the edges back, without repeating the edge pixels."""
    if size == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * size - 2)
    return np.minimum(index, 2 * size - 2 - index)


def resize_bilinear(
    x: Float32[np.ndarray, "h w 3"], height: int, width: int
) -> Float32[np.ndarray, "h2 w2 3"]:
    """Bilinear interpolation at half-pixel centres, without anti-aliasing."""
    return cv2.resize(x, (width, height), interpolation=cv2.INTER_LINEAR)


def resize_bicubic(
    x: Float32[np.ndarray, "h w 3"], height: int, width: int
) -> Float32[np.ndarray, "h2 w2 3"]:
    """Pillow's bicubic filter (a = -0.5), anti-aliased if it shrinks; may overshoot [0, 1]."""
    planes = [
        Image.fromarray(np.ascontiguousarray(x[..., c])).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for c in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def resize_nearest(
    x: Float32[np.ndarray, "h w 3"], height: int, width: int
) -> Float32[np.ndarray, "h2 w2 3"]:
    """Nearest neighbour at half-pixel centres (PyTorch's ``nearest-exact``)."""
    rows = ((np.arange(height) + 0.5) * (x.shape[0] / height)).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * (x.shape[1] / width)).astype(np.int64)
    return x[rows[:, None], columns[None]]


def add_noise(rng: np.random.Generator, x: FloatPixels, sigma: float) -> FloatPixels:
    """White Gaussian noise of standard deviation ``sigma``; not clipped."""
    noise = rng.standard_normal(x.shape, np.float32)
    noise *= np.float32(sigma)
    noise += x
    return noise


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Compress and decompress, with Pillow's defaults (chroma at half resolution)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
