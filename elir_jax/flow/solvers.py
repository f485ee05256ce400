"""Forward Euler for ``dz/dt = v(z, t)`` from t = 0 to t = 1 (Algorithm 1, stage 2)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.types import Latent, Time

Velocity = Callable[[Latent, Time], Latent]


def _euler_step(velocity: Velocity, z: Latent, k, num_steps: int) -> Latent:
    t = jnp.full(z.shape[:1], k / num_steps, jnp.float32)
    return z + velocity(z, t) / num_steps


def euler(velocity: Velocity, z_0: Latent, num_steps: int) -> Latent:
    """Latent at t = 1 after ``num_steps`` (M) equal steps from ``z_0`` at t = 0."""
    _check(num_steps)
    return jax.lax.fori_loop(0, num_steps, lambda k, z: _euler_step(velocity, z, k, num_steps), z_0)


def euler_trajectory(
    velocity: Velocity, z_0: Latent, num_steps: int
) -> Float[Array, "m b lh lw lc"]:
    """Latents after each of the ``num_steps`` steps; the last one is that of :func:`euler`."""
    _check(num_steps)

    def body(k, carry):
        z, states = carry
        z = _euler_step(velocity, z, k, num_steps)
        return z, states.at[k].set(z)

    states = jnp.zeros((num_steps, *z_0.shape), z_0.dtype)
    return jax.lax.fori_loop(0, num_steps, body, (z_0, states))[1]


def _check(num_steps: int) -> None:
    if num_steps < 1:
        raise ValueError(f"Euler needs at least one step, got {num_steps}")
