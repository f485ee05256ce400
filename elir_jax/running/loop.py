"""The order of operations of a run: data, step, check, log, save. No maths, no configuration.

Every host makes the same steps and gets the same verdict on each. The loop reads verdicts and
metrics one step late, while the next step runs: if a step was not applied, the one after it is not
applied either (:mod:`elir_jax.training.step`).
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from elir_jax.devices import hosts
from elir_jax.devices.mesh import StepFn
from elir_jax.errors import UserError
from elir_jax.evaluation.measure import Evaluation
from elir_jax.running.failure import NotFinite, images_of
from elir_jax.running.feeding import Feeding
from elir_jax.running.profiling import Profiler
from elir_jax.running.records.writers import Writers
from elir_jax.running.stopping import StopRequest
from elir_jax.running.watching import Watch
from elir_jax.training.state import TrainState
from elir_jax.training.step import Metrics, StepRequest, Verdict
from elir_jax.types import Params, Sent


@runtime_checkable
class Evaluate(Protocol):
    """The figures of averaged and frozen weights; None on every host if one was ``stopping``."""

    def __call__(
        self, params: Params, frozen: Params, *, stopping: Callable[[], bool]
    ) -> Evaluation | None: ...


class Plan(NamedTuple):
    """When a run logs, saves, evaluates and ends, in steps."""

    num_steps: int
    log_every: int
    checkpoint_every: int
    evaluate_every: int = 0  # 0: never


class Outcome(NamedTuple):
    """How a run ended."""

    state: TrainState
    stopped: bool  # whether it ended before its last step, because a host was told to stop


def fit(
    state: TrainState,
    data: Any,
    step_fn: StepFn,
    plan: Plan,
    *,
    writers: Writers,
    stop: StopRequest,
    config: dict,
    evaluate: Evaluate | None = None,
    image_name: Callable[[int], str] = str,
    profiler: Profiler | None = None,
) -> Outcome:
    """Train from ``state`` to ``plan.num_steps`` or until ``stop``; the last state is saved.

    ``data`` is a :class:`elir_jax.data.pipeline.TrainingBatches` or similar. If a metric is not
    finite, raises NotFinite with the state before that step, and saves nothing of the step. If
    ``data``, ``evaluate`` or writing raises an exception, the run ends on every host, and the
    finished steps are saved if possible; with one host, whatever raises it. The caller evaluates
    the last step.
    """
    profiler = profiler or Profiler(Path())
    run = _Loop(state, data, step_fn, plan, writers, stop, config, evaluate, image_name, profiler)
    try:
        with Feeding(data) as feeding:
            run.train(feeding)
        return run.finish()
    finally:
        profiler.close()


class _Loop:
    def __init__(
        self, state, data, step_fn, plan, writers, stop, config, evaluate, image_name, profiler
    ):
        self.state, self.data, self.step_fn, self.plan = state, data, step_fn, plan
        self.writers, self.stop, self.config, self.evaluate = writers, stop, config, evaluate
        self.image_name, self.profiler, self.watch = image_name, profiler, Watch()
        self.ledger = writers.ledger
        self.alone = hosts.alone()
        # What ends the run in turn. Other hosts may wait for one that failed in an unforeseen way;
        # it must end at once, so that they end too.
        self.kept = Exception if self.alone else UserError
        self.start = self.step = int(state.step)
        self.position = data.get_state()
        self.pending: tuple[int, Metrics, Verdict, np.ndarray] | None = None
        self.error: Exception | None = None
        self.told: set[str] = set()  # errors after the first
        self.stopped = self.fault = False

    def train(self, feeding: Feeding) -> None:
        """Make the steps; :meth:`finish` raises the error that ended them, if any."""
        try:
            self._train(feeding)
        except NotFinite:
            raise
        except self.kept as error:
            self.error = self.error or error

    def _train(self, feeding: Feeding) -> None:
        stop = self.stop
        stop.nothing_to_save = self.alone  # until the first step is made
        self._make_up_evaluation()
        while self.step < self.plan.num_steps and not (self.stopped or self.fault):
            batch = self._take(feeding)
            stopping = self.error is None and stop.signum is not None
            if self.alone and (stopping or batch is None):  # no other host to agree with
                self.stopped, self.fault = stopping, not stopping
                break
            request = StepRequest(self.step, float(stopping), float(batch is None))
            self._make(self.data.blank() if batch is None else batch, request)
            if self.step % self.plan.checkpoint_every == 0:
                self._look_at_last()
                if not (self.stopped or self.fault):
                    self.ledger.turn("save")
                    self._try(self._save)
            if self._evaluation_is_due():
                self._look_at_last()
                if not (self.stopped or self.fault):
                    self._try(self._evaluate)
        self._look_at_last()

    def finish(self) -> Outcome:
        """Save the last state; if an error ended the run, raise it on every host."""
        self.ledger.turn("save")
        self._try(self.writers.wait)  # if the previous save failed, the next may still succeed
        if self.step > self.start or self.error is None:
            self._try(self._save)
            self._try(self.writers.wait)
        hosts.agreed(self._raise)
        return Outcome(self.state, self.stopped)

    def _evaluation_is_due(self) -> bool:
        """Whether ``step`` is evaluated here; the same on every host."""
        every = self.plan.evaluate_every if self.evaluate is not None else 0
        return bool(every) and self.step % every == 0 and 0 < self.step < self.plan.num_steps

    def _make_up_evaluation(self) -> None:
        """Evaluate the first step, if an earlier start ended before it was evaluated."""
        if self._evaluation_is_due() and hosts.decided_by_first(
            lambda: not self.writers.has_evaluation(self.step)
        ):
            self._try(self._evaluate)

    def _evaluate(self) -> None:
        """Measure on every host, unless one is told to stop first; record the figures."""
        self.ledger.turn("evaluation")
        began = time.monotonic()
        found = self.evaluate(self.state.ema, self.state.frozen, stopping=self._is_stopping)
        if found is not None:
            seconds = time.monotonic() - began
            self.writers.log_evaluation(self.step, found.figures, seconds, self._save)
            self.writers.warn(found.alarms)

    def _save(self) -> None:
        self.writers.save(self.state, self._position(int(self.state.step)), self.config)

    def _is_stopping(self) -> bool:
        return self.stop.signum is not None or self.error is not None

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error
        if self.fault:
            raise UserError(
                f"another process could not continue after step {self.step}; its own log gives the "
                f"reason"
            )

    def _take(self, feeding: Feeding) -> Sent | None:
        """This host's next batch; None if there is none, or if a signal came first."""
        self.ledger.turn("data")
        if self.error is not None:
            return None
        try:
            return feeding.take(self.stop)
        except Exception as error:
            if self.stop.signum is None:  # else: its workers died of the same signal
                self.error = error
            return None

    def _make(self, batch: Sent, request: StepRequest) -> None:
        first = self.step == self.start
        self._try(self.profiler.before, self.step + 1)
        self.ledger.turn("compile" if first else self.ledger.account_of(self.step + 1))
        self.state, metrics, verdict = self.step_fn(self.state, batch, request)
        self.step += 1
        self.stop.nothing_to_save = False
        previous, self.pending = self.pending, (self.step, metrics, verdict, batch.record)
        if previous is not None:
            self._look_at(*previous)

    def _look_at_last(self) -> None:
        if self.pending is not None:
            last, self.pending = self.pending, None
            self.ledger.turn(self.ledger.account_of(last[0]))
            self._look_at(*last)

    def _look_at(self, step: int, metrics: Metrics, verdict: Verdict, record: np.ndarray) -> None:
        """Wait for a step's verdict, act on it, and log its metrics if they are due."""
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        applied, stop, empty, skipped = (bool(flag) for flag in jax.device_get(verdict))
        self._try(self.profiler.after, step)
        self.stopped |= stop
        self.fault |= empty and not stop
        bad = {name: value for name, value in values.items() if not math.isfinite(value)}
        if skipped:
            self._try(self.writers.skip, step, bad, images_of(record, self.image_name))
            return
        if applied:
            self._try(self.writers.advance, step)
            self._try(self.writers.warn, self.watch.look(step, values))
            if step % self.plan.log_every == 0 or step == self.plan.num_steps:
                self._try(self.writers.log, step, values)
            return
        if not empty:
            self._try(self.writers.wait)  # a save that failed must be told too
            before = self._position(step - 1)
            raise NotFinite(step, bad, self.state, record, before, self.error)
        self.step, self.pending = step - 1, None  # the step after it was not applied either

    def _try(self, write, *args) -> None:
        """Call ``write``; its error is kept and ends the run in turn.

        The first error counts; others are told once, for they may have cost a checkpoint.
        """
        try:
            write(*args)
        except self.kept as error:
            if self.error is None:
                self.error = error
            elif str(error) not in self.told | {str(self.error)}:
                self.told.add(str(error))
                self.writers.warn([str(error)])

    def _position(self, step: int) -> dict[str, int]:
        """The position in the data after ``step``; the feeding is ahead of it."""
        return self.data.after(self.position, step - self.start)
