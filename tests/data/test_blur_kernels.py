"""Blur kernels against closed forms and naive loops; shares of the random ones."""

import math

import numpy as np
import pytest
from drawing import rng, within_four_errors
from scipy.special import j1

from elir_jax.data.degradations import blur_kernels as module
from elir_jax.data.degradations.blind_super_resolution import FIRST_STAGE
from elir_jax.data.degradations.blur_kernels import (
    SHAPES,
    choose_kind,
    draw_beta,
    gaussian_kernel,
    random_kernel,
    random_sinc_kernel,
    sinc_kernel,
)


def test_isotropic_kernel_is_the_closed_form_gaussian():
    offset = np.arange(11) - 5
    expected = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 1.7**2))
    kernel = gaussian_kernel(11, 1.7, 1.7)
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-7)
    np.testing.assert_allclose(gaussian_kernel(11, 1.7, 1.7, 0.8), kernel, atol=1e-7)


@pytest.mark.parametrize("theta", [0.0, 0.6, -2.0])
def test_second_moments_are_the_turned_covariance(theta):
    kernel = gaussian_kernel(41, 4.0, 2.0, theta)
    y, x = np.indices(kernel.shape) - 20
    moments = [[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)]
    turn = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    np.testing.assert_allclose(moments, turn @ np.diag([16.0, 4.0]) @ turn.T, atol=0.02)


@pytest.mark.parametrize("plateau", [False, True])
def test_generalized_kernels_equal_a_naive_loop(plateau):
    size, sigma_x, sigma_y, theta, beta = 9, 2.5, 0.8, 0.7, 1.6
    turn = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
    expected = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            at = np.array([j - size // 2, i - size // 2])
            q = (at @ inverse @ at) ** beta
            expected[i, j] = 1 / (1 + q) if plateau else math.exp(-q / 2)
    kernel = gaussian_kernel(size, sigma_x, sigma_y, theta, beta, plateau)
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-7)


@pytest.mark.parametrize("size, cutoff", [(7, math.pi), (13, 1.2), (21, math.pi / 5)])
def test_sinc_kernel_equals_a_naive_loop(size, cutoff):
    expected = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            r = math.hypot(i - size // 2, j - size // 2) or 1e-9
            expected[i, j] = cutoff * j1(cutoff * r) / (2 * math.pi * r)
    np.testing.assert_allclose(sinc_kernel(size, cutoff), expected / expected.sum(), atol=1e-6)


def test_a_kernel_has_an_odd_size():
    for size in (0, 8):
        with pytest.raises(ValueError, match="size"):
            gaussian_kernel(size, 1.0, 1.0)


def test_random_kernels_sum_to_one_and_have_all_sizes():
    source, sizes = rng(), set()
    for _ in range(300):
        for kernel in (
            random_kernel(source, (0.2, 3.0), 0.1, FIRST_STAGE.shape_probabilities),
            random_sinc_kernel(source),
        ):
            assert abs(kernel.sum() - 1) < 1e-5 and kernel.dtype == np.float32
            sizes.add(len(kernel))
    assert sizes == {7, 9, 11, 13, 15, 17, 19, 21}


@pytest.mark.parametrize("isotropic", [True, False])
def test_isotropic_shapes_and_no_others_are_symmetric(isotropic):
    source = rng()
    for shape, (is_isotropic, _, _) in SHAPES.items():
        if is_isotropic == isotropic:
            only = tuple(float(name == shape) for name in SHAPES)
            kernels = [random_kernel(source, (0.5, 3.0), 0.0, only) for _ in range(20)]
            same = [np.allclose(k, np.rot90(k), atol=1e-6) for k in kernels]
            assert all(same) if isotropic else not any(same)


def test_shares_of_kinds_and_betas_are_their_probabilities():
    source = rng()
    kinds = [choose_kind(source, 0.1, FIRST_STAGE.shape_probabilities) for _ in range(3000)]
    expected = [0.1] + [0.9 * p for p in (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)]
    assert within_four_errors([kinds.count(name) for name in ("sinc", *SHAPES)], expected)

    betas = np.array([draw_beta(source, 0.5, 4.0) for _ in range(1000)])
    assert within_four_errors([np.sum(betas < 1), np.sum(betas >= 1)], (0.5, 0.5))
    assert 0.5 <= betas.min() < 0.51 and 3.95 < betas.max() <= 4.0
    assert draw_beta(source, 1.0, 1.0) == 1.0


def test_parameters_are_drawn_from_their_ranges(monkeypatch):
    """Real-ESRGAN's ranges, as ELIR's release has them in ``imagenet.py``."""
    gaussian, sinc, source = [], [], rng()
    unit = np.ones((1, 1), np.float32)
    monkeypatch.setattr(module, "gaussian_kernel", lambda *a: gaussian.append(a) or unit)
    monkeypatch.setattr(module, "sinc_kernel", lambda *a: sinc.append(a) or unit)

    for _ in range(1500):
        random_kernel(source, (0.2, 3.0), 0.0, (0.0, 0.0, 0.0, 0.5, 0.0, 0.5))
    _, sigma_x, sigma_y, theta, beta, plateau = map(np.array, zip(*gaussian, strict=True))
    for values, low, high in (
        (sigma_x, 0.2, 3.0),
        (sigma_y, 0.2, 3.0),
        (theta, -math.pi, math.pi),
        (beta[~plateau], 0.5, 4.0),
        (beta[plateau], 1.0, 2.0),
    ):
        margin = 0.02 * (high - low)
        assert low <= values.min() < low + margin and high - margin < values.max() <= high
    assert abs(np.corrcoef(sigma_x, sigma_y)[0, 1]) < 0.1  # independent
    assert within_four_errors([np.sum(plateau), np.sum(~plateau)], (0.5, 0.5))

    for _ in range(1000):
        random_kernel(source, (1.0, 1.0), 1.0, FIRST_STAGE.shape_probabilities)
    size, cutoff = map(np.array, zip(*sinc, strict=True))
    for part, low in ((cutoff[size < 13], math.pi / 3), (cutoff[size >= 13], math.pi / 5)):
        assert low <= part.min() < low + 0.05 and math.pi - 0.05 < part.max() <= math.pi
    sinc.clear()
    for _ in range(1000):
        random_sinc_kernel(source)
    size, cutoff = map(np.array, zip(*sinc, strict=True))
    assert math.pi / 3 <= cutoff.min() < math.pi / 3 + 0.05 and cutoff[size >= 13].max() > 3.1


def test_plain_gaussians_have_a_beta_of_one(monkeypatch):
    seen, unit = [], np.ones((1, 1), np.float32)
    monkeypatch.setattr(module, "gaussian_kernel", lambda *a: seen.append(a) or unit)
    for seed in range(100):
        random_kernel(rng(seed), (0.2, 3.0), 0.0, (0.5, 0.5, 0.0, 0.0, 0.0, 0.0))
    assert {arguments[4:] for arguments in seen} == {(1.0, False)}
