"""A picture's noise: one for each picture, whatever form the pixels are given in."""

import jax
import numpy as np
import pytest

from elir_jax.inference import fingerprint
from elir_jax.inference.noise import picture_key
from elir_jax.pictures.images import to_float

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)


def field(image, seed=0, shape=(40, 50)):
    return np.asarray(jax.random.normal(picture_key(seed, image), shape))


@pytest.mark.parametrize(
    "same",
    [to_float(IMAGE), (IMAGE / 255.0).astype(np.float32), IMAGE.astype(np.uint16) * 257],
    ids=["float", "divided in float64", "16 bits"],
)
def test_a_picture_has_one_noise_as_integers_and_as_floats(same):
    np.testing.assert_array_equal(field(same), field(IMAGE))


def test_other_pixels_another_shape_or_seed_have_noise_of_their_own():
    one_level = IMAGE.copy()
    one_level[3, 4, 1] ^= 1
    others = [field(one_level), field(IMAGE.reshape(18, 12, 3)), field(IMAGE[:, ::-1])]
    fields = [field(IMAGE), field(IMAGE, seed=1), *others]
    correlation = np.corrcoef([each.ravel() for each in fields]) - np.eye(len(fields))
    assert np.abs(correlation).max() < 4 / np.sqrt(40 * 50)


def test_a_large_picture_is_digested_in_parts(monkeypatch):
    floats = to_float(IMAGE)
    whole = field(floats)
    monkeypatch.setattr(fingerprint, "PART", 100)
    np.testing.assert_array_equal(field(floats), whole)
