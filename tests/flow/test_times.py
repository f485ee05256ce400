"""Times of training: one in each stratum of the global batch; the other kinds by their laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.flow.path import draw_times, stratified

KEYS = jax.random.split(jax.random.key(0), 4096)
SLOTS = jnp.arange(len(KEYS))


def test_stratified_times_fill_each_stratum_of_the_global_batch_once():
    t = draw_times("stratified", KEYS, SLOTS, len(KEYS))
    assert np.array_equal(np.floor(np.asarray(t) * len(KEYS)), np.arange(len(KEYS)))
    inside = np.asarray(t) * len(KEYS) % 1
    assert abs(inside.mean() - 0.5) < 0.02 and abs(inside.var() - 1 / 12) < 0.005


@pytest.mark.parametrize("kind", ["stratified", "uniform", "logit_normal"])
def test_a_samples_time_does_not_depend_on_its_device(kind):
    whole = draw_times(kind, KEYS, SLOTS, len(KEYS))
    share = slice(1024, 2048)
    assert jnp.array_equal(draw_times(kind, KEYS[share], SLOTS[share], len(KEYS)), whole[share])


def test_uniform_and_logit_normal_times_follow_their_laws():
    uniform = np.asarray(draw_times("uniform", KEYS, SLOTS, 1))
    assert abs(uniform.mean() - 0.5) < 0.02 and abs(uniform.var() - 1 / 12) < 0.005
    logit = np.asarray(draw_times("logit_normal", KEYS, SLOTS, 1), np.float64)
    normal = np.log(logit / (1 - logit))
    assert abs(normal.mean()) < 0.06 and abs(normal.var() - 1) < 0.1


def test_a_device_that_holds_every_second_sample_draws_in_every_second_stratum():
    t = stratified(jnp.full(3, 0.5), jnp.array([1, 3, 5]), 6)
    np.testing.assert_allclose(t, [0.25, 7 / 12, 11 / 12], rtol=1e-6)
