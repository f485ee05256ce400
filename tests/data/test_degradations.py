"""Degradations against closed forms and naive references."""

import io

import cv2
import numpy as np
import pytest
from drawing import rng, within_four_errors
from PIL import Image

from elir_jax.data.degradations import blind_face_restoration
from elir_jax.data.degradations.blind_face_restoration import BlindFaceRestoration
from elir_jax.data.degradations.filters import (
    blur_down,
    resize_bicubic,
    resize_bilinear,
    resize_nearest,
)
from elir_jax.data.degradations.tasks import (
    Colorization,
    Denoising,
    Identity,
    Inpainting,
    SuperResolution,
)


def gaussian_blur(x, sigma):
    return blur_down(x, sigma, *x.shape[:2])


GREY = np.full((64, 64, 3), 0.5, np.float32)
NOISE = np.random.default_rng(1).random((64, 96, 3), np.float32)
ALL = [
    Identity(), Denoising(), SuperResolution(), Inpainting(), Colorization(),
    BlindFaceRestoration(),
    Denoising(eight_bit=True), SuperResolution(up="nearest", eight_bit=True),
    Inpainting(eight_bit=True), Colorization(eight_bit=True),
    BlindFaceRestoration(share=(1 / 32, 1.2), eight_bit=True),
]  # fmt: skip


@pytest.mark.parametrize("degrade", ALL, ids=repr)
@pytest.mark.parametrize("shape", [(64, 96, 3), (32, 32, 3)])
def test_size_type_range_and_seed_are_kept(degrade, shape):
    hq = np.ascontiguousarray(NOISE[: shape[0], : shape[1]])
    before = hq.copy()
    lq = degrade(rng(), hq)
    np.testing.assert_array_equal(lq, degrade(rng(), hq))
    np.testing.assert_array_equal(hq, before)
    assert lq.shape == shape and lq.dtype == np.float32
    assert lq.min() >= 0 and lq.max() <= 1
    if getattr(degrade, "eight_bit", False):
        np.testing.assert_allclose(lq * 255, np.round(lq * 255), atol=1e-4)
    if not isinstance(degrade, Identity):
        assert not np.array_equal(lq, degrade(rng(1), hq))


def test_noise_has_its_standard_deviation():
    noise = Denoising(0.1)(rng(), GREY) - GREY
    assert abs(noise.std() - 0.1) < 0.002 and abs(noise.mean()) < 0.003


def test_strong_noise_is_clipped_to_the_range_of_images():
    lq = Denoising(0.35)(rng(), GREY)
    assert lq.min() == 0 and lq.max() == 1
    # A Gaussian of sigma 0.35 around 0.5 leaves [0, 1] with probability 2 Phi(-0.5 / 0.35) = 0.153
    assert abs(np.mean((lq == 0) | (lq == 1)) - 0.153) < 0.01


def test_inpainting_masks_its_share_of_whole_pixels():
    lq = Inpainting(0.9, sigma=0.0)(rng(), GREY)
    masked = np.all(lq == 0, axis=-1)
    assert masked.sum() == int(0.9 * 64 * 64)
    np.testing.assert_array_equal(lq[~masked], GREY[~masked])
    other = Inpainting(0.9, sigma=0.0)(rng(1), GREY)
    # Two independent masks share 0.81 of the pixels.
    assert abs(np.mean(masked & np.all(other == 0, axis=-1)) - 0.81) < 0.02
    noisy = Inpainting(0.0, sigma=0.1)(rng(), GREY) - GREY
    assert abs(noisy.std() - 0.1) < 0.002


def test_colorization_is_the_mean_with_one_noise_for_all_channels():
    lq = Colorization(sigma=0.0)(rng(), NOISE)
    np.testing.assert_allclose(lq[..., 0], NOISE.mean(-1), atol=1e-6)
    noisy = Colorization(0.1)(rng(), GREY)
    np.testing.assert_array_equal(noisy[..., 0], noisy[..., 2])
    assert abs((noisy - GREY).std() - 0.1) < 0.004


