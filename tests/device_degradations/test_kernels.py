"""Kernels and their application against the host's (scipy, OpenCV), and the kernels' draws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawing import within_four_errors
from scipy.special import j1

from elir_jax.data.degradations import blur_kernels as host
from elir_jax.data.degradations.blind_super_resolution import FIRST_STAGE, filter_image
from elir_jax.device_degradations.bessel import bessel_j1
from elir_jax.device_degradations.canvas import Canvas, whole
from elir_jax.device_degradations.filtering import filter_picture
from elir_jax.device_degradations.kernels import (
    KernelParameters,
    draw_kernel,
    draw_sinc_kernel,
    identity_kernel,
    kernel,
)

RANGE = (0.2, 3.0)
SHARES = FIRST_STAGE.shape_probabilities
NUMBER = 2000


def hosts_kernel(p):
    """The host's kernel of the device's parameters, in the middle of 21x21 weights."""
    size = int(p.size)
    if p.sinc:
        small = host.sinc_kernel(size, float(p.cutoff))
    else:
        plateau = list(host.SHAPES.values())[int(p.shape)].plateau
        numbers = (float(v) for v in (p.sigma_x, p.sigma_y, p.theta, p.beta))
        small = host.gaussian_kernel(size, *numbers, plateau)
    return np.pad(small, (21 - size) // 2)


@pytest.fixture(scope="module")
def drawn():
    """Many kernels' parameters, and the weights of each."""

    def draw(key):
        parameters = draw_kernel(key, RANGE, 0.1, SHARES)
        return parameters, kernel(parameters)

    keys = jax.random.split(jax.random.key(0), NUMBER)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(draw))(keys))


def test_weights_are_the_hosts(drawn):
    parameters, weights = drawn
    seen = set()
    for i in range(300):
        p = KernelParameters(*(field[i] for field in parameters))
        np.testing.assert_allclose(weights[i], hosts_kernel(p), atol=1e-5 * weights[i].max())
        seen.add("sinc" if p.sinc else int(p.shape))
    assert seen == {"sinc", *range(6)}


def test_last_filters_are_the_hosts_sinc_kernels():
    keys = jax.random.split(jax.random.key(1), 300)
    parameters = jax.tree.map(np.asarray, jax.vmap(draw_sinc_kernel)(keys))
    weights = np.asarray(jax.vmap(kernel)(parameters))
    for i in range(40):
        p = KernelParameters(*(field[i] for field in parameters))
        np.testing.assert_allclose(weights[i], hosts_kernel(p), atol=1e-5 * weights[i].max())
    assert parameters.sinc.all()
    cutoff = parameters.cutoff
    assert math.pi / 3 <= cutoff.min() < math.pi / 3 + 0.03
    assert math.pi - 0.03 < cutoff.max() <= np.float32(math.pi)


def test_sizes_kinds_and_shapes_have_the_hosts_probabilities(drawn):
    p, _ = drawn
    assert within_four_errors([np.sum(p.size == size) for size in host.SIZES], [1 / 8] * 8)
    assert within_four_errors([p.sinc.sum(), (~p.sinc).sum()], (0.1, 0.9))
    counts = [np.sum(p.shape == i) for i in range(6)]
    assert within_four_errors(counts, SHARES)


def test_kernels_parameters_come_from_the_hosts_ranges(drawn):
    p, _ = drawn
    shapes = list(host.SHAPES.values())
    isotropic = np.array([shapes[i].isotropic for i in p.shape])
    np.testing.assert_array_equal(p.sigma_x[isotropic], p.sigma_y[isotropic])
    for sigma in (p.sigma_x, p.sigma_y[~isotropic]):
        assert 0.2 <= sigma.min() < 0.23 and 2.97 < sigma.max() <= 3.0
        assert abs(sigma.mean() - 1.6) < 4 * 2.8 / math.sqrt(12 * len(sigma))
    theta = p.theta[~isotropic]
    assert -math.pi <= theta.min() < -3.1 and 3.1 < theta.max() <= np.float32(math.pi)
    assert not p.theta[isotropic].any()
    wide = p.size >= host.WIDE
    for chosen, lowest in ((wide, math.pi / 5), (~wide, math.pi / 3)):
        assert lowest - 1e-6 <= p.cutoff[chosen].min() < lowest + 0.03
        assert math.pi - 0.03 < p.cutoff[chosen].max() <= np.float32(math.pi)


def test_tops_are_sharp_and_blunt_alike_as_on_the_host(drawn):
    p, _ = drawn
    rng = np.random.default_rng(0)
    for i, shape in enumerate(host.SHAPES.values()):
        beta = p.beta[p.shape == i]
        low, high = shape.beta
        others = np.array([host.draw_beta(rng, low, high) for _ in range(NUMBER)])
        assert low <= beta.min() and beta.max() <= high
        if low < high and len(beta) > 100:
            assert beta.max() > 0.9 * high and beta.min() < low + 0.05
            spread = others.std() / math.sqrt(len(beta))
            assert abs(beta.mean() - others.mean()) < 4.5 * spread
        if low < 1:
            assert within_four_errors([np.sum(beta < 1), np.sum(beta >= 1)], (0.5, 0.5))


def test_bessels_function_is_scipys():
    x = np.linspace(0, 50, 5001, dtype=np.float32)
    np.testing.assert_allclose(bessel_j1(jnp.asarray(x)), j1(x.astype(np.float64)), atol=3e-6)


# (1, 4) and (6, 9) are smaller than the kernel: the picture is mirrored several times.
@pytest.mark.parametrize("height, width", [(40, 70), (33, 21), (6, 9), (1, 4)])
def test_filtering_agrees_with_the_host(height, width):
    rng = np.random.default_rng(0)
    x, weights = rng.random((height, width, 3), np.float32), rng.random((21, 21), np.float32)
    weights /= weights.sum()  # has no symmetry that could hide a flip
    pixels = np.full((48, 80, 3), 1e3, np.float32)
    pixels[:height, :width] = x
    canvas = Canvas(jnp.asarray(pixels), jnp.int32(height), jnp.int32(width))
    found = filter_picture(canvas, jnp.asarray(weights)).pixels[:height, :width]
    np.testing.assert_allclose(found, filter_image(x, weights), atol=1e-5)


def test_the_identity_changes_nothing():
    x = jnp.asarray(np.random.default_rng(1).random((20, 45, 3), np.float32))
    np.testing.assert_array_equal(filter_picture(whole(x), identity_kernel()).pixels, x)
