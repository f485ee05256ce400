"""Untrained parameters are those of flax's own initialisation, to the bit."""

import logging
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.networks.hdit import HDiT
from elir_jax.networks.initializing import initialize
from elir_jax.networks.layers import uniform_fan_in
from elir_jax.networks.taesd import Encoder
from elir_jax.networks.unet import UNet

KEY = jax.random.key(3)
UNET = UNet(hidden=32, channel_multipliers=(1, 2), num_mid_blocks=1, time_dim=8, form="collapsing")
HDIT = HDiT((32,), (1,), (0,), head_dim=16, patch=2, mapping_width=16, mapping_depth=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "module, shapes",
    [
        (Encoder(4, 8), [(1, 8, 8, 3)]),
        (UNET, [(1, 8, 8, 4), (1,)]),
        (HDIT, [(1, 16, 16, 3), (1,)]),
    ],
    ids=["encoder", "unet", "hdit"],
)
def test_parameters_are_those_of_init(module, shapes):
    found = initialize(module, KEY, *shapes)
    expected = module.init(KEY, *map(jnp.zeros, shapes))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def compiled(caplog, make):
    """What JAX says of the programs that ``make`` compiles."""
    caplog.clear()
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        make()
    told = [record.getMessage() for record in caplog.records]
    return "\n".join(line for line in told if "XLA compilation" in line)


def test_no_convolution_is_compiled(caplog):
    network, convolution = Encoder(4, 6), "jit(conv_general_dilated)"
    shape = (1, 8, 8, 3)
    assert convolution not in compiled(caplog, lambda: initialize(network, KEY, shape))
    assert convolution in compiled(caplog, lambda: network.init(KEY, jnp.zeros(shape)))


@pytest.mark.parametrize("shape", [(1,), (3, 3, 5, 7), (64,), (65,), (16, 4)])
def test_kernels_are_drawn_as_jax_draws_them(shape):
    bound = 1 / math.sqrt(10)
    expected = jax.random.uniform(KEY, shape, jnp.float32, -bound, bound)
    np.testing.assert_array_equal(uniform_fan_in(10)(KEY, shape), expected)
