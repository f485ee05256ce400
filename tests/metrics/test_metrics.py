"""PSNR and SSIM against closed forms and a naive double-precision window."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.metrics.psnr import psnr
from elir_jax.metrics.ssim import ssim

X = jax.random.uniform(jax.random.key(0), (2, 24, 20, 3))


def test_psnr_of_a_constant_error():
    reference = jnp.full_like(X, 0.5)
    np.testing.assert_allclose(psnr(reference + 0.1, reference), 20.0, atol=1e-3)
    np.testing.assert_allclose(psnr(reference, reference), 80.0, atol=1e-3)


def test_restored_values_are_clipped_before_they_are_measured():
    np.testing.assert_allclose(psnr(jnp.ones_like(X) * 7, jnp.ones_like(X)), 80.0, atol=1e-3)


def naive_ssim(x, y):
    offset = np.arange(11) - 5
    line = np.exp(-(offset**2) / (2 * 1.5**2))
    window = np.outer(line, line) / np.outer(line, line).sum()
    x, y = (np.round(255 * (np.float64(a) @ [0.299, 0.587, 0.114])) for a in (x, y))
    values = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            cov = (window * (a - ma) * (b - mb)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            structure = max((2 * cov + c2) / (va + vb + c2), 0)
            values.append((2 * ma * mb + c1) / (ma**2 + mb**2 + c1) * structure)
    return np.mean(values)


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_ssim_equals_a_naive_window(noise):
    rng = np.random.default_rng(0)
    y = jnp.clip(X + noise * rng.standard_normal(X.shape, np.float32), 0, 1)
    expected = [naive_ssim(a, b) for a, b in zip(X, y, strict=True)]
    np.testing.assert_allclose(ssim(X, y), expected, atol=2e-5)


def test_ssim_of_an_image_with_itself_is_one_and_with_its_negative_small():
    np.testing.assert_allclose(ssim(X, X), 1.0, atol=1e-6)
    assert np.all(np.asarray(ssim(X, 1 - X)) < 0.1)


def test_ssim_needs_a_window():
    with pytest.raises(ValueError, match="11x11"):
        ssim(X[:, :10], X[:, :10])
