"""Degradations against closed forms and naive references."""

import numpy as np
import pytest

from elir_jax.data.degradations import (
    BlindFaceRestoration,
    Denoising,
    Identity,
    gaussian_blur,
)

GREY = np.full((64, 64, 3), 0.5, np.float32)
RAMP = np.linspace(0, 1, 64 * 96 * 3, dtype=np.float32).reshape(64, 96, 3)


def rng():
    return np.random.default_rng(0)


def test_noise_has_its_standard_deviation():
    noise = Denoising(0.1)(rng(), GREY) - GREY
    assert abs(noise.std() - 0.1) < 0.002 and abs(noise.mean()) < 0.003


def test_strong_noise_is_clipped_to_the_range_of_images():
    lq = Denoising(0.35)(rng(), GREY)
    assert lq.min() == 0 and lq.max() == 1 and lq.dtype == np.float32
    # A Gaussian of sigma 0.35 around 0.5 leaves [0, 1] with probability 2 Phi(-0.5 / 0.35) = 0.153
    assert abs(np.mean((lq == 0) | (lq == 1)) - 0.153) < 0.01
    with pytest.raises(ValueError, match="sigma"):
        Denoising(-1.0)


def test_identity_changes_nothing():
    assert Identity()(rng(), RAMP) is RAMP


@pytest.mark.parametrize("sigma", [0.1, 2.0, 12.0])
def test_blur_equals_a_naive_two_dimensional_sum(sigma):
    image = rng().random((12, 10, 3), np.float32)
    offset = np.arange(41) - 20
    kernel = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    wide = np.pad(image.astype(np.float64), ((20, 20), (20, 20), (0, 0)), mode="symmetric")
    expected = np.zeros(image.shape)
    for i in range(41):
        for j in range(41):
            expected += kernel[i, j] * wide[i : i + 12, j : j + 10]
    np.testing.assert_allclose(gaussian_blur(image, sigma), expected, atol=1e-5)


def test_face_degradation_keeps_size_range_and_seed():
    degrade = BlindFaceRestoration()
    first, again = degrade(rng(), RAMP), degrade(rng(), RAMP)
    np.testing.assert_array_equal(first, again)
    assert first.shape == RAMP.shape and first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 1


def test_the_mildest_face_degradation_nearly_keeps_the_image():
    mild = BlindFaceRestoration((0.1, 0.1), (1.0, 1.0), (0.0, 0.0), (100, 100))
    smooth = np.broadcast_to(np.linspace(0.1, 0.9, 96, dtype=np.float32)[None, :, None], RAMP.shape)
    assert np.abs(mild(rng(), np.ascontiguousarray(smooth)) - smooth).max() < 3 / 255
