"""Optimizer and exponential moving average (Table 5)."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from elir_jax.types import Params

SCHEDULES = ("constant", "cosine")


@dataclasses.dataclass(frozen=True)
class AdamW:
    """AdamW with decoupled weight decay on every parameter, as PyTorch's.

    The learning rate rises linearly from 0 over ``warmup_steps``, then stays (``constant``) or
    falls to 0 at the run's last step along half a cosine (``cosine``). Gradients are scaled to a
    global norm of at most ``clip_norm``; 0 leaves them as they are.
    """

    learning_rate: float = 1e-4
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.02
    schedule: str = "constant"
    warmup_steps: int = 0
    clip_norm: float = 0.0

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule={self.schedule}: unknown; one of {', '.join(SCHEDULES)}")
        if self.warmup_steps < 0 or self.clip_norm < 0:
            raise ValueError("warmup_steps and clip_norm must not be negative")

    def rate(self, num_steps: int) -> optax.ScalarOrSchedule:
        """The learning rate, a function of the update's number from 0 unless it is constant."""
        if self.schedule == "cosine":
            if self.warmup_steps >= num_steps:
                raise ValueError(f"warmup_steps={self.warmup_steps}: must be below num_steps")
            return optax.warmup_cosine_decay_schedule(
                0.0, self.learning_rate, self.warmup_steps, num_steps
            )
        if self.warmup_steps:
            return optax.linear_schedule(0.0, self.learning_rate, self.warmup_steps)
        return self.learning_rate

    def build(self, num_steps: int) -> optax.GradientTransformation:
        """The optax transformation of a run of ``num_steps`` updates."""
        adamw = optax.adamw(
            self.rate(num_steps), self.b1, self.b2, self.eps, weight_decay=self.weight_decay
        )
        if not self.clip_norm:
            return adamw
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), adamw)


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
