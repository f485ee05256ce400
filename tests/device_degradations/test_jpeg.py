"""The device's JPEG against Pillow's libjpeg, pixel by pixel, and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from photographs import NAMES, embedded, shared

from elir_jax.data.degradations.filters import jpeg as pillow
from elir_jax.device_degradations.canvas import Canvas
from elir_jax.device_degradations.jpeg import compress, jpeg
from elir_jax.device_degradations.jpeg_blocks import FORWARD, code_plane

ON_DEVICE = jax.jit(jpeg)
QUALITIES = (30, 50, 75, 95)


def decoded(pixels, quality, canvas, outside=0):
    """``pixels`` through the device, in the corner of a square canvas filled with ``outside``."""
    height, width = pixels.shape[:2]
    levels = np.full((canvas, canvas, 3), outside, np.int32)
    levels[:height, :width] = pixels
    sizes = np.array([height, width, quality], np.int32)
    return np.asarray(ON_DEVICE(levels, *sizes))[:height, :width]


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("name", NAMES)
def test_pixels_of_photographs_are_exactly_pillows(name, quality):
    pixels = embedded(name, 245, 251)
    np.testing.assert_array_equal(decoded(pixels, quality, 256), pillow(pixels, quality))


@pytest.mark.parametrize("quality", QUALITIES)
def test_pixels_of_ten_other_photographs_are_exactly_pillows(quality):
    for pixels in shared(256, 256):
        np.testing.assert_array_equal(decoded(pixels, quality, 256), pillow(pixels, quality))


def test_noise_of_every_quality_is_exactly_pillows():
    """Noise reaches every coefficient and the ends of the range."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 47, 3), np.uint8)
    for quality in range(1, 101):
        np.testing.assert_array_equal(decoded(pixels, quality, 48), pillow(pixels, quality))


@pytest.mark.parametrize("height", [1, 2, 7, 8, 9, 16, 17, 31, 32])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 15, 16, 17, 33])
def test_every_size_is_filled_up_as_libjpeg_does(height, width):
    """Up to 4 pixels of width libjpeg repeats chroma, beyond it interpolates."""
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    np.testing.assert_array_equal(decoded(pixels, 60, 48), pillow(pixels, 60))


def test_what_lies_outside_the_picture_does_not_matter():
    pixels = embedded("astronaut", 27, 21)
    expected = decoded(pixels, 75, 48)
    for outside in (-(2**20), 255, 2**20):
        np.testing.assert_array_equal(decoded(pixels, 75, 48, outside), expected)


def test_a_batch_of_sizes_and_qualities_is_its_samples_one_by_one():
    rng = np.random.default_rng(2)
    levels = rng.integers(0, 256, (4, 48, 48, 3), np.int32)
    sizes = np.array([[48, 48, 20], [11, 30, 90], [2, 3, 50], [33, 16, 100]], np.int32)
    together = np.asarray(jax.jit(jax.vmap(jpeg))(levels, *sizes.T))
    for image, (height, width, quality), result in zip(levels, sizes, together, strict=True):
        corner = image[:height, :width].astype(np.uint8)
        np.testing.assert_array_equal(result[:height, :width], pillow(corner, int(quality)))


def test_grey_of_any_level_survives_the_best_quality():
    for level in range(0, 256, 15):
        pixels = np.full((16, 16, 3), level, np.uint8)
        np.testing.assert_array_equal(decoded(pixels, 100, 48), pixels)


def test_floats_are_rounded_to_levels_and_come_back_as_levels():
    pixels = embedded("coffee", 32, 32)
    x = (pixels + np.random.default_rng(3).uniform(-0.4, 0.4, pixels.shape)) / 255
    canvas = Canvas(jnp.float32(x), jnp.int32(32), jnp.int32(32))
    found = compress(canvas, jnp.int32(75)).pixels
    np.testing.assert_allclose(found * 255, pillow(pixels, 75), atol=1e-4)


def test_the_integer_transform_is_the_cosine_transform():
    k, n = np.indices((8, 8))
    cosines = np.sqrt(np.where(k == 0, 1, 2)) * np.cos((2 * n + 1) * k * np.pi / 16)
    np.testing.assert_allclose(FORWARD / 8192, cosines, atol=2 / 8192)


def test_steps_of_one_lose_less_than_a_level():
    plane = np.random.default_rng(4).integers(0, 256, (64, 64), np.int32)
    found = code_plane(jnp.asarray(plane), jnp.ones((8, 8), jnp.int32))
    assert np.abs(np.asarray(found) - plane).max() <= 1
    coarse = code_plane(jnp.asarray(plane), jnp.full((8, 8), 40, jnp.int32))
    assert np.abs(np.asarray(coarse) - plane).mean() > 3


def test_a_canvas_of_broken_blocks_is_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        jpeg(jnp.zeros((24, 32, 3), jnp.int32), jnp.int32(8), jnp.int32(8), jnp.int32(50))
