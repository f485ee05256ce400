"""Real-ESRGAN's degradation: primitives against naive references, then the stages' order."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
from drawing import rng, within_four_errors

from elir_jax.data.degradations import blind_super_resolution as module
from elir_jax.data.degradations.blind_super_resolution import (
    FIRST_STAGE,
    MODES,
    SECOND_STAGE,
    BlindSuperResolution,
    Stage,
    add_gaussian_noise,
    add_poisson_noise,
    draw_mode,
    filter_image,
    resize,
)


def photograph(height, width):
    """Smooth waves and a sharp edge, in three different channels."""
    y, x = np.indices((height, width)) / 8
    waves = np.stack([np.sin(x + y), np.cos(x - y / 2), np.sin(y / 2)], axis=-1)
    return np.float32(0.5 + 0.3 * waves + 0.1 * (x > y)[..., None])


@pytest.mark.parametrize("height, width, size", [(12, 10, 7), (24, 30, 21), (5, 4, 21)])
def test_filter_equals_a_naive_sum_over_the_mirrored_image(height, width, size):
    image, kernel = rng().random((height, width, 3), np.float32), rng(1).random((size, size))
    kernel = np.float32(kernel / kernel.sum())  # has no symmetry that could hide a flip
    wide = np.pad(image.astype(np.float64), [(size // 2,) * 2] * 2 + [(0, 0)], mode="reflect")
    expected = np.zeros(image.shape)
    for i in range(size):
        for j in range(size):
            expected += kernel[i, j] * wide[i : i + height, j : j + width]
    np.testing.assert_allclose(filter_image(image, kernel), expected, atol=1e-5)


def linear(t):
    return max(0.0, 1 - abs(t))


def cubic(t, a=-0.75):
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def weights(old, new, function):
    """new x old matrix that interpolates along an axis; the outermost pixel is repeated."""
    matrix = np.zeros((new, old))
    for i in range(new):
        centre = (i + 0.5) * old / new - 0.5
        for j in range(math.floor(centre) - 1, math.floor(centre) + 3):
            matrix[i, min(max(j, 0), old - 1)] += function(centre - j)
    return matrix


@pytest.mark.parametrize("mode, function", [("bilinear", linear), ("bicubic", cubic)])
@pytest.mark.parametrize("height, width", [(9, 31), (40, 12)])
def test_resize_equals_naive_interpolation(mode, function, height, width):
    image = rng().random((16, 20, 3), np.float32)
    rows, columns = weights(16, height, function), weights(20, width, function)
    expected = np.einsum("ih,jw,hwc->ijc", rows, columns, image)
    np.testing.assert_allclose(resize(image, height, width, mode), expected, atol=1e-5)


def test_area_averages_whole_blocks():
    image = rng().random((16, 24, 3), np.float32)
    blocks = image.reshape(4, 4, 6, 4, 3).mean((1, 3))
    np.testing.assert_allclose(resize(image, 4, 6, "area"), blocks, atol=1e-6)


@pytest.mark.parametrize("grey", [False, True])
def test_gaussian_noise_has_its_level_and_channels(grey):
    noise = add_gaussian_noise(rng(), np.full((128, 128, 3), 0.5, np.float32), 0.1, grey) - 0.5
    assert abs(noise.std() - 0.1) < 0.002 and abs(noise.mean()) < 0.003
    correlation = np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]
    assert abs(correlation - grey) < 0.04


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("values, rounded_up", [((102,), 1), ((102, 51, 204), 4)])
def test_poisson_noise_has_the_variance_of_its_levels(grey, values, rounded_up):
    """Grey bands; ``rounded_up`` is their number as a power of two."""
    image = np.float32(np.repeat(values, 100)[None, :, None] / 255) * np.ones((300, 1, 3), "f")
    noise = add_poisson_noise(rng(), image, 0.3, grey) - image
    for value, band in zip(values, np.split(noise, len(values), axis=1), strict=True):
        variance = 0.3**2 * value / 255 / rounded_up
        assert abs(band.var() / variance - 1) < 0.06 and abs(band.mean()) < 0.006
    assert np.allclose(noise[..., 0], noise[..., 1], atol=1e-6) == grey


def test_grey_poisson_noise_is_that_of_the_luminance():
    image = np.zeros((200, 200, 3), np.float32)
    image[..., 1] = 1.0  # green has luminance 0.587; on its own, red would have no noise
    noise = add_poisson_noise(rng(), image, 0.5, True) - image
    assert abs(noise.var() / (0.25 * 150 / 255) - 1) < 0.05
    np.testing.assert_allclose(noise[..., 0], noise[..., 1], atol=1e-6)


# --- stages and the whole


@pytest.mark.parametrize("stage", [FIRST_STAGE, SECOND_STAGE])
def test_shares_of_scales_and_modes_are_their_probabilities(stage):
    source = rng()
    scales = np.array([stage.draw_scale(source) for _ in range(2000)])
    counts = [np.sum(scales > 1), np.sum(scales < 1), np.sum(scales == 1)]
    assert within_four_errors(counts, stage.resize_probabilities)
    least, largest = stage.resize_range
    assert least <= scales.min() < least + 0.02 and largest - 0.02 < scales.max() <= largest
    modes = [draw_mode(source) for _ in range(600)]
    assert within_four_errors([modes.count(mode) for mode in MODES], [1 / 3] * 3)


@pytest.fixture
def calls(monkeypatch):
    """(name, arguments) of every operation, in order; the operations still run."""
    seen = []

    def record(name):
        operation = getattr(module, name)

        def recorded(*arguments):
            seen.append((name, arguments))
            return operation(*arguments)

        monkeypatch.setattr(module, name, recorded)

    operations = ("add_gaussian_noise", "add_poisson_noise", "filter_image", "resize", "jpeg")
    for name in (*operations, "random_kernel", "random_sinc_kernel"):
        record(name)
    return seen


NOISE = {"add_gaussian_noise": "noise", "add_poisson_noise": "noise"}
FIRST = ["random_kernel", "filter_image", "resize", "noise", "jpeg"]
SECOND = ["random_kernel", "filter_image", "resize", "noise"]
SHRINK = ["resize", "random_sinc_kernel", "filter_image"]


@pytest.mark.parametrize("second_order", [0.0, 1.0])
def test_operations_come_in_order(calls, second_order):
    second = dataclasses.replace(SECOND_STAGE, blur_probability=1.0)
    degrade = BlindSuperResolution(
        second=second, second_order_probability=second_order, final_sinc_probability=1.0
    )
    stages = FIRST + (SECOND if second_order else [])
    orders = [[*stages, *SHRINK, "jpeg", "resize"], [*stages, "jpeg", *SHRINK, "resize"]]
    counts = [0, 0]
    for seed in range(100):
        calls.clear()
        degrade(rng(seed), photograph(64, 48))
        order = [NOISE.get(name, name) for name, _ in calls]
        counts[orders.index(order)] += 1
        sizes = [arguments[1:3] for name, arguments in calls if name == "resize"]
        assert sizes[-2:] == [(16, 12), (64, 48)] and calls[-1][1][3] == "bicubic"
        if second_order:  # relative to the quarter, whatever the first stage made of the image
            assert (4, 3) <= sizes[1] <= (19, 14)
    assert within_four_errors(counts, (0.5, 0.5))


def test_a_stage_draws_its_parameters_from_its_ranges(calls):
    source, n = rng(), 600
    for _ in range(n):
        SECOND_STAGE(source, photograph(16, 16), 8, 8)
    found = {name: [a for other, a in calls if other == name] for name, _ in calls}
    gaussian, poisson = found["add_gaussian_noise"], found["add_poisson_noise"]
    assert within_four_errors([len(gaussian), len(poisson)], (0.5, 0.5))
    blurred = len(found["random_kernel"])
    assert within_four_errors([blurred, n - blurred], (0.8, 0.2))
    assert blurred == len(found["filter_image"])
    grey = sum(arguments[3] for arguments in gaussian + poisson)
    assert within_four_errors([grey, n - grey], (0.4, 0.6))
    sigma = np.array([arguments[2] for arguments in gaussian]) * 255
    assert 1 <= sigma.min() < 1.5 and 24.5 < sigma.max() <= 25
    scale = np.array([arguments[2] for arguments in poisson])
    assert 0.05 <= scale.min() < 0.1 and 2.4 < scale.max() <= 2.5
    expected = ((0.2, 1.5), 0.1, (0.45, 0.25, 0.12, 0.03, 0.12, 0.03))
    assert {arguments[1:] for arguments in found["random_kernel"]} == {expected}


def test_both_ends_of_the_quality_are_drawn(calls):
    degrade = BlindSuperResolution(quality=(30, 32))
    for seed in range(30):
        degrade(rng(seed), photograph(16, 16))
    assert {arguments[1] for name, arguments in calls if name == "jpeg"} == {30, 31, 32}


@pytest.mark.parametrize("second_order", [0.0, 1.0])
@pytest.mark.parametrize("height, width", [(96, 64), (32, 32), (33, 47)])
def test_degraded_images_keep_size_type_range_and_levels(second_order, height, width):
    degrade, image = BlindSuperResolution(second_order_probability=second_order), photograph(96, 64)
    image = np.ascontiguousarray(np.resize(image, (height, width, 3)))
    before = image.copy()
    for seed in range(20):
        lq = degrade(rng(seed), image)
        assert lq.shape == image.shape and lq.dtype == np.float32
        assert lq.min() >= 0 and lq.max() <= 1
        np.testing.assert_array_equal(lq, np.float32(np.round(lq * 255)) / np.float32(255))
    np.testing.assert_array_equal(image, before)


def test_pixels_are_the_seeds_on_any_number_of_threads():
    degrade, image = BlindSuperResolution(second_order_probability=1.0), photograph(96, 64)
    threads, results = cv2.getNumThreads(), []
    try:
        for count in (1, 4):
            cv2.setNumThreads(count)
            results.append([degrade(rng(seed), image) for seed in range(8)])
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(*results)
    assert len({lq.tobytes() for lq in results[0]}) == 8


def test_the_image_may_be_a_view_and_read_only():
    image = photograph(64, 96)
    mirrored = image[:, ::-1]
    mirrored.setflags(write=False)
    expected = BlindSuperResolution()(rng(), np.ascontiguousarray(mirrored))
    np.testing.assert_array_equal(BlindSuperResolution()(rng(), mirrored), expected)


NOTHING = Stage(
    blur_probability=0.0,
    resize_probabilities=(0.0, 0.0, 1.0),
    gaussian_probability=1.0,
    gaussian_range=(0.0, 0.0),
)


def test_without_blur_and_noise_only_the_resizing_is_left():
    """A grey image, as Pillow's JPEG halves the resolution of colour at any quality."""
    image = np.repeat(photograph(96, 64)[..., :1], 3, axis=-1)
    degrade = BlindSuperResolution(first=NOTHING, quality=(100, 100), final_sinc_probability=0.0)
    plain = [resize(resize(image, 24, 16, mode), 96, 64, "bicubic") for mode in MODES]
    seen = set()
    for seed in range(12):
        errors = [np.abs(degrade(rng(seed), image) - np.clip(p, 0, 1)).max() for p in plain]
        assert min(errors) < 3 / 255
        seen.add(int(np.argmin(errors)))
    assert seen == {0, 1, 2}
    assert np.abs(plain[0] - plain[2]).max() > 6 / 255  # the modes can be told apart


