"""Pairs: one size, the same window of both images, what is given is not degraded."""

import logging

import numpy as np
import pytest

from elir_jax.data.degradations.tasks import Denoising, Identity
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
        PairMaker(Identity(), 32, fit="stretch")


def seen_by(degrade_of, **how):
    """A maker of padded pairs, and the list of what it degrades."""
    seen = []

    def degrade(rng, hq):
        seen.append(hq)
        return degrade_of(hq)

    return PairMaker(degrade, **({"size": 256, "fit": "pad"} | how)), seen


@pytest.mark.parametrize("height, width", [(300, 180), (500, 180), (700, 640), (1, 1)])
def test_a_padded_pair_is_cut_from_a_degraded_window_of_400(height, width):
    """Marked by its place in the window, the degraded image shows where the pair was cut."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    places = np.arange(400 * 400, dtype=np.float32).reshape(400, 400, 1).repeat(3, 2)
    maker, seen = seen_by(lambda hq: places)
    corners = set()
    for seed in range(8):
        x_hq, x_lq = maker.random(np.random.default_rng(seed), image, "x")
        assert seen[-1].shape == (400, 400, 3) and x_hq.shape == x_lq.shape == (256, 256, 3)
        top, left = divmod(int(x_lq[0, 0, 0]), 400)
        np.testing.assert_array_equal(x_lq, places[top : top + 256, left : left + 256])
        np.testing.assert_array_equal(x_hq, seen[-1][top : top + 256, left : left + 256])
        corners.add((top, left))
    assert len(corners) > 4
    x_hq, x_lq = maker.central(rng(), image, "x")
    np.testing.assert_array_equal(x_lq, places[72:-72, 72:-72])
    np.testing.assert_array_equal(x_hq, seen[-1][72:-72, 72:-72])


def test_a_small_image_is_mirrored_to_400_and_its_middle_stays_the_middle():
    image = np.random.default_rng(0).integers(0, 256, (300, 181, 3), np.uint8)
    maker, seen = seen_by(lambda hq: hq)
    maker.central(rng(), image, "x")
    wide = np.pad(image, ((50, 50), (109, 110), (0, 0)), "reflect")
    np.testing.assert_array_equal(seen[0], to_float(wide))
    enough = image[:270, :].repeat(2, axis=1)[:, :280]
    x_hq, _ = maker.central(rng(), enough, "x")
    np.testing.assert_array_equal(x_hq, to_float(np.ascontiguousarray(centre(enough, 256))))


def test_given_pairs_are_padded_and_cut_alike():
    maker, seen = seen_by(lambda hq: hq)
    for make in (maker.random, maker.central):
        x_hq, x_lq = make(rng(), (PIXELS, 255 - PIXELS), "x")
        np.testing.assert_allclose(x_hq + x_lq, 1.0, atol=1e-6)
    assert not seen


def test_a_crop_above_400_is_degraded_whole():
    maker, seen = seen_by(lambda hq: hq, size=512)
    x_hq, _ = maker.random(rng(), PIXELS, "x")
    assert seen[0].shape == x_hq.shape == (512, 512, 3)


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
