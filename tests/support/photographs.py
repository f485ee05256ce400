"""Photographs for tests: those that scikit-image ships, and ten of BSDS500 where they are."""

import functools

import numpy as np
import pytest
from reference import SHARED

from elir_jax.data.sources import EMBEDDED_HELD_OUT, EMBEDDED_TRAIN, EmbeddedPhotographs
from elir_jax.pictures.images import read_image

NAMES = (*EMBEDDED_TRAIN, *EMBEDDED_HELD_OUT)


@functools.cache
def embedded(name, height, width):
    """The middle of a photograph, uint8."""
    return _middle(EmbeddedPhotographs([name])[0], height, width)


def shared(height, width):
    """The middles of ten photographs, uint8; skips where they are absent."""
    paths = sorted((SHARED / "images" / "bsds500").glob("*/*.jpg"))[:10]
    if len(paths) < 10:
        pytest.skip("photographs of BSDS500 are absent (shared/images)")
    return [_middle(read_image(path), height, width) for path in paths]


def _middle(pixels, height, width):
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    assert min(top, left) >= 0
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def as_float(pixels):
    return pixels.astype(np.float32) / np.float32(255)
