"""Algorithm 1, stage 2: from a posterior mean, with noise, along the flow in M Euler steps."""

import dataclasses
from collections.abc import Callable

from jaxtyping import Array, Float

from elir_jax.flow.solvers import euler_trajectory
from elir_jax.ranges import check_fields
from elir_jax.types import Time

State = Float[Array, "b h w c"]


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
