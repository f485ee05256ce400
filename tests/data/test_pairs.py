"""Pairs: one size, the same window of both images, what is given is not degraded."""

import logging

import numpy as np
import pytest
from elir_jax.data.degradations.tasks.tasks.tasks import Denoising, Identity

from elir_jax.data.pairs import PairMaker, evaluation_pairs
from elir_jax.errors import UserError
from elir_jax.pictures.images import centre, to_float

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)


class Two:
    """A good image and a small one."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return PIXELS if index == 0 else PIXELS[:20]

    def name(self, index):
        return f"number {index}"


def rng():
    return np.random.default_rng(0)


def test_given_pairs_are_cut_alike_and_not_degraded():
    maker = PairMaker(Denoising(1.0), 32)
    for seed in range(8):
        x_hq, x_lq = maker.random(np.random.default_rng(seed), (PIXELS, 255 - PIXELS), "x")
        np.testing.assert_allclose(x_hq + x_lq, 1.0, atol=1e-6)
    x_hq, x_lq = maker.central(rng(), (PIXELS, 255 - PIXELS), "x")
    np.testing.assert_allclose(x_hq + x_lq, 1.0, atol=1e-6)


def test_a_smaller_degraded_image_is_enlarged_to_its_original():
    smooth = np.linspace(0, 255, 64).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    x_hq, x_lq = PairMaker(Identity(), 64).central(rng(), (smooth, smooth[::4, ::4]), "x")
    assert np.abs(x_hq - x_lq).max() < 0.05


def test_resize_brings_the_short_side_to_size():
    maker = PairMaker(Identity(), 32, fit="resize")
    x_hq, _ = maker.random(rng(), PIXELS, "x")
    assert x_hq.shape == (32, 32, 3)
    maker.random(rng(), PIXELS[:16], "x")  # twice as large at most
    with pytest.raises(UserError, match="x: 48x15 pixels are too few, 16x16"):
        maker.random(rng(), PIXELS[:15], "x")
    with pytest.raises(ValueError, match="fit"):
        PairMaker(Identity(), 32, fit="pad")


def test_evaluation_takes_centres_with_noise_of_their_own(caplog):
    maker = PairMaker(Denoising(0.1), 32)
    with pytest.raises(UserError, match="number 1"):
        list(evaluation_pairs(Two(), maker, 0, False, range(2)))
    small = PairMaker(Denoising(0.1), 20)
    pairs, again = (list(evaluation_pairs(Two(), small, 0, False, range(2))) for _ in range(2))
    assert [pair[:2] for pair in pairs] == [(0, "number 0"), (1, "number 1")]
    (alone,) = evaluation_pairs(Two(), small, 0, False, range(1, 2))
    np.testing.assert_array_equal(alone[3], pairs[1][3])
    np.testing.assert_array_equal(pairs[0][2], to_float(np.ascontiguousarray(centre(PIXELS, 20))))
    for (*_, x_lq), (*_, x_lq_again) in zip(pairs, again, strict=True):
        np.testing.assert_array_equal(x_lq, x_lq_again)
    assert not np.array_equal(pairs[0][3] - pairs[0][2], pairs[1][3] - pairs[1][2])
    with caplog.at_level(logging.WARNING):
        assert len(list(evaluation_pairs(Two(), maker, 0, True, range(2)))) == 1
    assert "number 1" in caplog.text
