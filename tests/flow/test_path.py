"""The path's endpoints and velocity; segments and their knots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.flow.path import expand_time, interpolate, path_velocity, segment_of

SIGMA_MIN = 1e-2


@pytest.fixture
def ends():
    first, second = jax.random.split(jax.random.key(0))
    return jax.random.normal(first, (3, 2, 2, 4)), jax.random.normal(second, (3, 2, 2, 4))


def test_path_starts_at_the_source_and_ends_sigma_min_from_the_target(ends):
    z_0, z_1 = ends
    np.testing.assert_allclose(interpolate(z_0, z_1, jnp.zeros(3), SIGMA_MIN), z_0, atol=1e-6)
    end = interpolate(z_0, z_1, jnp.ones(3), SIGMA_MIN)
    np.testing.assert_allclose(end, z_1 + SIGMA_MIN * z_0, atol=1e-6)


def test_the_paths_derivative_is_its_velocity(ends):
    z_0, z_1 = ends
    t = jnp.array([0.0, 0.3, 0.9])
    _, derivative = jax.jvp(
        lambda t: interpolate(z_0, z_1, t, SIGMA_MIN), (t,), (jnp.ones_like(t),)
    )
    np.testing.assert_allclose(derivative, path_velocity(z_0, z_1, SIGMA_MIN), atol=1e-6)


@pytest.mark.parametrize("num_segments", [1, 3, 4, 5])
def test_segments_hold_their_times(num_segments):
    t = np.random.default_rng(0).random(1000).astype(np.float32)
    index, end = segment_of(jnp.asarray(t), num_segments)
    expected = np.minimum(np.ceil(t.astype(np.float64) * num_segments) - 1, num_segments - 1)
    np.testing.assert_array_equal(index, np.maximum(expected, 0))
    np.testing.assert_allclose(end, (np.asarray(index) + 1) / num_segments, atol=1e-7)


def test_a_knot_belongs_to_the_segment_it_ends_and_zero_to_the_first():
    index, end = segment_of(jnp.array([0.0, 0.25, 0.5, 0.75]), 4)
    np.testing.assert_array_equal(index, [0, 0, 1, 2])
    np.testing.assert_array_equal(end, np.float32([0.25, 0.25, 0.5, 0.75]))


def test_times_of_another_batch_are_refused(ends):
    with pytest.raises(ValueError, match="do not match"):
        expand_time(jnp.zeros(2), ends[0])
