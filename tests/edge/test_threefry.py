"""The noise without JAX: the bits of jax.random exactly, the normal numbers to rounding."""

import jax
import numpy as np
import pytest

from elir_jax.edge import threefry
from elir_jax.inference.noise import picture_key
from elir_jax.inference.noise import unit_noise as by_jax

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def words(key):
    return np.asarray(jax.random.key_data(key))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_keys_and_bits_are_those_of_jax(seed):
    key = jax.random.key(seed)
    for number in (0, 5, 2**32 - 1):
        ours = threefry.fold_in(words(key), np.uint32(number))
        np.testing.assert_array_equal(ours, words(jax.random.fold_in(key, np.uint32(number))))
    drawn = np.asarray(jax.random.bits(key, (7, 100)))
    np.testing.assert_array_equal(threefry.bits(words(key), 0, 700).reshape(7, 100), drawn)
    np.testing.assert_array_equal(threefry.bits(words(key), 300, 50), drawn.ravel()[300:350])


@pytest.mark.parametrize("seed", [0, 3])
def test_a_picture_has_the_noise_that_jax_draws(seed):
    shape = (40, 50, 16)
    ours, theirs = (draw(seed, IMAGE, shape) for draw in (threefry.unit_noise, by_jax))
    assert ours.dtype == np.float32 and ours.shape == shape
    np.testing.assert_allclose(ours, theirs, rtol=5e-7, atol=1e-7)  # a few units in the last place
    assert np.abs(ours).max() > 3.5  # both polynomials took part


def test_a_large_array_is_drawn_in_parts(monkeypatch):
    key = words(picture_key(0, IMAGE))
    whole = threefry.normal(key, (33, 7))
    monkeypatch.setattr(threefry, "PART", 50)
    np.testing.assert_array_equal(threefry.normal(key, (33, 7)), whole)
