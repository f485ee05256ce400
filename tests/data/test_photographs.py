"""The faults of photographs: which share meets which, and what each does."""

import numpy as np
import pytest

from elir_jax.data.degradations.photographs import Photographs, compress
from elir_jax.data.degradations.tasks import Denoising
from elir_jax.pictures.images import to_float, to_uint8

X = np.random.default_rng(0).random((32, 48, 3), np.float32)
SMOOTH = to_float(to_uint8(np.cumsum(np.cumsum(X, 0), 1) / (32 * 48)))


def pairs(count, **settings):
    degrade = Photographs(**settings)
    return [degrade(np.random.default_rng(i), SMOOTH.copy()) for i in range(count)]


def test_shares_of_intact_and_grey_pictures_are_met():
    found = pairs(400, grey=0.25, intact=0.3)
    intact = np.mean([np.array_equal(lq, hq) for lq, hq in found])
    grey = np.mean([np.ptp(hq, axis=-1).max() == 0 for _, hq in found])
    assert abs(intact - 0.3) < 0.08 and abs(grey - 0.25) < 0.08  # 3 standard deviations


def test_grey_pictures_that_are_compressed_stay_grey():
    for lq, hq in pairs(20, grey=1.0, compressed=1.0, intact=0.0):
        assert np.ptp(lq, axis=-1).max() == np.ptp(hq, axis=-1).max() == 0


def test_results_have_8_bits():
    for lq, _ in pairs(20):
        np.testing.assert_array_equal(lq, to_float(to_uint8(lq)))


def test_a_picture_that_is_compressed_once_is_the_jpeg_of_its_quality():
    settings = {"compressed": 1.0, "intact": 0.0, "twice": 0.0, "grey": 0.0, "quality": (20, 20)}
    wanted = [to_float(compress(to_uint8(SMOOTH), 20, s)) for s in (0, 1, 2)]
    for lq, _ in pairs(20, **settings):
        assert any(np.array_equal(lq, one) for one in wanted)


def test_twice_compressed_pictures_lose_more():
    settings = {"compressed": 1.0, "intact": 0.0, "grey": 0.0, "quality": (20, 20)}

    def error(twice):
        return np.mean([np.square(lq - hq).mean() for lq, hq in pairs(40, twice=twice, **settings)])

    assert error(1.0) > 1.02 * error(0.0)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"intact": 0.6, "compressed": 0.6}, "at most 1 together"),
        ({"grey": 1.5}, "grey must be"),
        ({"quality": (0, 95)}, "quality must be"),
        ({"blur": (3.0, 1.0)}, "blur must be"),
    ],
)
def test_wrong_settings_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        Photographs(**wrong)


def test_a_range_of_deviations_is_drawn_anew_for_each_picture():
    degrade, grey = Denoising(sigmas=(0.0, 0.2)), np.full((64, 64, 3), 0.5, np.float32)
    found = [np.std(degrade(np.random.default_rng(i), grey.copy())) for i in range(200)]
    assert abs(np.mean(found) - 0.1) < 0.013 and min(found) < 0.02 and max(found) > 0.18
