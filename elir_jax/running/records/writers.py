"""Everything that a run writes while it trains; only the first host writes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from elir_jax.devices import hosts
from elir_jax.errors import DiskError
from elir_jax.running.records.best import NAME
from elir_jax.running.records.checkpoint import FOLDER, shortly
from elir_jax.running.records.keeping import Checkpoints
from elir_jax.running.records.ledger import FILE, Ledger
from elir_jax.running.records.report import METRICS_FILE, Figures, Report
from elir_jax.running.records.room import remedy
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Outgoing, Place

logger = logging.getLogger(__name__)


class Writers:
    """Checkpoints, report and ledger; on other hosts only the ledger, in memory.

    Report and ledger write into ``out``, which brings them to the folder of ``rows``.
    """

    def __init__(
        self,
        ledger: Ledger,
        checkpoints: Checkpoints | None,
        report: Report | None,
        out: Outgoing | None,
        rows: Place,
    ):
        self.ledger, self._checkpoints, self._report = ledger, checkpoints, report
        self._out, self._rows = out, rows

    def save(self, state: Any, position: dict[str, int], config: dict) -> None:
        """Start saving, rows first; rows that cannot be sent do not cost the checkpoint.

        Raises DiskError if the last sending of rows or the previous save failed.
        """
        if self._checkpoints is None:
            return
        try:
            with _writing(self._rows):
                self._out.send()
        finally:
            self._checkpoints.save(state, position, config, after=self._after_rows)

    def _after_rows(self) -> None:
        """Wait for the rows before a checkpoint; their next sending tells of an error."""
        with suppress(OSError):
            self._out.wait()

    def send(self) -> None:
        """Bring all rows to their place, and wait. Raises DiskError if they cannot be written."""
        if self._report is not None:
            with _writing(self._rows):
                self._out.send()
                self._out.wait()

    def wait(self) -> None:
        """Wait until the last save is on the disk. Raises DiskError if it failed."""
        if self._checkpoints is not None:
            self._checkpoints.wait()

    def advance(self, step: int) -> None:
        """Note that ``step`` was made."""
        self.ledger.made(step)
        if self._report is not None:
            self._report.advance()

    def skip(self, step: int, bad: dict[str, float], images: dict[str, str]) -> None:
        """A step with values that are not finite was left out. Raises DiskError."""
        self.ledger.made(step)
        if self._report is not None:
            with _writing(self._rows):
                self._report.log_skipped(step, bad, images)
                self._out.send(now=False)

    def warn(self, lines: list[str]) -> None:
        """Tell people, without breaking the progress bar."""
        if self._report is not None:
            for line in lines:
                self._report.say(f"warning: {line}")

    def log(self, step: int, values: dict[str, float]) -> None:
        """Record a step's metrics and the ledger. Raises DiskError if they cannot be written."""
        if self._report is not None:
            with _writing(self._rows):
                self._report.log(step, values | self.ledger.write())
                self._out.send(now=False)

    def has_evaluation(self, step: int) -> bool:
        """Whether the figures of ``step`` are recorded already; on other hosts True."""
        return self._report is None or self._report.has_evaluation(step)

    def log_evaluation(
        self,
        step: int,
        figures: Figures,
        seconds: float = 0.0,
        save: Callable[[], None] = lambda: None,
    ) -> None:
        """Record an evaluation that took ``seconds``; if it is the best, keep its checkpoint.

        ``save`` starts saving the step, if it is not saved yet. The row is written last: if it is
        missing, the next start measures again. Raises DiskError if writing fails.
        """
        checkpoints = self._checkpoints
        if checkpoints is not None and checkpoints.is_best(figures):
            self.ledger.turn("save")
            save()
            checkpoints.wait()
            with _writing(checkpoints.folder):
                checkpoints.mark_best(step, figures)
        if self._report is not None:
            with _writing(self._rows):
                self._report.log_evaluation(step, figures, seconds)
                self._out.send()

    def summary(self) -> str:
        """Lines of text: where the seconds went, and which checkpoint is the best."""
        best = None if self._checkpoints is None else self._checkpoints.best
        if best is None:
            return self.ledger.summary()
        return (
            f"{self.ledger.summary()}\nbest checkpoint: {self._checkpoints.folder / NAME}, step "
            f"{best.step} ({best.figure} {best.value:.4g})"
        )


@contextmanager
def _writing(path: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = shortly(error)
        raise DiskError(f"{path}: cannot be written ({reason}); {remedy(reason)}") from error


@contextmanager
def open_writers(
    workdir: Place,
    *,
    start: int,
    num_steps: int,
    batch_size: int,
    keep: int,
    keep_every: int,
    keep_best: str = "",
    evaluation: str = "",
    began: float,
) -> Iterator[Writers]:
    """Writers of a run that continues from step ``start`` and began at ``began`` (monotonic).

    ``evaluation`` is a digest of what is measured: the best checkpoint is by one evaluation.
    """

    def open_all() -> tuple[Checkpoints, Report, Ledger, Outgoing] | None:
        if not hosts.is_first():
            return None
        try:
            checkpoints = Checkpoints(
                workdir / FOLDER, keep, keep_every, start, keep_best, evaluation
            )
            out = storage_of(workdir).outgoing(workdir, METRICS_FILE, FILE)
            return (
                checkpoints,
                Report(out.folder, start=start, num_steps=num_steps, batch_size=batch_size),
                Ledger(out.folder / FILE, began),
                out,
            )
        except OSError as error:
            raise DiskError(
                f"{error.filename or workdir}: cannot be read or written ({shortly(error)})"
            ) from error

    opened, rows = hosts.agreed(open_all), workdir / METRICS_FILE
    if opened is None:
        yield Writers(Ledger(None, began), None, None, None, rows)
        return
    checkpoints, report, ledger, out = opened
    try:
        yield Writers(ledger, checkpoints, report, out, rows)
    finally:
        checkpoints.close()
        for end in (ledger.write, report.close, out.close):  # each, even if one fails
            try:
                end()
            except OSError as error:
                logger.warning("%s: the last rows may be missing (%s)", rows, shortly(error))
