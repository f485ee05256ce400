"""Latent-PMRF's loss, stages and steps are those of the shared recording."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from pmrf_golden import distance

from elir_jax.flow.sampler import Sampler
from elir_jax.methods.pmrf.networks import Networks
from elir_jax.methods.pmrf.objective import RectifiedFlow, rectified_flow_loss
from elir_jax.methods.pmrf.parts import latent_pmrf_parts
from elir_jax.methods.posterior_mean.parts import window_of
from elir_jax.networks.applying import variables_fn
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
    networks = Networks(
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
    rows = (arrays[f"flow/{name}"] for name in ("x", "y", "t", "eps"))
    loss = jax.jit(lambda *given: rectified_flow_loss(networks, OBJECTIVE, *given))
    found = loss(params, frozen, *rows)
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
