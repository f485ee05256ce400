"""The state that a training run passes from step to step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from elir_jax.types import Params


@flax.struct.dataclass
class TrainState:
    """Everything that a step needs, without a device axis; random keys follow from ``step``."""

    step: Any  # steps made so far, skipped ones included, an int32 scalar
    skipped: Any  # the number of skipped steps, an int32 scalar
    params: Params  # the trained parameters
    ema: Params  # their running average; evaluation uses it
    opt_state: Params
    frozen: Params  # pretrained weights that are never updated


def create_state(params: Params, frozen: Params, optimizer) -> TrainState:
    """State before the first step: the average starts at the parameters themselves."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        skipped=jnp.zeros((), jnp.int32),
        params=params,
        ema=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
        frozen=frozen,
    )
