"""The order of operations of a run: data, step, check, log, save. No maths, no configuration."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from elir_jax.errors import UserError
from elir_jax.training.checkpoint import Checkpoints
from elir_jax.training.report import Report
from elir_jax.training.state import TrainState
from elir_jax.training.step import Metrics
from elir_jax.training.stopping import StopRequest
from elir_jax.types import Batch


class Plan(NamedTuple):
    """When a run logs, saves and ends, in steps."""

    num_steps: int
    log_every: int
    checkpoint_every: int


def fit(
    state: TrainState,
    data: Any,
    step_fn: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    plan: Plan,
    *,
    checkpoints: Checkpoints,
    report: Report,
    stop: StopRequest,
    config: dict,
) -> TrainState:
    """Train from ``state`` to ``plan.num_steps`` or until ``stop``; the last state is saved.

    ``data`` is an iterator of batches with ``get_state``. Raises UserError, naming the term, where
    a metric is not finite; nothing is saved of that step or after it.
    """

    def save():
        checkpoints.save(state, data.get_state(), config)

    start = step = int(state.step)
    pending: tuple[int, Metrics] | None = None  # checked while the next step runs
    while step < plan.num_steps and stop.signum is None:
        position = data.get_state()
        try:
            batch = next(data)
        except UserError:  # a broken image: what was trained so far is not lost
            if pending is not None:
                _finish(*pending, plan, report)
            if step > start:
                checkpoints.save(state, position, config)
                checkpoints.wait()
            raise
        state, metrics = step_fn(state, batch)
        step += 1
        if pending is not None:
            _finish(*pending, plan, report)
        pending = (step, metrics)
        if step % plan.checkpoint_every == 0:
            _finish(*pending, plan, report)
            pending = None
            save()
    if pending is not None:
        _finish(*pending, plan, report)
    save()
    checkpoints.wait()
    return state


def _finish(step: int, metrics: Metrics, plan: Plan, report: Report) -> None:
    """Wait for a step's metrics, check them, log them where it is their turn."""
    values = {name: float(value) for name, value in jax.device_get(metrics).items()}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise UserError(
            f"step {step}: not finite: {', '.join(bad)}; nothing of this step was saved. Lower "
            f"--config.optimizer.learning_rate, or compute in float32 (--config.dtype)"
        )
    report.advance()
    if step % plan.log_every == 0 or step == plan.num_steps:
        report.log(step, values)
