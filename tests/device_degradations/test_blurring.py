"""The 41x41 blur with shrinking against the host's, and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from photographs import as_float, embedded

from elir_jax.data.degradations.filters import blur_down as on_host
from elir_jax.data.degradations.filters import gaussian_taps
from elir_jax.device_degradations.blurring import blur_down, blur_matrix


@functools.partial(jax.jit, static_argnums=3)
def on_device(x, sigma, size, room):
    return blur_down(x, sigma, tuple(size), (room, room))


def both(x, sigma, size, room):
    """(device, host)."""
    found = on_device(x, np.float32(sigma), np.array(size, np.int32), room)
    assert (int(found.height), int(found.width)) == tuple(size)
    return np.asarray(found.pixels)[: size[0], : size[1]], on_host(x, float(sigma), *size)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 3.0, 12.0, 15.0])
@pytest.mark.parametrize("size", [(64, 72), (40, 51), (5, 6), (1, 1), (76, 80)])
def test_blur_and_resizing_agree_with_the_host(sigma, size):
    """The last size is larger, as the release's shares may be."""
    x = np.random.default_rng(0).random((64, 72, 3), np.float32)
    np.testing.assert_allclose(*both(x, sigma, size, 80), atol=1e-5)


@pytest.mark.parametrize("sigma", [0.1, 4.0, 12.0])
def test_a_photograph_of_training_size_agrees_with_the_host(sigma):
    x = as_float(embedded("astronaut", 512, 512))
    np.testing.assert_allclose(*both(x, sigma, (87, 171), 512), atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (1, 2), (21, 12)])
def test_pictures_smaller_than_the_kernel_are_mirrored_again_and_again(shape):
    x = np.random.default_rng(1).random((*shape, 3), np.float32)
    np.testing.assert_allclose(*both(x, 6.0, shape, 32), atol=1e-5)


def test_a_point_becomes_the_gaussian():
    matrix = np.asarray(blur_matrix(64, 64, jnp.int32(64), jnp.float32(2.5)))
    np.testing.assert_allclose(matrix[12:53, 32], gaussian_taps(2.5), atol=1e-7)
    assert matrix[11, 32] == matrix[53, 32] == 0
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
