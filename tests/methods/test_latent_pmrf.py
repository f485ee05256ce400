"""Latent-PMRF's loss, stages and steps: the shared recording's, and closed forms of its options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from pmrf_golden import distance

from elir_jax.flow.path import Sampler
from elir_jax.methods.latent_pmrf import latent_mean_objective, latent_pmrf_parts
from elir_jax.methods.pmrf import (
    Draw,
    PmrfNetworks,
    RectifiedFlow,
    draw,
    flow_loss,
    rectified_flow_loss,
)
from elir_jax.methods.posterior_mean import window_of
from elir_jax.networks.applying import variables_fn
from elir_jax.types import Batch
from elir_jax.weights.hdit import read_hdit
from elir_jax.weights.layouts import Source
from elir_jax.weights.sim_vae import read_sim_vae

OBJECTIVE = RectifiedFlow()
PARTS, STEPS = ("sim_vae", "latent_hdit"), 5


@pytest.fixture(scope="module")
def recorded():
    """(arrays, networks, decode, parameters, frozen) with small networks; the mean is given."""
    vae, both = read_sim_vae(
        Source("file", "", reference.recorded_network("latent_pmrf", "sim_vae")[1], str)
    )
    tensors = reference.recorded_network("latent_pmrf", "latent_hdit")[1]
    module, variables = read_hdit(Source("file", "", tensors, str))
    arrays = dict(np.load(reference.SHARED / "reference" / "latent_pmrf_golden.npz"))
    networks = PmrfNetworks(
        lambda params, y, keys: jnp.asarray(arrays["flow/mean"]),
        variables_fn(module, jnp.float32),
        lambda frozen, x: vae.encoder.apply({"params": frozen["encoder"]}, x).mean,
    )
    frozen = both | {"constants": variables["constants"], "estimator": {}}

    def decode(params, z):
        return vae.decoder.apply({"params": params}, z)

    return arrays, networks, decode, {"velocity": variables["params"]}, frozen


def as_released(networks):
    """The release's network takes sigma = 1 - t and predicts the source minus the target."""
    return networks._replace(velocity=lambda v, z, t: -networks.velocity(v, z, 1 - t))


@pytest.mark.parametrize("kind", ["paper", "flow"])
def test_the_loss_is_the_recorded_one(recorded, kind):
    arrays, networks, _, params, frozen = recorded
    if kind == "flow":
        networks = as_released(networks)
    x, y, *noise = (arrays[f"flow/{name}"] for name in ("x", "y", "t", "eps"))
    loss = jax.jit(lambda *given: rectified_flow_loss(networks, OBJECTIVE, *given)[0])
    found = loss(params, frozen, x, y, Draw(*noise))
    np.testing.assert_allclose(found, arrays[f"{kind}/loss"][0], rtol=1e-5)


def test_every_stage_is_the_recorded_one(recorded):
    arrays, networks, decode, params, frozen = recorded
    networks = as_released(networks)
    parts = latent_pmrf_parts(
        networks,
        lambda p, x: networks.encode({"encoder": p}, x),
        decode,
        OBJECTIVE,
        Sampler(STEPS, OBJECTIVE.sigma_s),
        *map(window_of, (128, 16)),
    )
    assert [part.name for part in parts] == ["posterior_mean", "encode", "flow", "decode"]
    assert parts[1].shows == ("mean_decoded",) and parts[1].through == ("decode",)

    @jax.jit
    def run(params, frozen, y, eps):
        (mean,) = parts[0].apply(params, frozen, y, None)
        (z,) = parts[1].apply(params, frozen, mean, None)
        (mean_decoded,) = parts[3].apply(params, frozen, z, None)
        states = parts[2].apply(params, frozen, z, eps)
        (decoded,) = parts[3].apply(params, frozen, states[-1], None)
        return z, mean_decoded, states, decoded

    z, mean_decoded, states, decoded = run(params, frozen, arrays["flow/y"], arrays["flow/eps"])
    assert distance(z, arrays["flow/z_mean"]) <= 2e-5
    for k, state in enumerate(states):
        assert distance(state, arrays[f"euler/z{k}"]) <= 2e-5, k
    assert distance(2 * decoded - 1, arrays["euler/decoded"]) <= 2e-5
    assert distance(jnp.clip(decoded, 0, 1), arrays["euler/restored"]) <= 2e-5
    assert distance(jnp.clip(mean_decoded, 0, 1), arrays["flow/mean_decoded"]) <= 2e-5


