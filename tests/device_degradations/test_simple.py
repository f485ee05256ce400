"""Noise, shrinking, masks and grey against the host's, with the host given the device's noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from photographs import as_float, embedded
from replaying import Replay

from elir_jax.data.degradations.tasks import Colorization, Denoising, Inpainting, SuperResolution
from elir_jax.device_degradations.simple import kept_pixels
from elir_jax.device_degradations.tasks import on_device

X = as_float(embedded("astronaut", 64, 96))
KEY = jax.random.key(3)


def degraded(settings, x=X):
    device = on_device(settings)
    return np.asarray(device.apply(device.draw(KEY), KEY, jnp.asarray(x)))


def normal(*shape, key=KEY):
    return np.asarray(jax.random.normal(key, shape, jnp.float32))


@pytest.mark.parametrize(
    "settings, shape",
    [
        (Denoising(0.35), (64, 96, 3)),
        (Colorization(0.25), (64, 96, 1)),
        (SuperResolution(8, 0.05), (8, 12, 3)),
        (SuperResolution(8, 0.05, "nearest"), (8, 12, 3)),
        (SuperResolution(3, 0.0), (21, 32, 3)),
    ],
    ids=repr,
)
def test_with_the_same_noise_the_host_makes_the_same(settings, shape):
    replay = Replay(normal=[normal(*shape)])
    np.testing.assert_allclose(degraded(settings), settings(replay, X), atol=1e-5)
    assert replay.finished()


@pytest.mark.parametrize(
    "settings", [Denoising(0.1), Colorization(0.1), SuperResolution(), Inpainting()], ids=repr
)
def test_eight_bits_are_what_the_host_rounds_to(settings):
    rounded = type(settings)(**{**vars(settings), "eight_bit": True})
    lq = degraded(rounded) * 255
    np.testing.assert_allclose(lq, np.round(lq), atol=1e-4)
    assert np.abs(lq - degraded(settings) * 255).max() < 3


def test_inpainting_is_the_hosts_with_the_same_mask_and_noise():
    mask_key, noise_key = jax.random.split(KEY)
    kept = np.asarray(kept_pixels(mask_key, 64, 96, 0.9))
    replay = Replay([kept.ravel()], [normal(64, 96, 3, key=noise_key)])
    np.testing.assert_allclose(degraded(Inpainting()), Inpainting()(replay, X), atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.123, 0.9, 1.0])
def test_masks_meet_their_share_exactly_and_are_random(share):
    masks = np.stack([kept_pixels(jax.random.key(i), 32, 40, share) for i in range(200)])
    np.testing.assert_array_equal((masks == 0).sum((1, 2, 3)), int(share * 32 * 40))
    assert set(np.unique(masks)) <= {0.0, 1.0}
    # Every pixel is masked in its share of the 200 masks, within five standard errors.
    error = 5 * np.sqrt(share * (1 - share) / 200) + 1e-9
    assert np.abs((masks == 0).mean(0) - share).max() <= error


def test_masks_take_all_channels():
    lq = degraded(Inpainting(0.5, sigma=0.0), np.full((16, 16, 3), 0.5, np.float32))
    assert np.isin(lq.sum(-1), (0.0, 1.5)).all() and (lq == 0).sum() == 3 * 128