@pytest.mark.parametrize("change", ["second_order_probability", "final_sinc_probability"])
def test_probabilities_switch_their_part_on(change):
    off = {"first": NOTHING, "second_order_probability": 0.0, "final_sinc_probability": 0.0}
    image = photograph(96, 64)
    without = [BlindSuperResolution(**off)(rng(seed), image) for seed in range(4)]
    with_it = [BlindSuperResolution(**off | {change: 1.0})(rng(seed), image) for seed in range(4)]
    assert all(np.abs(a - b).max() > 6 / 255 for a, b in zip(without, with_it, strict=True))


@pytest.mark.parametrize(
    "cls, field, value",
    [
        (Stage, "blur_probability", 1.5),
        (Stage, "sinc_probability", -0.1),
        (Stage, "gaussian_probability", math.nan),
        (Stage, "shape_probabilities", (0.5, 0.5)),
        (Stage, "shape_probabilities", (0.5, 0.5, 0.5, -0.5, 0.0, 0.0)),
        (Stage, "resize_probabilities", (0.5, 0.4, 0.0)),
        (Stage, "resize_probabilities", (math.nan, 0.5, 0.5)),
        (Stage, "blur_sigma", (0.0, 1.0)),
        (Stage, "resize_range", (0.0, 1.5)),
        (Stage, "resize_range", (1.2, 1.5)),
        (Stage, "gaussian_range", (3.0, 1.0)),
        (Stage, "poisson_range", (-1.0, 1.0)),
        (BlindSuperResolution, "second_order_probability", 1.1),
        (BlindSuperResolution, "final_sinc_probability", -1.0),
        (BlindSuperResolution, "quality", (30, 101)),
        (BlindSuperResolution, "scale", 0),
    ],
)
def test_an_impossible_value_is_told_by_its_field(cls, field, value):
    with pytest.raises(ValueError, match=field):
        cls(**{field: value})
