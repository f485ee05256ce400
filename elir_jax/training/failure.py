"""A value that is not finite: what is kept of it for inspection."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from elir_jax.errors import UserError
from elir_jax.training import hosts
from elir_jax.training.checkpoint import write
from elir_jax.training.state import TrainState

FOLDER = "not_finite"


class NotFinite(Exception):
    """Step ``step`` had the metrics ``bad``; ``state`` is the one before it, ``record`` its images.

    Every host raises it at the same step, with its own share of the images' numbers.
    """

    def __init__(self, step: int, bad: dict[str, float], state: TrainState, record: np.ndarray):
        super().__init__(step, bad)
        self.step, self.bad, self.state, self.record = step, bad, state, record


def keep_for_inspection(
    error: NotFinite,
    workdir: Path,
    name_of: Callable[[int], str],
    position: dict[str, int],
    config: dict,
) -> UserError:
    """Write the state before the step, and what the step was made of; returns what to tell.

    ``not_finite/STEP/state`` is a checkpoint's; ``not_finite/STEP.json`` names the images.
    """
    records = sorted(int(n) for n in np.unique(hosts.gather(error.record)))
    folder, before = workdir / FOLDER, error.step - 1
    images = {str(n): name_of(n) for n in records}
    if hosts.is_first() and not (folder / str(before)).exists():
        state = jax.tree.map(np.asarray, jax.device_get(error.state))
        write(folder, before, state, position, config)
        story = {"step": error.step, "not_finite": {k: str(v) for k, v in error.bad.items()}}
        (folder / f"{before}.json").write_text(json.dumps(story | {"images": images}, indent=1))
    numbers = ", ".join(images) if len(images) <= 16 else f"{', '.join([*images][:16])}, ..."
    return UserError(
        f"step {error.step}: not finite: {', '.join(error.bad)}; images {numbers} (all named in "
        f"{folder / f'{before}.json'}, the state before it beside it); nothing of this step is in "
        f"a checkpoint. Lower --config.optimizer.learning_rate, or compute in float32 "
        f"(--config.dtype)"
    )
