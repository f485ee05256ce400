"""Convolutions that we compute in our own way give what XLA's and flax's own give."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.networks import convolution, winograd
from elir_jax.networks.convolution import banded_weight_gradient, conv3x3, weight_gradient
from elir_jax.networks.rrdb import RRDBNet
from elir_jax.networks.target import tracing_for
from elir_jax.networks.unet import UNet, Upsample


def plain(x, kernel, stride=1):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def value_and_gradients(fn, *inputs):
    """Of a scalar that weighs every output differently."""

    def scalar(*inputs):
        return jnp.sum(jnp.sin(fn(*inputs)))

    return fn(*inputs), jax.grad(scalar, argnums=tuple(range(len(inputs))))(*inputs)


def agree(first, second, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * max(1.0, float(jnp.abs(b).max())))


@pytest.mark.parametrize("band", [10**9, 40, 1])  # whole, some bands, as many as there are rows
@pytest.mark.parametrize("channels", [(3, 8), (8, 3), (5, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(11, 9), (12, 8)])
def test_conv3x3_equals_xlas_in_value_and_gradients(monkeypatch, band, channels, stride, size):
    monkeypatch.setattr(convolution, "BAND", band)
    first, second = jax.random.split(jax.random.key(0))
    x = jax.random.normal(first, (2, *size, channels[0]))
    kernel = jax.random.normal(second, (3, 3, *channels)) / 9
    ours, theirs = (lambda x, k, f=f: f(x, k, stride) for f in (conv3x3, plain))
    agree(value_and_gradients(ours, x, kernel), value_and_gradients(theirs, x, kernel))


def test_bands_are_cut_where_they_should_be(monkeypatch):
    monkeypatch.setattr(convolution, "BAND", 40)
    x, dy = jnp.ones((2, 12, 10, 4)), jnp.ones((2, 12, 10, 4))
    program = jax.jit(banded_weight_gradient).lower(x, dy).as_text()
    assert program.count("stablehlo.convolution") == 2 * 3  # images, bands of 40 pixels
    np.testing.assert_allclose(
        banded_weight_gradient(x, dy), weight_gradient(x, dy), atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("platform, pieces", [("cpu", 2 * 3), ("gpu", 1), ("tpu", 1)])
def test_bands_are_traced_for_a_cpu_alone(monkeypatch, platform, pieces):
    monkeypatch.setattr(convolution, "BAND", 40)
    x, kernel = jnp.ones((2, 12, 10, 4)), jnp.ones((3, 3, 4, 4))
    with tracing_for(platform):
        program = str(jax.make_jaxpr(jax.grad(lambda k: conv3x3(x, k).sum()))(kernel))
    # Forwards, the gradient of the image, and that of the kernel.
    assert program.count("conv_general_dilated[") == 2 + pieces


def test_the_gradient_keeps_the_precision_that_the_forward_pass_was_traced_with():
    def loss(x, kernel):
        with jax.default_matmul_precision("highest"):
            return conv3x3(x, kernel).sum()

    shapes = jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 4, 4))
    program = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*shapes).as_text()
    convolutions = [line for line in program.splitlines() if "stablehlo.convolution" in line]
    assert convolutions and all(line.count("HIGHEST") == 2 for line in convolutions)


def test_upsampling_equals_flaxs_transposed_convolution_in_value_and_gradients():
    x = jax.random.normal(jax.random.key(0), (2, 5, 3, 6))
    ours = Upsample(4)
    theirs = nn.ConvTranspose(4, (4, 4), strides=(2, 2), padding="SAME")
    params = ours.init(jax.random.key(1), x)["params"]["conv"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, theirs.init(jax.random.key(1), x)["params"]
    )
    agree(
        value_and_gradients(lambda p, x: ours.apply({"params": {"conv": p}}, x), params, x),
        value_and_gradients(lambda p, x: theirs.apply({"params": p}, x), params, x),
    )


@pytest.mark.parametrize("size", [(8, 6), (7, 5), (1, 1)])
# All images transformed, one after the other, or led back and direct.
@pytest.mark.parametrize("largest", [10**9, 50, 0])
def test_winograd_equals_the_direct_convolution(monkeypatch, size, largest):
    monkeypatch.setattr(winograd, "LARGEST", largest)
    x = jax.random.normal(jax.random.key(0), (2, *size, 70))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 70, 66)) / 25
    u = winograd.transform_kernel(kernel)
    np.testing.assert_allclose(winograd.original_kernel(u), kernel, atol=1e-7)
    np.testing.assert_allclose(winograd.winograd_conv3x3(x, u), plain(x, kernel), atol=1e-5)


@pytest.mark.parametrize("network", [RRDBNet(64, 1), UNet(64, (1, 2), 1, 8)])
def test_networks_with_transformed_kernels_are_the_same_functions(network):
    z = jax.random.normal(jax.random.key(0), (2, 8, 6, 16))
    inputs = (z, jnp.array([0.1, 0.7])) if isinstance(network, UNet) else (z,)
    params = network.init(jax.random.key(1), *inputs)["params"]
    fast = winograd.transform_kernels(params)
    sides = {leaf.shape[0] for leaf in jax.tree.leaves(fast) if leaf.ndim == 4}
    assert {3, 4} <= sides  # the narrow ones stay as they are
    np.testing.assert_allclose(
        network.clone(form="winograd").apply({"params": fast}, *inputs),
        network.apply({"params": params}, *inputs),
        atol=1e-5,
    )
