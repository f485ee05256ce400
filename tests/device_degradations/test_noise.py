"""Noise against its closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from photographs import as_float, embedded

from elir_jax.device_degradations.canvas import Canvas, inside, whole
from elir_jax.device_degradations.noise import gaussian_noise, level_count, poisson_noise
from elir_jax.pictures.images import to_uint8
from elir_jax.pictures.levels import to_levels


@pytest.mark.parametrize("grey", [False, True])
def test_gaussian_noise_has_its_level_and_channels(grey):
    noise = gaussian_noise(jax.random.key(0), (128, 128, 3), jnp.bool_(grey))
    assert abs(noise.std() - 1) < 0.02 and abs(noise.mean()) < 0.03
    correlation = np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]
    assert abs(correlation - grey) < 0.04


def shot(key, image, grey):
    white = gaussian_noise(key, image.shape, jnp.bool_(grey))
    return np.asarray(poisson_noise(white, whole(image), jnp.bool_(grey)))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("values, rounded_up", [((102,), 1), ((102, 51, 204), 4)])
def test_poisson_noise_has_the_variance_of_its_levels(grey, values, rounded_up):
    """Grey bands; ``rounded_up`` is their number as a power of two."""
    image = np.float32(np.repeat(values, 100)[None, :, None] / 255) * np.ones((300, 1, 3), "f")
    noise = shot(jax.random.key(1), jnp.asarray(image), grey)
    for value, band in zip(values, np.split(noise, len(values), axis=1), strict=True):
        variance = value / 255 / rounded_up
        assert abs(band.var() / variance - 1) < 0.06 and abs(band.mean()) < 0.02
    assert np.allclose(noise[..., 0], noise[..., 1], atol=1e-6) == grey


def test_grey_poisson_noise_is_that_of_the_luminance():
    image = jnp.zeros((200, 200, 3)).at[..., 1].set(1.0)
    noise = shot(jax.random.key(2), image, True)
    assert abs(noise.var() / (150 / 255) - 1) < 0.05
    np.testing.assert_array_equal(noise[..., 0], noise[..., 1])


@pytest.mark.parametrize("height, width", [(64, 64), (40, 3), (1, 1)])
def test_levels_inside_the_picture_are_counted(height, width):
    x = as_float(embedded("chelsea", 64, 64))
    canvas = Canvas(jnp.asarray(x), jnp.int32(height), jnp.int32(width))
    different = len(np.unique(to_uint8(x)[:height, :width]))
    expected = 2 ** math.ceil(math.log2(different))
    assert level_count(to_levels(canvas.pixels), inside(canvas)) == expected


@pytest.mark.parametrize("different", [1, 2, 3, 4, 5, 8, 128, 129, 255, 256])
def test_the_count_is_rounded_up_to_a_power_of_two(different):
    levels = jnp.broadcast_to(
        jnp.arange(different, dtype=jnp.int32)[:, None, None], (different, 1, 3)
    )
    counted = jnp.ones((different, 1, 1), bool)
    assert level_count(levels, counted) == 2 ** math.ceil(math.log2(different))
