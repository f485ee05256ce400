"""A network traced for a TPU, with loops over its equal blocks, is the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.networks.applying import apply_fn
from elir_jax.networks.rrdb import RRDBNet
from elir_jax.networks.taesd import Decoder, Encoder
from elir_jax.networks.target import tracing_for
from elir_jax.networks.unet import UNet

FIRST, SECOND = jax.random.split(jax.random.key(0))
LATENT, TIME = jax.random.normal(FIRST, (2, 8, 8, 16)), jnp.array([0.1, 0.7])
IMAGE = jax.random.uniform(FIRST, (2, 16, 32, 3))


def value_and_gradients(fn, params, *inputs):
    def scalar(params, *inputs):
        return jnp.sum(jnp.sin(fn(params, *inputs)))

    return fn(params, *inputs), jax.grad(scalar, argnums=(0, 1))(params, *inputs)


def program(fn, *inputs):
    return str(jax.make_jaxpr(lambda *inputs: fn(*inputs))(*inputs))  # JAX keeps traces by function


NETWORKS = {
    "encoder": (Encoder(4, 8), (IMAGE,)),
    "encoder, computed twice": (Encoder(4, 8, rematerialize=True), (IMAGE,)),
    "decoder": (Decoder(8), (LATENT,)),
    "estimator": (RRDBNet(8, 2), (LATENT,)),
    "velocity": (UNet(32, (1, 2), 2, 8), (LATENT, TIME)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_traced_for_a_tpu_has_the_same_parameters_values_and_gradients(name):
    module, inputs = NETWORKS[name]
    apply = apply_fn(module, jnp.float32)
    params = module.init(SECOND, *inputs)["params"]
    here = value_and_gradients(apply, params, *inputs)
    with tracing_for("tpu"):
        shapes = jax.eval_shape(module.init, SECOND, *inputs)["params"]
        there = value_and_gradients(apply, params, *inputs)
        assert "scan[" in program(apply, params, *inputs)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, params)
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * max(1.0, float(jnp.abs(a).max())))
    assert "scan[" not in program(apply, params, *inputs)
