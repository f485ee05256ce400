"""The terms of every objective, each with its equation: of flows, of posterior means, of pictures.

Consistency flow matching is in segments (equations 8 and 9; Yang et al., 2024). Two points of one
path, ``z_t`` and ``z_r`` with ``r = t + dt``, must point at the same place at the end of t's
segment: ``f(z_t, t) = z_t + (t_end - t) v(z_t, t)``. If r lies beyond the segment, the target is
the path's own point at the end of the segment: the release's, not equation 8's, which asks the
velocity there too (docs/numerics.md has the share of samples). Targets carry no gradient.

Score guidance (SGCL; DirectFlow, equations 7 to 9) mixes the student's result with a source,
``q = t z + (1 - t) source``; the teacher's velocity there gives a clean estimate,
``clip(q + (1 - t) v(q, t))``, and the student is drawn to it. Query and estimate carry no gradient,
so the teacher is never differentiated.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from elir_jax.flow.path import State, Velocity, expand_time, interpolate, path_velocity, segment_of
from elir_jax.types import Image, Latent, Scalar, Time

FLOOR = 1 / 255  # a grey level: keeps the root's gradient bounded


def squared_error_per_sample(
    a: Float[Array, "b h w c"], b: Float[Array, "b2 h2 w2 c2"]
) -> Float[Array, " b"]:
    """Mean over each sample of the squared difference. Raises ValueError if shapes differ."""
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    return jnp.mean(jnp.square(a - b), axis=(1, 2, 3))


def mean_squared_error(a: Float[Array, "b h w c"], b: Float[Array, "b2 h2 w2 c2"]) -> Scalar:
    """Mean over all elements of the squared difference."""
    return jnp.mean(squared_error_per_sample(a, b))


def mean_absolute_error(a: Float[Array, "b h w c"], b: Float[Array, "b2 h2 w2 c2"]) -> Scalar:
    """Mean over all elements of the absolute difference. Raises ValueError if shapes differ."""
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    return jnp.mean(jnp.abs(a - b))


def mean_root_squared_error(a: Float[Array, "b h w c"], b: Float[Array, "b2 h2 w2 c2"]) -> Scalar:
    """Mean over the samples of the root of their mean squared difference, at least ``FLOOR``.

    A mean of squares is dominated by the samples that are degraded most; this one weighs each by
    its own error. Raises ValueError if shapes differ.
    """
    return jnp.mean(jnp.sqrt(squared_error_per_sample(a, b) + FLOOR**2))


def latent_mmse(z_mmse: Latent, z_hq: Latent) -> Scalar:
    """Latent posterior-mean loss: ``|| g_phi(E_w(x_lq)) - E(x_hq) ||^2`` (equation 6)."""
    return mean_squared_error(z_mmse, z_hq)


def pixel_l2(decode: Callable[[Latent], Image], z: Latent, x_hq: Image) -> Scalar:
    """``|| D(z) - x_hq ||^2`` over all elements, images in [0, 1].

    With ``z = z_mmse`` it is equation 11, with the flow's result the release's term on it.
    """
    return mean_squared_error(decode(z), x_hq)


def gradient_l1(x: Image, y: Image) -> Scalar:
    """Mean absolute difference of the vertical differences plus that of the horizontal ones."""
    error = x - y
    return jnp.mean(jnp.abs(jnp.diff(error, axis=1))) + jnp.mean(jnp.abs(jnp.diff(error, axis=2)))


class FlowMatching(NamedTuple):
    """The loss and the latent at t = 1 that the velocity points at."""

    loss: Scalar
    z_end: Latent


def flow_matching(
    velocity: Velocity, z_0: Latent, z_1: Latent, t: Time, *, sigma_min: float
) -> FlowMatching:
    """``|| v(z_t, t) - (z_1 - (1 - sigma_min) z_0) ||^2`` with t in [0, 1].

    The velocity of equation 7's path, regressed: PMRF's loss, and the baseline of Figure 4.
    """
    z_t = interpolate(z_0, z_1, t, sigma_min)
    v = velocity(z_t, t)
    loss = mean_squared_error(v, path_velocity(z_0, z_1, sigma_min))
    return FlowMatching(loss, z_t + (1.0 - expand_time(t, z_t)) * v)


class Consistency(NamedTuple):
    """The loss, its two parts, and the point to which the velocity carries ``z_t``."""

    loss: Scalar  # segment + alpha * velocity
    segment: Scalar  # lambda_i (Delta f)^2
    velocity: Scalar  # lambda_i (Delta v)^2
    z_end: Latent  # f(z_t, t), at the end of t's segment
    t_end: Time


def consistency(
    velocity: Velocity,
    target_velocity: Velocity,
    z_0: Latent,
    z_1: Latent,
    t: Time,
    *,
    dt: float,
    alpha: float,
    sigma_min: float,
    segment_weights: Float[Array, " k"],
) -> Consistency:
    """Equations 8 and 9, for times ``t`` in [0, 1 - dt] and K = ``len(segment_weights)`` segments.

    ``target_velocity`` is the EMA copy (below equation 4) or the network itself (below equation 8,
    and the release); either way it is under stop-gradient. ``segment_weights`` are the paper's
    lambda_i.
    """
    segment = segment_of(t, segment_weights.shape[0])
    weight = segment_weights[segment.index]
    r = t + dt

    z_t = interpolate(z_0, z_1, t, sigma_min)
    v_t = velocity(z_t, t)
    f_t = z_t + expand_time(segment.end - t, z_t) * v_t

    z_r = interpolate(z_0, z_1, r, sigma_min)
    v_r = jax.lax.stop_gradient(target_velocity(z_r, r))
    inside = expand_time(r, z_r) < expand_time(segment.end, z_r)
    f_r = jnp.where(
        inside,
        z_r + expand_time(segment.end - r, z_r) * v_r,
        interpolate(z_0, z_1, segment.end, sigma_min),
    )

    delta_f = jnp.mean(weight * squared_error_per_sample(f_t, jax.lax.stop_gradient(f_r)))
    delta_v = jnp.mean(weight * squared_error_per_sample(v_t, v_r))
    return Consistency(delta_f + alpha * delta_v, delta_f, delta_v, f_t, segment.end)


def clean_estimate(
    velocity: Velocity, z: State, source: State, t: Time, limits: tuple[float, float]
) -> State:
    """Where the velocity at time ``t`` in [0, 1] leads from the mixture, clipped to ``limits``.

    DirectFlow's equations 7 and 8.
    """
    query = jax.lax.stop_gradient(interpolate(source, z, t, 0.0))
    end = query + (1.0 - expand_time(t, query)) * velocity(query, t)
    return jax.lax.stop_gradient(jnp.clip(end, *limits))


def score_guidance(student: State, clean: State, active: Bool[Array, " b"]) -> Scalar:
    """Mean squared error of the active samples, divided by the number of all samples.

    DirectFlow's equation 9.
    """
    return jnp.mean(jnp.where(active, squared_error_per_sample(student, clean), 0.0))
