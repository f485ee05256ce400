"""Optimizer and exponential moving average (Table 5)."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from elir_jax.types import Params


@dataclasses.dataclass(frozen=True)
class AdamW:
    """AdamW with decoupled weight decay on every parameter, as PyTorch's."""

    learning_rate: float = 1e-4
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.02

    def build(self) -> optax.GradientTransformation:
        """The optax transformation."""
        return optax.adamw(
            self.learning_rate, self.b1, self.b2, self.eps, weight_decay=self.weight_decay
        )


def apply_gradients(
    optimizer: optax.GradientTransformation, grads: Params, opt_state: Params, params: Params
) -> tuple[Params, Params]:
    """(new parameters, new optimizer state)."""
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


@dataclasses.dataclass(frozen=True)
class Ema:
    """``ema <- d ema + (1 - d) params`` after each update.

    ``d = decay`` (Table 5), or ``decay (1 - exp(-n / ramp_steps))`` after the n-th update where
    ``ramp_steps`` is not 0; the release ramps over 2000.
    """

    decay: float = 0.999
    ramp_steps: float = 0.0

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise ValueError(f"ema: decay must lie in [0, 1), got {self.decay}")
        if self.ramp_steps < 0:
            raise ValueError(f"ema: ramp_steps must not be negative, got {self.ramp_steps}")

    def decay_at(self, update: Int[Array, ""]) -> Float[Array, ""]:
        """Decay of the ``update``-th update, counted from 1."""
        if not self.ramp_steps:
            return jnp.float32(self.decay)
        return self.decay * -jnp.expm1(-update / self.ramp_steps)

    def update(self, ema: Params, params: Params, update: Int[Array, ""]) -> Params:
        """The average after the ``update``-th update, which led to ``params``."""
        decay = self.decay_at(update)
        return jax.tree.map(lambda e, p: decay * e + (1.0 - decay) * p, ema, params)
