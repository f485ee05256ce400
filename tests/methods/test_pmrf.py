"""PMRF's objective and parts: sources, conditions, which parameter learns, parity of a loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.flow.path import Sampler
from elir_jax.inference.one_program import run_parts
from elir_jax.inference.parts import shown_stages
from elir_jax.methods.pmrf import (
    Draw,
    PmrfNetworks,
    RectifiedFlow,
    pmrf_parts,
    rectified_flow_loss,
    rectified_flow_objective,
)
from elir_jax.methods.posterior_mean import window_of
from elir_jax.types import Batch

SHAPE = (4, 8, 8, 3)
X_HQ, X_LQ, EPS = (
    f(jax.random.key(k), SHAPE)
    for k, f in enumerate((jax.random.uniform, jax.random.uniform, jax.random.normal))
)
T = jnp.array([0.1, 0.3, 0.6, 0.9])
NOISE = Draw(T, EPS)
PARAMS, FROZEN = {"velocity": jnp.float32(0.7)}, {"estimator": jnp.float32(2.0), "constants": 1.0}
PAPERS = [("mean", "none"), ("degraded", "none"), ("noise", "degraded"), ("noise", "mean")]


def simple(params, x, keys):
    """Leaves [0, 1]."""
    assert keys is None
    return params * x


def velocity(variables, z, t):
    """Depends on all that it sees."""
    seen = z.reshape(*z.shape[:3], -1, 3).sum(-2)
    return variables["params"] * seen + variables["constants"] * t[:, None, None, None]


NETWORKS = PmrfNetworks(simple, velocity)


def loss_of(objective, params=PARAMS, networks=NETWORKS):
    return rectified_flow_loss(networks, objective, params, FROZEN, X_HQ, X_LQ, NOISE)[0]


@pytest.mark.parametrize("source, condition", PAPERS)
def test_the_loss_is_the_definitions(source, condition):
    """Written out: the noise is in the target and the mean is clipped, the source is not."""
    pictures = {"mean": jnp.clip(2 * X_LQ, 0, 1), "degraded": X_LQ}
    z_0 = EPS if source == "noise" else pictures[source] + 0.3 * EPS
    t = T.reshape(-1, 1, 1, 1)
    z_t = t * X_HQ + (1 - t) * z_0
    seen = z_t if condition == "none" else z_t + pictures[condition]
    expected = jnp.mean((0.7 * seen + t - (X_HQ - z_0)) ** 2)
    found = loss_of(RectifiedFlow(source, condition, 0.3))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "source, condition",
    [("noise", "none"), ("mean", "degraded"), ("degraded", "mean"), ("y", "none"), ("mean", "y")],
)
def test_a_flow_is_given_one_known_picture(source, condition):
    with pytest.raises(ValueError, match=r"one picture|must be one of"):
        RectifiedFlow(source, condition)


def test_the_velocity_alone_learns():
    def loss(params, frozen):
        return rectified_flow_loss(NETWORKS, RectifiedFlow(), params, frozen, X_HQ, X_LQ, NOISE)[0]

    frozen = {"estimator": FROZEN["estimator"]}
    own, others = jax.grad(lambda p, f: loss(p, f | {"constants": 1.0}), (0, 1))(PARAMS, frozen)
    assert own["velocity"] != 0 and others["estimator"] == 0


def test_an_autoencoder_around_the_flow_is_another_encode():
    """Latent-PMRF's objective: both ends are encoded, the noise is the latents'."""
    networks = NETWORKS._replace(encode=lambda frozen, x: 3 * x - 1)
    z_0 = 3 * jnp.clip(2 * X_LQ, 0, 1) - 1 + 0.1 * EPS
    t = T.reshape(-1, 1, 1, 1)
    z_1 = 3 * X_HQ - 1
    expected = jnp.mean((0.7 * (t * z_1 + (1 - t) * z_0) + t - (z_1 - z_0)) ** 2)
    np.testing.assert_allclose(loss_of(RectifiedFlow(), networks=networks), expected, rtol=1e-5)


def test_a_share_of_the_batch_has_its_own_strata_and_noise():
    """Two devices' means of two samples each make the loss of all four."""
    loss_fn = jax.jit(rectified_flow_objective(NETWORKS, RectifiedFlow(), 4))
    keys = jax.random.split(jax.random.key(5), 4)
    whole = Batch(X_HQ, X_LQ, jnp.arange(4), jnp.arange(4))

    def loss(rows):
        part = jax.tree.map(lambda a: a[rows], whole)
        return loss_fn(PARAMS, PARAMS, FROZEN, part, keys[rows], jnp.int32(0))[0]

    halves = loss(jnp.array([0, 2])), loss(jnp.array([1, 3]))
    np.testing.assert_allclose(sum(halves) / 2, loss(jnp.arange(4)), rtol=1e-5)


@pytest.mark.parametrize("source, condition", PAPERS)
def test_the_restoration_follows_the_same_source_and_condition(source, condition):
    objective = RectifiedFlow(source, condition, 0.3)
    sampler = Sampler(3, objective.noise_scale)
    parts = pmrf_parts(NETWORKS, objective, sampler, window_of(8))
    pictures = {"mean": jnp.clip(2 * X_LQ, 0, 1), "degraded": X_LQ}
    key = jax.random.key(0)
    eps = jax.random.normal(key, SHAPE)
    z = eps if source == "noise" else pictures[source] + 0.3 * eps
    for k in range(3):
        z = z + (0.7 * (z if condition == "none" else z + pictures[condition]) + k / 3) / 3
    np.testing.assert_allclose(run_parts(parts, PARAMS, FROZEN, X_LQ, key), z, atol=1e-5)
    mean = ("posterior_mean",) if objective.given == "mean" else ()
    assert shown_stages(parts) == (*mean, "source", "step_1", "step_2", "step_3")