def naive_bicubic(x, size):
    """Anti-aliased bicubic with a = -0.5 along the first axis."""
    factor = x.shape[0] / size
    reach, out = 2 * max(factor, 1), []
    for i in range(size):
        middle = (i + 0.5) * factor
        places = np.arange(
            max(0, int(middle - reach + 0.5)), min(len(x), int(middle + reach + 0.5))
        )
        d = np.abs((places + 0.5 - middle) / max(factor, 1))
        near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
        weights = np.where(d < 1, near, np.where(d < 2, far, 0))
        out.append(np.tensordot(weights / weights.sum(), x[places], 1))
    return np.stack(out)


@pytest.mark.parametrize("height, width", [(8, 12), (128, 192), (40, 100)])
def test_bicubic_equals_a_naive_sum(height, width):
    expected = naive_bicubic(NOISE.astype(np.float64), height)
    expected = naive_bicubic(expected.transpose(1, 0, 2), width).transpose(1, 0, 2)
    np.testing.assert_allclose(resize_bicubic(NOISE, height, width), expected, atol=1e-5)


def test_super_resolution_without_noise_is_down_and_up():
    lq = SuperResolution(sigma=0.0)(rng(), NOISE)
    small = np.clip(resize_bicubic(NOISE, 8, 12), 0, 1)
    np.testing.assert_array_equal(lq, np.clip(resize_bicubic(small, 64, 96), 0, 1))
    nearest = SuperResolution(sigma=0.0, up="nearest")(rng(), NOISE)
    np.testing.assert_array_equal(nearest, small.repeat(8, 0).repeat(8, 1))
    np.testing.assert_array_equal(resize_nearest(small, 64, 96), small.repeat(8, 0).repeat(8, 1))
    noise = SuperResolution(sigma=0.05, up="nearest")(rng(), GREY) - GREY
    assert abs(noise[::8, ::8].std() - 0.05) < 0.01


@pytest.mark.parametrize("sigma", [0.1, 2.0, 12.0])
def test_blur_equals_a_naive_two_dimensional_sum(sigma):
    image = rng().random((30, 26, 3), np.float32)
    offset = np.arange(41) - 20
    kernel = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    wide = np.pad(image.astype(np.float64), ((20, 20), (20, 20), (0, 0)), mode="reflect")
    expected = np.zeros(image.shape)
    for i in range(41):
        for j in range(41):
            expected += kernel[i, j] * wide[i : i + 30, j : j + 26]
    np.testing.assert_allclose(gaussian_blur(image, sigma), expected, atol=1e-5)


def test_blur_keeps_energy_and_takes_its_share_of_variance():
    x = rng().random((256, 256, 3), np.float32)
    blurred = gaussian_blur(x, 2.0)
    assert abs(blurred.mean() - x.mean()) < 1e-3
    # White noise keeps 1 / (4 pi sigma^2) of its variance.
    assert abs(blurred.var() / x.var() * 4 * np.pi * 4 - 1) < 0.1


@pytest.mark.parametrize("height, width", [(64, 96), (40, 60), (21, 32), (20, 7), (5, 8), (1, 1)])
@pytest.mark.parametrize("sigma", [0.1, 5.0])
def test_blur_and_shrinking_at_once_are_blur_then_shrinking(height, width, sigma):
    taps = cv2.getGaussianKernel(41, sigma)
    blurred = cv2.sepFilter2D(NOISE, -1, taps, taps, borderType=cv2.BORDER_REFLECT_101)
    expected = resize_bilinear(blurred, height, width)
    np.testing.assert_allclose(blur_down(NOISE, sigma, height, width), expected, atol=2e-6)


