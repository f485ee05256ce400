"""The recipe: which parameter learns from which term, and what each variant adds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax.flatten_util import ravel_pytree

from elir_jax.methods.elir import Draw, ElirObjective, draw, elir_loss, latent_flow
from elir_jax.networks.layers import collapse

PARAMS, FROZEN = small.init()
EMA, _ = small.init(seed=1)
BATCH = small.batch(4)
NOISE = draw(jax.random.split(jax.random.key(0), 4), (4, 4, 4))


def loss_of(params, ema=EMA, noise=NOISE, **changes):
    objective = ElirObjective(num_segments=3, **changes)
    return elir_loss(small.NETWORKS, objective, params, ema, FROZEN, BATCH.x_hq, BATCH.x_lq, noise)


def gradient(term=None, **changes):
    def scalar(params):
        loss, terms = loss_of(params, **changes)
        return loss if term is None else terms[term]

    return jax.jit(jax.grad(scalar))(PARAMS)


def norm(tree):
    return float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("flow", ["consistency", "flow_matching"])
def test_the_flow_trains_the_velocity_alone(flow):
    grads = gradient(flow, flow=flow)
    assert norm(grads["velocity"]) > 0
    assert norm(grads["encoder"]) == norm(grads["estimator"]) == 0


@pytest.mark.parametrize("space, term", [("latent", "latent_mmse"), ("pixel", "pixel_mmse")])
def test_the_posterior_mean_trains_encoder_and_estimator_alone(space, term):
    grads = gradient(term, mmse_space=space)
    assert norm(grads["encoder"]) > 0 and norm(grads["estimator"]) > 0
    assert norm(grads["velocity"]) == 0


@pytest.mark.parametrize("flow", ["consistency", "flow_matching"])
def test_the_decoded_pixel_term_trains_the_velocity_alone(flow):
    grads = gradient("pixel", flow=flow, beta=0.5)
    assert norm(grads["velocity"]) > 0
    assert norm(grads["encoder"]) == norm(grads["estimator"]) == 0


@pytest.mark.parametrize("beta", [0.0, 0.25])
@pytest.mark.parametrize("flow", ["consistency", "flow_matching"])
def test_the_loss_is_the_weighted_sum_of_its_terms(flow, beta):
    loss, terms = loss_of(PARAMS, flow=flow, beta=beta)
    assert ("pixel" in terms) == bool(beta)
    expected = terms["latent_mmse"] + (1 - beta) * terms[flow] + beta * terms.get("pixel", 0.0)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_the_target_is_the_average_or_the_network_itself():
    same, _ = loss_of(PARAMS, ema=PARAMS, target="ema")
    online, _ = loss_of(PARAMS, ema=EMA, target="online")
    averaged, _ = loss_of(PARAMS, ema=EMA, target="ema")
    assert float(online) == float(same) != float(averaged)


def test_a_frozen_encoder_is_used_where_none_is_trained():
    params = {name: PARAMS[name] for name in ("estimator", "velocity")}
    loss, _ = loss_of(params, ema=params)
    explicit, _ = loss_of(params | {"encoder": FROZEN["encoder"]}, ema=params)
    assert float(loss) == float(explicit)


def test_each_sample_draws_from_its_own_key():
    keys = jax.random.split(jax.random.key(3), 4)
    u, eps = draw(keys, (2, 2, 4))
    alone_u, alone_eps = draw(keys[2:3], (2, 2, 4))
    assert u[2] == alone_u[0] and jnp.array_equal(eps[2], alone_eps[0])
    assert len(np.unique(u)) == 4
    many = draw(jax.random.split(jax.random.key(4), 2000), (1, 1, 4))
    assert abs(float(many.u.mean()) - 0.5) < 0.03 and abs(float(many.eps.std()) - 1) < 0.03


def test_times_stay_below_one_minus_dt():
    # With u at its end and dt = 0.5, t = 0.5 lies in the second of three segments.
    noise = Draw(jnp.full(4, 1.0), NOISE.eps)
    weights = (0.0, 1.0, 0.0)
    _, terms = loss_of(PARAMS, noise=noise, dt=0.5, segment_weights=weights)
    assert float(terms["consistency"]) > 0
    _, terms = loss_of(PARAMS, noise=noise, dt=0.5, segment_weights=(1.0, 0.0, 1.0))
    assert float(terms["consistency"]) == 0


@pytest.fixture(scope="module")
def in_both_types():
    """The consistency loss with its gradient, computed in bfloat16 and in float32."""
    half = latent_flow(
        dataclasses.replace(small.AUTOENCODER, dtype=jnp.bfloat16),
        small.ESTIMATOR.clone(form="plain", dtype=jnp.bfloat16),
        small.VELOCITY.clone(form="plain", dtype=jnp.bfloat16),
    )
    # The network is its own target: the two velocities are as near each other as they can be.
    objective = ElirObjective(num_segments=3, target="online")

    def loss_of(networks):
        def loss(params, frozen, batch, noise):
            pair = batch.x_hq, batch.x_lq
            return elir_loss(networks, objective, params, params, frozen, *pair, noise)

        return jax.jit(jax.value_and_grad(loss, has_aux=True))

    return loss_of(half), loss_of(small.PLAIN_NETWORKS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 3, 5])
def test_bfloat16_gives_nearly_the_consistency_loss_of_float32_and_its_direction(
    in_both_types, seed
):
    params, frozen = small.init(seed)
    params = {name: collapse(tree) for name, tree in params.items()}
    noise = draw(jax.random.split(jax.random.key(seed), 4), (4, 4, 4))
    ((loss, terms), grads), ((exact, exact_terms), exact_grads) = (
        fn(params, frozen, small.batch(4, seed), noise) for fn in in_both_types
    )
    assert loss.dtype == jnp.float32 and float(loss) != float(exact)
    for name in ("consistency", "consistency_segment", "latent_mmse"):
        np.testing.assert_allclose(terms[name], exact_terms[name], rtol=2e-2, err_msg=name)
    for network in grads:
        a, b = (ravel_pytree(tree[network])[0] for tree in (grads, exact_grads))
        assert a @ b > 0.99 * jnp.linalg.norm(a) * jnp.linalg.norm(b), network


@pytest.mark.parametrize(
    "changes",
    [{"flow": "x"}, {"target": "x"}, {"mmse_space": "x"}, {"dt": 0.0}, {"beta": 2.0},
     {"num_segments": 0}, {"segment_weights": (1.0,)}],
)  # fmt: skip
def test_values_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        ElirObjective(**changes)
