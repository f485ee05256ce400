"""Collapsible blocks, the time embedding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.networks.layers import CollapsibleConv, collapse, time_embedding
from elir_jax.networks.rrdb import RRDBNet


@pytest.fixture
def block():
    x = jax.random.normal(jax.random.key(0), (2, 6, 5, 7))
    expanded = CollapsibleConv(4, "expanded")
    params = expanded.init(jax.random.key(1), x)["params"]
    return x, expanded, params


def test_on_the_fly_collapse_equals_two_convolutions_in_value_and_gradient(block):
    x, expanded, params = block
    collapsing = CollapsibleConv(4, "collapsing")
    weight = jax.random.normal(jax.random.key(2), (2, 6, 5, 4))

    def value_and_grads(module):
        def scalar(params, x):
            return jnp.sum(weight * jnp.sin(module.apply({"params": params}, x)))

        return module.apply({"params": params}, x), jax.grad(scalar, argnums=(0, 1))(params, x)

    for a, b in zip(
        jax.tree.leaves(value_and_grads(expanded)),
        jax.tree.leaves(value_and_grads(collapsing)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_collapsed_parameters_give_the_same_function(block):
    x, expanded, params = block
    collapsed = collapse(params)
    assert set(collapsed) == {"kernel", "bias"}
    plain = CollapsibleConv(4, "plain").apply({"params": collapsed}, x)
    np.testing.assert_allclose(plain, expanded.apply({"params": params}, x), atol=1e-5)


def test_collapse_goes_through_a_whole_network_and_leaves_a_plain_one_alone():
    z = jax.random.normal(jax.random.key(0), (1, 8, 8, 16))
    wide = RRDBNet(8, 1, "expanded")
    params = wide.init(jax.random.key(1), z)["params"]
    flat = collapse(params)
    plain = RRDBNet(8, 1, "plain")
    np.testing.assert_allclose(
        plain.apply({"params": flat}, z), wide.apply({"params": params}, z), atol=1e-5
    )
    again = collapse(flat)
    assert jax.tree.all(jax.tree.map(lambda a, b: a is b, flat, again))


def test_collapsing_costs_less_than_a_third_of_the_two_convolutions():
    x = jnp.zeros((8, 32, 32, 64))

    def flops(form):
        module = CollapsibleConv(64, form)
        params = module.init(jax.random.key(0), x)["params"]
        program = jax.jit(lambda p, x: module.apply({"params": p}, x)).lower(params, x).compile()
        return program.cost_analysis()["flops"]

    assert flops("collapsing") < flops("expanded") / 3


def test_time_embedding_is_cosines_then_sines_of_a_thousand_t():
    t, dim = np.array([0.0, 0.25, 1.0], np.float32), 8
    frequency = 10000.0 ** (-np.arange(4) / 3)
    phase = 1000.0 * t[:, None].astype(np.float64) * frequency
    expected = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    np.testing.assert_allclose(time_embedding(jnp.asarray(t), dim), expected, atol=1e-4)
    with pytest.raises(ValueError, match="even"):
        time_embedding(jnp.asarray(t), 7)
