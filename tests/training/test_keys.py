"""Initial weights and the noise of training derive from one seed, and have no number in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chaining import small
from old_run import old_config

from configs import directflow
from elir_jax.compose import build_method
from elir_jax.methods import distillation, elir
from elir_jax.methods.method import untrained
from elir_jax.networks.layers import uniform_fan_in

STEPS, SLOTS, SHAPE, FIRST = 12, 8, (2, 2, 4), 6


def first_numbers(arrays):
    """The first draws behind each array, whatever its scale: one key gives the same to any shape.

    A normal draw is the inverse error function of a uniform one.
    """
    rows = [np.float64(np.ravel(array)[:FIRST]) for array in arrays if np.size(array) >= FIRST]
    rows = np.array([row / row[0] for row in rows if np.all(row)])
    return rows[:, None]


def in_common(weights, noise):
    """How many arrays of weights were drawn with the key of an array of noise."""
    uniform = jax.vmap(jax.vmap(lambda eps: jax.lax.erf(eps / jnp.sqrt(2.0))))(noise)
    found = first_numbers(weights) - first_numbers(list(uniform.reshape(-1, *SHAPE)))[:, 0]
    return int((np.abs(found).max(-1) < 1e-3).any(1).sum())


def noise_of(draw, seed):
    """The noise of the first steps' samples, keyed as ``train_step`` does it."""
    key = jax.random.key(seed)

    def one(step):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(
            jax.random.fold_in(key, step), jnp.arange(SLOTS)
        )
        return draw(keys, SHAPE).eps

    return jnp.stack([one(step) for step in range(STEPS)])


@pytest.mark.parametrize("seed", [0, 7])
def test_initial_weights_and_noise_have_no_number_in_common(seed):
    networks = {"hidden": 32, "channel_multipliers": (1,), "num_mid_blocks": 0, "time_dim": 8}
    student = small(
        directflow, estimator={"hidden": 8, "num_blocks": 1}, velocity=networks
    ).unlock()
    student.student.rank = 2
    for config, draw in ((old_config(), elir.draw), (student, distillation.draw)):
        trees = build_method(config).init(jax.random.key(seed), untrained)
        weights, noise = jax.tree.leaves(trees), noise_of(draw, seed)
        assert len(first_numbers(weights)) > 20
        assert in_common(weights, noise) == 0


def test_a_key_in_common_would_be_noticed():
    keys = jax.random.split(jax.random.key(0), STEPS * SLOTS)
    noise = jax.vmap(lambda key: jax.random.normal(key, SHAPE))(keys)
    weights = [uniform_fan_in(9)(keys[0], (3, 3, 2)), uniform_fan_in(9)(keys[9], (5, 2))]
    assert in_common(weights, noise.reshape(STEPS, SLOTS, *SHAPE)) == 2
