"""The learning rate's schedule and the clipping of gradients, against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.training.optim import AdamW, apply_gradients


def test_the_rate_rises_linearly_and_falls_along_half_a_cosine_to_zero():
    rate = AdamW(learning_rate=2.0, schedule="cosine", warmup_steps=10).rate(110)
    np.testing.assert_allclose([rate(0), rate(5), rate(10)], [0.0, 1.0, 2.0], atol=1e-6)
    np.testing.assert_allclose([rate(60), rate(110)], [1.0, 0.0], atol=1e-6)


def test_a_constant_rate_is_reached_after_the_warm_up_and_kept():
    rate = AdamW(learning_rate=2.0, warmup_steps=4).rate(100)
    np.testing.assert_allclose([rate(1), rate(4), rate(99)], [0.5, 2.0, 2.0])


def test_clipping_scales_all_gradients_by_their_common_norm():
    # With b1 = b2 = 0, Adam's update is g / (|g| + eps): eps shows the size of the gradient.
    optimizer = AdamW(1.0, b1=0.0, b2=0.0, eps=1.0, weight_decay=0.0, clip_norm=1.0).build(10)
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    updated, _ = apply_gradients(optimizer, grads, optimizer.init(params), params)
    np.testing.assert_allclose(
        [updated["a"][0], updated["b"][0]], [-0.6 / 1.6, -0.8 / 1.8], rtol=1e-6
    )


@pytest.mark.parametrize(
    "fields", [{"schedule": "linear"}, {"warmup_steps": -1}, {"clip_norm": -1.0}]
)
def test_a_wrong_schedule_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        AdamW(**fields)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="below num_steps"):
        AdamW(schedule="cosine", warmup_steps=10).build(10)