def test_face_degradation_equals_its_steps_one_by_one():
    fixed = BlindFaceRestoration((3.0, 3.0), (4.0, 4.0), (), (0.0, 0.0), (50, 50))
    small = resize_bilinear(gaussian_blur(NOISE, 3.0), 16, 24)
    buffer = io.BytesIO()
    Image.fromarray(np.round(np.clip(small, 0, 1) * 255).astype(np.uint8)).save(
        buffer, format="JPEG", quality=50
    )
    decoded = np.asarray(Image.open(buffer)).astype(np.float32) / 255
    np.testing.assert_allclose(fixed(rng(), NOISE), resize_bilinear(decoded, 64, 96), atol=1e-6)


def drawn(monkeypatch, degrade, side=1200, count=600):
    """What ``degrade`` drew, a row a seed: blur, noise, JPEG quality, small side over full side."""
    rows = []

    def blur_down(x, sigma, height, width):
        rows.append({"blur": sigma, "share": height / side})
        return np.zeros((height, width, 3), np.float32)

    def add_noise(rng, x, sigma):
        rows[-1]["noise"] = sigma * 255
        return x

    def jpeg(pixels, quality):
        rows[-1]["quality"] = quality
        return pixels

    for operation in (blur_down, add_noise, jpeg):
        monkeypatch.setattr(blind_face_restoration, operation.__name__, operation)
    image = np.zeros((side, 2, 3), np.float32)
    for seed in range(count):
        degrade(rng(seed), image)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def uniform(values, low, high):
    """Whether values are spread evenly over [low, high], and reach both ends but for 2 %."""
    near = 0.02 * (high - low)
    ends = low <= values.min() <= low + near and high - near <= values.max() <= high
    quarters, _ = np.histogram(values, 4, (low, high))
    mean_error = 4 * (high - low) / np.sqrt(12 * len(values))
    mean = abs(values.mean() - (low + high) / 2) <= mean_error
    return ends and mean and within_four_errors(quarters, [1 / 4] * 4)


@pytest.mark.parametrize("share", [(), (1 / 32, 1.2)], ids=["the paper's", "the release's"])
def test_face_degradation_draws_each_strength_evenly_from_its_range(monkeypatch, share):
    """Equation 10's ranges by default; the release draws the share of the side instead."""
    seen = drawn(monkeypatch, BlindFaceRestoration(share=share))
    assert uniform(seen["blur"], 0.1, 12.0)
    assert uniform(seen["noise"], 0.0, 15.0)
    assert {30, 100} <= set(seen["quality"]) and uniform(seen["quality"], 29.5, 100.5)
    if share:
        assert uniform(seen["share"], 1 / 32, 1.2)
    else:  # the side is a whole number of pixels: the factor is known to 1 %
        factors = np.clip(1 / seen["share"], 1, 12)
        assert uniform(factors, 1.0, 12.0)
    several = np.corrcoef(list(seen.values())) - np.eye(4)
    assert np.abs(several).max() < 4 / np.sqrt(600)  # drawn independently


def test_face_noise_has_its_standard_deviation():
    fixed = BlindFaceRestoration((0.1, 0.1), (1.0, 1.0), (), (15.0, 15.0), (100, 100))
    noise = fixed(rng(), GREY) - GREY
    # JPEG halves the resolution of chroma: luma alone keeps all of the noise.
    luma = noise @ np.array([0.299, 0.587, 0.114], np.float32)
    expected = 15 / 255 * np.sqrt(0.299**2 + 0.587**2 + 0.114**2)
    assert abs(luma.std() / expected - 1) < 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Denoising(-1.0),
        lambda: Inpainting(masked=1.1),
        lambda: SuperResolution(up="linear"),
        lambda: SuperResolution(factor=0),
        lambda: Colorization(-0.1),
        lambda: BlindFaceRestoration(scale=(0.5, 2.0)),
        lambda: BlindFaceRestoration(quality=(30, 101)),
        lambda: BlindFaceRestoration(blur=(3.0, 1.0)),
    ],
)
def test_impossible_values_are_refused(wrong):
    with pytest.raises(ValueError, match=r"sigma|masked|up|factor|scale|quality|blur"):
        wrong()
