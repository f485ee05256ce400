"""Plain (latent) flow matching, the baseline of Figure 4: regress the path's velocity."""

from typing import NamedTuple

from elir_jax.flow.paths import expand_time, interpolate, path_velocity
from elir_jax.flow.solvers import Velocity
from elir_jax.losses.reduction import mean_squared_error
from elir_jax.types import Latent, Scalar, Time


class FlowMatching(NamedTuple):
    """The loss and the latent at t = 1 that the velocity points at."""

    loss: Scalar
    z_end: Latent


def flow_matching(
    velocity: Velocity, z_0: Latent, z_1: Latent, t: Time, *, sigma_min: float
) -> FlowMatching:
    """``|| v(z_t, t) - (z_1 - (1 - sigma_min) z_0) ||^2`` with t in [0, 1]."""
    z_t = interpolate(z_0, z_1, t, sigma_min)
    v = velocity(z_t, t)
    loss = mean_squared_error(v, path_velocity(z_0, z_1, sigma_min))
    return FlowMatching(loss, z_t + (1.0 - expand_time(t, z_t)) * v)