SHAPE = (2, 4, 4, 3)
Z_LQ, Z_HQ, EPS = (jax.random.normal(jax.random.key(k), SHAPE) for k in range(3))
SPREAD = jnp.abs(EPS) + 0.5
T = jnp.array([0.25, 0.75])
SIMPLE = PmrfNetworks(
    lambda params, x, keys: x,
    lambda variables, z, t: variables["params"] * z,
    lambda frozen, x: x,
)
TREES = {"velocity": jnp.float32(0.7)}, {"constants": jnp.float32(0), "estimator": {}}


def test_sampled_latents_add_their_variance_to_the_sources():
    """Written out, with halves of the noise for source and target."""
    objective = RectifiedFlow(sigma_s=0.3, sample_latents=True)
    given, encoded = (jnp.concatenate([z, SPREAD], -1) for z in (Z_LQ, Z_HQ))
    noise = jax.random.normal(jax.random.key(4), given.shape)
    found, terms = flow_loss(SIMPLE, objective, *TREES, given, encoded, Draw(T, noise))
    z_0 = Z_LQ + jnp.sqrt(SPREAD**2 + 0.09) * noise[..., :3]
    z_1 = Z_HQ + SPREAD * noise[..., 3:]
    t = T.reshape(-1, 1, 1, 1)
    expected = jnp.mean((0.7 * (t * z_1 + (1 - t) * z_0) - (z_1 - z_0)) ** 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    deviations = [float(jnp.std(z)) for z in z_1]
    np.testing.assert_allclose(terms["latent_std"], np.mean(deviations), rtol=1e-5)


def test_times_are_those_of_the_grid():
    batch = Batch(Z_HQ, Z_LQ, jnp.arange(2), jnp.arange(2))
    keys = jax.random.split(jax.random.key(0), 2)
    times = [draw(SIMPLE, RectifiedFlow(grid=grid), TREES[1], batch, keys, 2).t for grid in (0, 10)]
    np.testing.assert_allclose(times[1], jnp.floor(times[0] * 10) / 10)
    assert not np.allclose(times[0], times[1])


def test_the_mean_in_latents_learns_from_its_own_term_alone():
    """Option 1: the estimator's gradient is that of the squared error, the flow's stops there."""
    objective = RectifiedFlow()
    networks = SIMPLE._replace(estimate=lambda w, z, keys: w * z)
    loss_fn = latent_mean_objective(networks, objective, 2)
    batch = Batch(Z_HQ, Z_LQ, jnp.arange(2), jnp.arange(2))
    keys = jax.random.split(jax.random.key(0), 2)
    params = TREES[0] | {"estimator": jnp.float32(0.4)}

    def loss(params):
        return loss_fn(params, params, TREES[1], batch, keys, jnp.int32(0))

    (value, terms), grads = jax.value_and_grad(loss, has_aux=True)(params)
    error = 0.4 * Z_LQ - Z_HQ
    np.testing.assert_allclose(terms["latent_mmse"], jnp.mean(error**2), rtol=1e-5)
    np.testing.assert_allclose(value, terms["latent_mmse"] + terms["flow_matching"], rtol=1e-6)
    np.testing.assert_allclose(grads["estimator"], 2 * jnp.mean(error * Z_LQ), rtol=1e-4)
    noise = draw(SIMPLE, objective, TREES[1], batch, keys, 2)
    alone, _ = flow_loss(SIMPLE, objective, params, TREES[1], 0.4 * Z_LQ, Z_HQ, noise)
    np.testing.assert_allclose(terms["flow_matching"], alone, rtol=1e-6)
