"""DifFace's degradation: what it draws, its stages against a naive chain, grey on both sides."""

import math

import cv2
import numpy as np
import pytest
from drawing import rng

from elir_jax.data.degradations import difface
from elir_jax.data.degradations.blur_kernels import gaussian_kernel
from elir_jax.data.degradations.difface import DifFace, grey
from elir_jax.data.degradations.filters import jpeg
from elir_jax.data.pairs import PairMaker
from elir_jax.pictures.images import to_float, to_uint8

HQ = np.random.default_rng(1).random((64, 96, 3)).astype(np.float32)
HQ = cv2.GaussianBlur(HQ, (0, 0), 2.0)
STILL = {"blur": (1e-3, 1e-3), "scale": (1.0, 1.0), "noise": (0.0, 0.0), "quality": (100, 100)}


def lq_of(degrade, generator, hq=HQ):
    found = degrade(generator, hq)
    return found[0] if isinstance(found, tuple) else found


def test_it_is_reproducible_and_eight_bit_and_keeps_the_original():
    before = HQ.copy()
    for seed in range(5):
        lq = lq_of(DifFace(), rng(seed))
        assert np.array_equal(lq, lq_of(DifFace(), rng(seed))) and np.array_equal(HQ, before)
        assert lq.shape == HQ.shape and lq.dtype == np.float32
        np.testing.assert_allclose(lq * 255, np.round(lq * 255), atol=1e-4)
        assert lq.min() >= 0 and lq.max() <= 1


def test_without_strengths_only_the_jpeg_is_left():
    degrade = DifFace(**STILL, grey=0.0)
    np.testing.assert_array_equal(degrade(rng(), HQ), to_float(jpeg(to_uint8(HQ), 100)))


def test_the_blur_is_the_naive_sum_mirrored_at_the_edges():
    degrade = DifFace(**(STILL | {"blur": (2.0, 6.0)}), grey=0.0)
    kernel = degrade.kernel(skipped_factor(rng(3)))
    padded = np.pad(HQ, [(20, 20), (20, 20), (0, 0)], mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (41, 41), axis=(0, 1))
    naive = np.einsum("hwcij,ij->hwc", windows, kernel)
    naive = to_float(jpeg(to_uint8(naive), 100))
    assert np.abs(degrade(rng(3), HQ) - naive).max() <= 2 / 255 + 1e-6  # a level before the JPEG


def skipped_factor(generator):
    """The generator after the factor, which is drawn before the kernel."""
    generator.uniform()
    return generator


def test_half_of_the_kernels_are_isotropic_and_the_others_lie_at_any_angle():
    degrade, generator = DifFace(blur=(0.5, 8.0)), rng(0)
    offset = np.arange(41) - 20
    moments = []
    for _ in range(400):
        kernel = np.float64(degrade.kernel(generator))
        y = np.sum(kernel * offset[:, None] ** 2)
        x = np.sum(kernel * offset**2)
        moments.append((y, x, np.sum(kernel * np.multiply.outer(offset, offset))))
    y, x, mixed = np.array(moments).T
    isotropic = (np.abs(y - x) < 1e-3 * (y + x)) & (np.abs(mixed) < 1e-3 * (y + x))
    assert abs(isotropic.mean() - 0.5) < 4 * 0.5 / math.sqrt(400)
    angle = 0.5 * np.arctan2(2 * mixed, x - y)[~isotropic]  # of the long axis, in (-pi/2, pi/2]
    assert np.histogram(angle, 4, (-math.pi / 2, math.pi / 2))[0].min() > 25


def test_an_anisotropic_kernel_has_its_two_deviations():
    kernel = np.float64(gaussian_kernel(41, 5.0, 2.0, 0.0))
    offset = np.arange(41) - 20
    assert math.sqrt(np.sum(kernel * offset**2)) == pytest.approx(5.0, rel=1e-2)
    assert math.sqrt(np.sum(kernel * offset[:, None] ** 2)) == pytest.approx(2.0, rel=1e-2)


@pytest.mark.parametrize("scale, small", [(0.75, (85, 128)), (3.0, (21, 32)), (32.0, (2, 3))])
def test_sides_are_divided_by_the_scale_which_may_enlarge(scale, small, monkeypatch):
    sizes, resize = [], difface.resize_bilinear

    def seen(x, height, width):
        sizes.append((height, width))
        return resize(x, height, width)

    monkeypatch.setattr(difface, "resize_bilinear", seen)
    DifFace(scale=(scale, scale))(rng(), HQ)
    assert sizes == [small, HQ.shape[:2]]


@pytest.mark.slow
def test_one_pair_in_a_hundred_is_grey_on_both_sides():
    tiny = HQ[:8, :8]
    generator = rng(0)
    found = [DifFace()(generator, tiny) for _ in range(3000)]
    pairs = [pair for pair in found if isinstance(pair, tuple)]
    assert abs(len(pairs) - 30) < 4 * math.sqrt(30)
    for lq, hq in pairs:
        assert np.ptp(lq, axis=-1).max() == np.ptp(hq, axis=-1).max() == 0
        np.testing.assert_allclose(hq[..., 0], tiny @ [0.299, 0.587, 0.114], atol=1e-5)


@pytest.mark.parametrize("how", ["random", "central"])
def test_a_pair_maker_takes_the_grey_original(how):
    picture = to_uint8(HQ)
    maker = PairMaker(DifFace(grey=1.0), 32)
    x_hq, x_lq = getattr(maker, how)(rng(), picture, "x")
    assert np.ptp(x_hq, axis=-1).max() == np.ptp(x_lq, axis=-1).max() == 0
    colourful = PairMaker(DifFace(grey=0.0), 32)
    again, _ = getattr(colourful, how)(rng(), picture, "x")
    assert np.ptp(again, axis=-1).max() > 0
    np.testing.assert_array_equal(grey(again), x_hq)


@pytest.mark.parametrize(
    "wrong", [{"scale": (0.0, 2.0)}, {"grey": 1.5}, {"blur": (3.0, 1.0)}, {"quality": (30, 101)}]
)
def test_ranges_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DifFace(**wrong)
