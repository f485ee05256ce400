"""Multi-segment consistency flow matching (equations 8 and 9; Yang et al., 2024).

Two points of one path, ``z_t`` and ``z_r`` with ``r = t + dt``, must point at the same place at the
end of t's segment: ``f(z_t, t) = z_t + (t_end - t) v(z_t, t)``. If r lies beyond the segment, the
target is the path's own point at the end of the segment: the release's, not equation 8's, which
asks the velocity there too (docs/numerics.md has the share of samples). Targets carry no gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.flow.paths import expand_time, interpolate, segment_of
from elir_jax.flow.solvers import Velocity
from elir_jax.losses.reduction import squared_error_per_sample
from elir_jax.types import Latent, Scalar, Time


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
    """Loss for times ``t`` in [0, 1 - dt] and K = ``len(segment_weights)`` segments.

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
