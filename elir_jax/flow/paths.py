"""The straight path between source and target latents, and its segments (equations 7 and 8).

``z_t = t z_1 + (1 - (1 - sigma_min) t) z_0``, whose time derivative is constant.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from elir_jax.types import Latent, Time


def expand_time(t: Time, like: Float[Array, "n h w c"]) -> Float[Array, "b 1 1 1"]:
    """Times in a shape that multiplies latents; no other function does this."""
    if t.shape != like.shape[:1]:
        raise ValueError(f"times {t.shape} do not match the batch of {like.shape}")
    return t[:, None, None, None]


def interpolate(z_0: Latent, z_1: Latent, t: Time, sigma_min: float) -> Latent:
    """The path's point at time ``t`` in [0, 1] (equation 7)."""
    s = expand_time(t, z_0)
    return s * z_1 + (1.0 - (1.0 - sigma_min) * s) * z_0


def path_velocity(z_0: Latent, z_1: Latent, sigma_min: float) -> Latent:
    """Time derivative of :func:`interpolate`, the same at every time."""
    return z_1 - (1.0 - sigma_min) * z_0


class Segment(NamedTuple):
    """The segment of a time, among K equal segments of [0, 1]."""

    index: Int[Array, " b"]  # 0 .. K - 1
    end: Time  # (index + 1) / K


def segment_of(t: Time, num_segments: int) -> Segment:
    """The segment ``(i/K, (i+1)/K]`` that contains ``t``; 0 belongs to the first one.

    A time on the border of two segments belongs to the earlier one, as in the release.
    """
    knots = jnp.asarray(np.linspace(0.0, 1.0, num_segments + 1, dtype=np.float32))
    upper = jnp.maximum(jnp.searchsorted(knots, t, side="left"), 1)
    return Segment(index=upper - 1, end=knots[upper])
