"""Euler: exact on a constant field, first order on a linear one, times i / M."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.flow.path import euler, euler_trajectory

Z = jax.random.normal(jax.random.key(0), (2, 2, 2, 4))


def test_exact_on_a_constant_field():
    field = jax.random.normal(jax.random.key(1), Z.shape)
    for steps in (1, 3, 7):
        np.testing.assert_allclose(euler(lambda z, t: field, Z, steps), Z + field, atol=1e-6)


def test_first_order_on_a_linear_field():
    errors = [
        float(jnp.max(jnp.abs(euler(lambda z, t: -z, Z, steps) - Z * np.exp(-1.0))))
        for steps in (20, 40, 80)
    ]
    orders = np.log2(np.asarray(errors[:-1]) / np.asarray(errors[1:]))
    np.testing.assert_allclose(orders, 1.0, atol=0.05)


def test_the_field_is_asked_at_the_start_of_each_step():
    # dz/dt = t over M steps sums to (0 + 1 + ... + M - 1) / M^2 = (M - 1) / (2 M)
    steps = 5
    result = euler(lambda z, t: jnp.broadcast_to(t[:, None, None, None], z.shape), Z, steps)
    np.testing.assert_allclose(result, Z + (steps - 1) / (2 * steps), atol=1e-6)


def test_the_trajectory_ends_where_euler_ends():
    def field(z, t):
        return jnp.sin(z) + t[:, None, None, None]

    states = euler_trajectory(field, Z, 4)
    assert states.shape == (4, *Z.shape)
    np.testing.assert_array_equal(states[-1], euler(field, Z, 4))
    np.testing.assert_allclose(states[0], Z + field(Z, jnp.zeros(2)) / 4, atol=1e-6)


def test_no_steps_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        euler(lambda z, t: z, Z, 0)
