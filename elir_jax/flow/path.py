"""The straight path between source and target, its times, and Euler's way along a velocity.

``z_t = t z_1 + (1 - (1 - sigma_min) t) z_0``, whose time derivative is constant (equations 7 and
8). A restoration solves ``dz/dt = v(z, t)`` from t = 0 to t = 1 by forward Euler (Algorithm 1,
stage 2).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from elir_jax.ranges import check_fields
from elir_jax.types import Latent, SampleKeys, Time

State = Float[Array, "b h w c"]  # pixels or latents
Velocity = Callable[[Latent, Time], Latent]
TIMES = ("stratified", "uniform", "logit_normal")


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


def draw_times(kind: str, keys: SampleKeys, slot: Int[Array, " b"], batch_size: int) -> Time:
    """Times in [0, 1] to train a flow at, one a sample, each from the sample's own key.

    ``stratified``: one in each of ``batch_size`` equal strata, ``(slot + u) / batch_size`` with
    the sample's ``slot`` in the global batch, however many devices share it (PMRF's). ``uniform``:
    each by itself. ``logit_normal``: the sigmoid of a normal. Raises ValueError for other kinds.
    """
    if kind == "logit_normal":
        return jax.nn.sigmoid(jax.vmap(jax.random.normal)(keys))
    u = jax.vmap(jax.random.uniform)(keys)
    if kind == "uniform":
        return u
    if kind != "stratified":
        raise ValueError(f"time must be one of {TIMES}, got {kind!r}")
    return stratified(u, slot, batch_size)


def on_grid(t: Time, grid: int) -> Time:
    """The times of [0, 1) rounded down to ``{0, 1, ..., grid - 1} / grid``."""
    return jnp.minimum(jnp.floor(t * grid), grid - 1) / grid


def stratified(u: Time, slot: Int[Array, " b"], batch_size: int) -> Time:
    """``(slot + u) / batch_size``, for ``u`` in [0, 1)."""
    return (slot + u) / batch_size


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


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How the flow makes a restoration.

    ``num_steps`` is M; ``sigma_s`` is the standard deviation of the source noise, in the units of
    the state; without ``noise`` the flow starts at the posterior mean itself. ``fidelity`` is the
    restoration's place on the straight line from the posterior mean, 0, to the flow's end, 1; at 0
    the flow is left out. On that line lie the estimates of least distortion for each perceptual
    quality if its ends are the exact posterior mean and its optimal transport to the distribution
    of sharp pictures (Freirich et al., 2021, https://arxiv.org/abs/2107.02555, theorem 3); ours
    are estimates of both. Raises ValueError if a value is out of range.
    """

    num_steps: int
    sigma_s: float
    noise: bool = True
    fidelity: float = 1.0

    def __post_init__(self):
        check_fields(self, num_steps="[1, inf)", sigma_s="[0, inf)", fidelity="[0, 1]")

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the states after each Euler step."""
        return tuple(f"step_{m + 1}" for m in range(self.num_steps))

    def source(self, mean: State, eps: State) -> State:
        """``z_0``: the posterior mean, with the unit noise ``eps`` unless ``noise`` is off."""
        return mean + self.sigma_s * eps if self.noise else mean

    def states(
        self, velocity: Callable[[State, Time], State], mean: State, eps: State
    ) -> list[State]:
        """``z_0`` and the state after each of the M Euler steps; the last is the restoration."""
        z_0 = self.source(mean, eps)
        return [z_0, *euler_trajectory(velocity, z_0, self.num_steps)]
