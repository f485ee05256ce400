"""Our networks, sampler, losses and gradients equal the PyTorch reference's golden arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import Reference

from elir_jax.flow.solvers import euler_trajectory
from elir_jax.interop.release import to_release
from elir_jax.models.layers import time_embedding
from elir_jax.objectives.elir import Draw, ElirObjective, elir_loss

KINDS = [("flat", "plain"), ("over", "expanded"), ("over", "collapsing")]


@pytest.fixture(scope="module", params=KINDS, ids=lambda k: "-".join(k))
def reference(request):
    return Reference(*request.param)


def close(ours, theirs, atol):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=atol)


def test_encoder_and_estimator_match(reference):
    nets, params = reference.networks, reference.params
    latent = nets.encode(params["encoder"], reference["lq"])
    close(latent, reference["latent"], 2e-5)
    close(nets.estimate(params["estimator"], latent), reference["mmse"], 2e-5)


def test_time_embedding_matches(reference):
    # One recorded time differs in its last digit from the one embedded there, which the embedding
    # multiplies by 1000.
    golden, ulp = reference["pos_emb"], 2.0**-24
    close(
        time_embedding(jnp.asarray(reference["pos_emb_t"]), golden.shape[1]),
        golden,
        1000 * ulp + 1e-6,
    )


def test_velocities_and_euler_states_match(reference):
    nets, params = reference.networks, reference.params
    num_steps = reference.config["k_steps"]

    def velocity(z, t):
        return nets.velocity(params["velocity"], z, t)

    states = euler_trajectory(
        velocity,
        jnp.asarray(reference["mmse"]) + reference.config["sigma_s"] * reference["eps_infer"],
        num_steps,
    )
    before = reference["z0"]
    for k in range(num_steps):
        t = jnp.full(before.shape[:1], k / num_steps, jnp.float32)
        close(velocity(jnp.asarray(before), t), reference[f"v{k}"], 2e-5)
        close(states[k], reference[f"z{k + 1}"], 2e-5)
        before = reference[f"z{k + 1}"]
    decoded = nets.decode(params["decoder"], states[-1])
    close(decoded, reference["decoded"], 1e-4)


def loss_and_grads(reference, objective):
    trained = {k: reference.params[k] for k in ("encoder", "estimator", "velocity")}
    frozen = {k: reference.params[k] for k in ("encoder", "decoder")}
    noise = Draw(jnp.asarray(reference["loss_u"]), jnp.asarray(reference["loss_eps"]))

    def loss(params):
        return elir_loss(
            reference.networks,
            objective,
            params,
            params,
            frozen,
            jnp.asarray(reference["hq"]),
            jnp.asarray(reference["lq"]),
            noise,
        )

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(trained)


def objective_for(reference, **changes):
    c = reference.config
    return ElirObjective(
        num_segments=c["k_steps"],
        dt=c["dt"],
        alpha=c["alpha"],
        sigma_s=c["sigma_s"],
        sigma_min=c["sigma_min"],
        target="online",
        **changes,
    )


@pytest.mark.parametrize("flow, name", [("flow_matching", "fm"), ("consistency", "cfm")])
def test_losses_match(reference, flow, name):
    (loss, terms), _ = loss_and_grads(reference, objective_for(reference, flow=flow))
    np.testing.assert_allclose(loss, reference[f"l2_{name}_loss"], rtol=1e-5)
    np.testing.assert_allclose(terms[flow], reference[f"{name}_loss"], rtol=1e-5)
    beta = reference.config["beta"]
    (loss, _), _ = loss_and_grads(reference, objective_for(reference, flow=flow, beta=beta))
    np.testing.assert_allclose(loss, reference[f"l2_{name}_mse_loss"], rtol=1e-5)


def test_gradients_match(reference):
    _, grads = loss_and_grads(reference, objective_for(reference))
    ours = to_release(grads)
    prefix = f"gradnorm_{reference.kind}/"
    names = [name for name in reference.arrays if name.startswith(prefix)]
    golden = {name.removeprefix(prefix): reference.arrays[name] for name in names}
    assert golden.keys() == ours.keys()
    # Where a group of the normalisation holds one channel, a shift before it changes nothing: the
    # gradients of such shifts are rounding, eight orders below the others.
    floor = 1e-7 * np.sqrt(sum(float(norm) ** 2 for norm in golden.values()))
    for name, theirs in golden.items():
        norm = np.linalg.norm(ours[name])
        np.testing.assert_allclose(norm, theirs, rtol=1e-3, atol=floor, err_msg=name)
        tensor = reference.arrays.get(f"grad_{reference.kind}/{name}")
        if tensor is not None:
            atol = 1e-4 * np.abs(tensor).max() + floor
            np.testing.assert_allclose(ours[name], tensor, rtol=0, atol=atol, err_msg=name)
