"""The checkpoints of one run: written in a thread, and deleted when newer ones are complete."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from elir_jax.errors import DiskError, UserError
from elir_jax.running.records.best import Best, is_better, read_best, write_best
from elir_jax.running.records.checkpoint import shortly, steps_in, write
from elir_jax.running.records.room import remedy
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place

ASIDE = "damaged"  # folder for damaged checkpoints

logger = logging.getLogger(__name__)


class Checkpoints:
    """Writes and keeps the checkpoints of one run: the newest, those at some steps, and the best.

    It keeps the newest ``keep``, those whose step ``every`` divides (0: none), and the best by
    ``figure`` (``STAGE.METRIC``) of this ``evaluation``, a digest; without ``figure``, the best one
    of an earlier start stays. At the start, incomplete folders of a killed run are deleted, and
    checkpoints newer than ``start``, which are damaged, are moved aside.
    """

    def __init__(
        self,
        folder: Place,
        keep: int = 2,
        every: int = 0,
        start: int = 0,
        figure: str = "",
        evaluation: str = "",
    ):
        self._storage = storage_of(folder)
        self.folder, self._keep, self._every = self._storage.absolute(folder), keep, every
        try:
            self._storage.prepare(self.folder)
        except FileExistsError:
            raise UserError(
                f"{self.folder}: is a file, but must be the folder of the checkpoints; remove it"
            ) from None
        for step in steps_in(self.folder):
            if step > start:
                self._set_aside(step)
        self.saved = max(steps_in(self.folder), default=None)
        best = read_best(self.folder)
        self.best = best if best is not None and best.step in steps_in(self.folder) else None
        self._figure, self._evaluation = figure, evaluation
        if figure and self.best is not None and self.best.evaluation != evaluation:
            logger.warning(
                "%s: the best checkpoint, step %d, is by another evaluation (other held-out images "
                "or settings); the next figure is not compared with it",
                self.folder, self.best.step,
            )  # fmt: skip
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._saving: Future | None = None

    def save(
        self,
        state: Any,
        data: dict[str, int],
        config: dict,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """Start saving ``state`` under the number of its step, unless it is saved already.

        Waits for the previous save, and raises DiskError if that one failed. The thread that saves
        calls ``after`` first.
        """
        self.wait()
        step = int(state.step)
        if self.saved == step:
            return
        # A copy: the next step overwrites the state's own memory.
        copy = jax.tree.map(lambda leaf: np.array(leaf), jax.device_get(state))
        self._saving = self._pool.submit(self._save, step, copy, data, config, after)

    def wait(self) -> None:
        """Wait until the last save is on the disk. Raises DiskError if it failed."""
        saving, self._saving = self._saving, None
        if saving is None:
            return
        try:
            self.saved = saving.result()
        except Exception as error:  # orbax and tensorstore have their own errors for a full disk
            last = f"step {self.saved}" if self.saved is not None else "none"
            reason = shortly(error)
            raise DiskError(
                f"{self.folder}: a checkpoint could not be saved ({reason}); the last complete one "
                f"is {last}; {remedy(reason)}"
            ) from error

    def is_best(self, figures: Mapping[str, Mapping[str, float]]) -> bool:
        """Whether ``figures[stage][metric]`` are better than the best checkpoint's."""
        return is_better(self.best, self._figure, self._value(figures), self._evaluation)

    def mark_best(self, step: int, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Make the saved checkpoint of ``step`` the best; the previous best may then be deleted."""
        best = Best(step, self._figure, self._value(figures), self._evaluation)
        write_best(self.folder, best)
        self.best = best

    def _value(self, figures: Mapping[str, Mapping[str, float]]) -> float:
        stage, _, metric = self._figure.rpartition(".")
        return figures.get(stage, {}).get(metric, math.nan)

    def close(self) -> None:
        """Wait for the last save to end. If nobody asked :meth:`wait`, the log has its error."""
        self._pool.shutdown()
        try:
            self.wait()
        except DiskError as error:
            logger.warning("%s", error)

    def _save(
        self, step: int, state: Any, data: dict[str, int], config: dict, after: Callable[[], None]
    ) -> int:
        after()
        write(self.folder, step, state, data, config)
        steps: list[int] = []
        with _later(self.folder):
            steps = steps_in(self.folder)
        kept = {*steps[-self._keep :], self.best.step if self.best else step}
        for old in steps:
            if old not in kept and not (self._every and old % self._every == 0):
                with _later(self.folder / str(old)):
                    self._storage.remove(self.folder / str(old))
        return step

    def _set_aside(self, step: int) -> None:
        aside = self.folder / ASIDE
        target, n = aside / str(step), 1
        while self._storage.exists(target):
            target, n = aside / f"{step}-{n}", n + 1
        self._storage.move(self.folder / str(step), target)


@contextmanager
def _later(place: Place) -> Iterator[None]:
    """What cannot be deleted now, the next save or start deletes: a reader may use it."""
    try:
        yield
    except OSError as error:
        logger.warning("%s: old checkpoints are not deleted yet (%s)", place, shortly(error))
