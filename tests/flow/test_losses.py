"""Each loss term against a naive loop over samples, its ideal field, and what it must not train."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.flow.losses import (
    consistency,
    flow_matching,
    gradient_l1,
    latent_mmse,
    mean_squared_error,
    pixel_l2,
)
from elir_jax.flow.path import path_velocity
from elir_jax.methods.autoencoder import (
    FLOOR,
    TILE,
    latent_moments,
    log_mse,
    sharpness_l1,
)

SHAPE = (6, 2, 3, 4)
SIGMA_MIN = 1e-5
Z_0, Z_1 = (jax.random.normal(jax.random.key(i), SHAPE) for i in (0, 1))
T = jnp.array([0.0, 0.1, 0.32, 0.34, 0.6, 0.94])
WEIGHTS = jnp.array([1.0, 2.0, 0.5])


def field(z, t, scale=0.7):
    return jnp.tanh(scale * z) + jnp.cos(3 * t)[:, None, None, None]


def other_field(z, t):
    return field(z, t, scale=0.4)


def naive_consistency(t, dt, alpha):
    z_0, z_1 = np.float64(Z_0), np.float64(Z_1)
    delta_f, delta_v = [], []
    for b, start in enumerate(np.float64(t)):

        def point(s, b=b):
            return s * z_1[b] + (1 - (1 - SIGMA_MIN) * s) * z_0[b]

        def velocity(fn, s, b=b):
            return np.float64(fn(jnp.float32(point(s))[None], jnp.float32([s]))[0])

        segment = next(i for i in range(3) if start <= (i + 1) / 3)
        end, later = (segment + 1) / 3, start + dt
        v_t, v_r = velocity(field, start), velocity(other_field, later)
        f_t = point(start) + (end - start) * v_t
        f_r = point(later) + (end - later) * v_r if later < end else point(end)
        weight = float(WEIGHTS[segment])
        delta_f.append(weight * np.mean((f_t - f_r) ** 2))
        delta_v.append(weight * np.mean((v_t - v_r) ** 2))
    return np.mean(delta_f), np.mean(delta_v), np.mean(delta_f) + alpha * np.mean(delta_v)


def test_consistency_equals_a_naive_loop():
    dt, alpha = 0.05, 0.3
    result = consistency(
        field, other_field, Z_0, Z_1, T,
        dt=dt, alpha=alpha, sigma_min=SIGMA_MIN, segment_weights=WEIGHTS,
    )  # fmt: skip
    segment, velocity, loss = naive_consistency(T, dt, alpha)
    np.testing.assert_allclose(result.segment, segment, rtol=1e-5)
    np.testing.assert_allclose(result.velocity, velocity, rtol=1e-5)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-5)


@pytest.mark.parametrize("num_segments, share", [(1, 0), (3, 0.105), (5, 0.211), (7, 0.316)])
def test_the_target_is_not_equation_8s_for_as_many_samples_as_the_docs_say(num_segments, share):
    dt, many = 0.05, 20_000
    t = (jnp.arange(many) + 0.5) / many * (1 - dt)  # uniform, as they are drawn
    z_0, z_1 = (jnp.broadcast_to(z[:1, :1, :1, :1], (1, 1, 1, 1)) for z in (Z_0, Z_1))

    def loss(t):
        arguments = {"dt": dt, "alpha": 0.0, "sigma_min": SIGMA_MIN}
        weights = jnp.ones(num_segments)
        return consistency(
            field, field, z_0, z_1, t[None], segment_weights=weights, **arguments
        ).loss

    def printed(t):
        end, r = jnp.ceil(t * num_segments) / num_segments, t + dt
        at = [(1 - (1 - SIGMA_MIN) * s) * z_0 + s * z_1 for s in (t, r)]
        f_t, f_r = (z + (end - s) * field(z, s[None]) for z, s in zip(at, (t, r), strict=True))
        return jnp.mean((f_t - f_r) ** 2)

    found, wanted = jax.vmap(loss)(t), jax.vmap(printed)(t)
    differs = jnp.mean(jnp.abs(found - wanted) > 1e-5 * (1e-3 + wanted))
    np.testing.assert_allclose(differs, (num_segments - 1) * dt / (1 - dt), atol=1e-3)
    np.testing.assert_allclose(differs, share, atol=1e-3)


def test_the_paths_own_velocity_has_no_loss():
    def ideal(z, t):
        return path_velocity(Z_0, Z_1, SIGMA_MIN)

    flow = flow_matching(ideal, Z_0, Z_1, T, sigma_min=SIGMA_MIN)
    assert float(flow.loss) < 1e-10
    np.testing.assert_allclose(flow.z_end, Z_1 + SIGMA_MIN * Z_0, atol=1e-5)
    result = consistency(
        ideal, ideal, Z_0, Z_1, T,
        dt=0.05, alpha=1.0, sigma_min=SIGMA_MIN, segment_weights=WEIGHTS,
    )  # fmt: skip
    assert float(result.loss) < 1e-10


def test_the_consistency_target_is_not_trained():
    def loss(target_scale):
        return consistency(
            field, lambda z, t: field(z, t, target_scale), Z_0, Z_1, T,
            dt=0.05, alpha=1.0, sigma_min=SIGMA_MIN, segment_weights=WEIGHTS,
        ).loss  # fmt: skip

    assert float(jax.grad(loss)(0.4)) == 0.0


def test_flow_matching_is_the_mean_squared_error_of_the_velocity():
    flow = flow_matching(field, Z_0, Z_1, T, sigma_min=SIGMA_MIN)
    t = np.asarray(T)[:, None, None, None]
    z_t = t * Z_1 + (1 - (1 - SIGMA_MIN) * t) * Z_0
    expected = np.mean((field(z_t, T) - (Z_1 - (1 - SIGMA_MIN) * Z_0)) ** 2)
    np.testing.assert_allclose(flow.loss, expected, rtol=1e-6)


def test_posterior_mean_and_pixel_terms_are_mean_squared_errors():
    np.testing.assert_allclose(
        latent_mmse(Z_0, Z_1), np.mean((np.float64(Z_0) - np.float64(Z_1)) ** 2), rtol=1e-6
    )
    image = jnp.zeros((6, 4, 4, 3))
    loss = pixel_l2(lambda z: jnp.full((6, 4, 4, 3), 0.5) + 0 * z.sum(), Z_0, image)
    np.testing.assert_allclose(loss, 0.25, rtol=1e-6)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        mean_squared_error(Z_0, Z_1[:, :1])


def test_autoencoder_terms_have_their_closed_forms():
    ramp = jnp.broadcast_to(jnp.arange(5.0)[None, :, None, None], (1, 5, 4, 3))
    np.testing.assert_allclose(gradient_l1(ramp, jnp.zeros_like(ramp)), 1.0, rtol=1e-6)
    wave = jnp.where(jnp.arange(4 * TILE) % 2, 0.1, -0.1)[None, :, None, None]
    wave = jnp.broadcast_to(wave, (1, 4 * TILE, 4 * TILE, 3))
    np.testing.assert_allclose(sharpness_l1(wave, jnp.zeros_like(wave)), 0.2, rtol=1e-6)
    assert sharpness_l1(wave, -wave) == 0.0  # texture that lies elsewhere
    steps = jnp.array([0.1, 0.01])[:, None, None, None] * jnp.ones((2, 4, 4, 3))
    logs = np.log(1e-2 + FLOOR), np.log(1e-4 + FLOOR)  # each image's own, then their mean
    np.testing.assert_allclose(log_mse(steps, jnp.zeros_like(steps)), np.mean(logs), rtol=1e-5)
    z = 2.0 * jnp.array([-1.0, 1.0]).reshape(2, 1, 1, 1) + 3.0
    for parts in (1, 2):  # on one device, or with a different mean on each of two
        pieces = z.reshape(parts, 2 // parts, 1, 1, 1)
        value = jax.vmap(lambda z: latent_moments(z, "d"), axis_name="d")(pieces)
        np.testing.assert_allclose(value, 3.0**2 + (4.0 - 1.0) ** 2, rtol=1e-6)
