"""Estimators in pixels: the clip inside the loss, drop path by sample, any network."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.methods.posterior_mean import (
    PosteriorMeanObjective,
    posterior_mean_objective,
    posterior_mean_part,
    window_of,
)
from elir_jax.types import Batch

X = jnp.full((1, 2, 2, 3), 0.5)


@pytest.mark.parametrize("loss, expected", [("mse", 0.25), ("l1", 0.5)])
def test_the_clip_is_inside_the_loss_and_stops_gradients_outside(loss, expected):
    outside = X + 1
    clipped, free = (PosteriorMeanObjective(loss, clip) for clip in (True, False))
    np.testing.assert_allclose(clipped(outside, X), expected, rtol=1e-6)
    np.testing.assert_allclose(free(outside, X), {"mse": 1, "l1": 1}[loss], rtol=1e-6)
    assert jnp.all(jax.grad(clipped)(outside, X) == 0)
    assert jnp.all(jax.grad(clipped)(X + 0.25, X) > 0)
    assert jnp.all(jax.grad(free)(outside, X) > 0)


def test_unknown_losses_are_refused():
    with pytest.raises(ValueError, match="mse.*l1.*huber"):
        PosteriorMeanObjective("huber")


def test_any_network_from_image_to_image_learns_by_it():
    module = nn.Conv(3, (1, 1), use_bias=False)

    def estimate(params, x, keys):
        return module.apply({"params": params}, x)

    loss_fn = posterior_mean_objective(estimate, PosteriorMeanObjective())
    y = jax.random.uniform(jax.random.key(0), (2, 4, 4, 3))
    batch = Batch(0.5 * y, y, jnp.arange(2), jnp.arange(2))
    keys, step = jax.random.split(jax.random.key(1)), jnp.int32(0)
    half = {"estimator": {"kernel": 0.5 * jnp.eye(3)[None, None]}}
    assert loss_fn(half, half, {}, batch, keys, step)[0] == 0
    whole = {"estimator": {"kernel": jnp.eye(3)[None, None]}}
    loss, terms = loss_fn(whole, whole, {}, batch, keys, step)
    np.testing.assert_allclose(loss, jnp.mean((0.5 * y) ** 2), rtol=1e-6)
    assert terms == {"mse": loss}


def test_drop_path_is_on_in_training_and_off_in_what_restores():
    """By a network that tells whether it is given keys."""

    def estimate(params, x, keys):
        return (2.0 if keys is None else 0.5) * params * x

    loss_fn = posterior_mean_objective(estimate, PosteriorMeanObjective())
    batch = Batch(X, X, jnp.arange(1), jnp.arange(1))
    keys, params = jax.random.split(jax.random.key(0), 1), {"estimator": jnp.float32(1.5)}
    loss, _ = loss_fn(params, params, {}, batch, keys, jnp.int32(0))
    np.testing.assert_allclose(loss, (0.75 * 0.5 - 0.5) ** 2, rtol=1e-5)
    part = posterior_mean_part(estimate, lambda params, frozen: params["estimator"], window_of(64))
    (restored,) = part.apply(params, {}, X, None)
    assert jnp.all(restored == 1)  # 1.5, clipped
