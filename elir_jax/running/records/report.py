"""The reports of a training run: progress bar, ``metrics.jsonl``, TensorBoard, loss curves."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import tqdm
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from elir_jax.files import whole_file
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place

METRICS_FILE = "metrics.jsonl"
EVALUATION = "evaluation/"  # prefix of the keys in the row of an evaluation
TERMINAL_INTERVAL = 0.2  # seconds between redraws of the bar
LOG_FILE_INTERVAL = 30.0  # the same if the output is no terminal

Figures = dict[str, dict[str, float]]  # [stage][metric]


class Report:
    """Writes the metrics of a run from step ``start`` on; rows beyond ``start`` are deleted first.

    Such rows come from a run that died after its last checkpoint; their steps are made again.
    """

    def __init__(self, workdir: Path, *, start: int, num_steps: int, batch_size: int):
        self.path = workdir / METRICS_FILE
        _keep_rows(self.path, start)
        self._evaluated = set(read_evaluations(workdir))
        self._file = self.path.open("a")
        board = workdir / "tensorboard"
        board.mkdir(exist_ok=True)
        # Without the package's own queue and thread, which would block forever on a full disk.
        # Its name has the second of the start; two starts in one second need more.
        nanoseconds = f".{time.time_ns() % 10**9:09d}"
        self._board = EventsWriter(str(board / "events"), filename_suffix=nanoseconds)
        again = SessionLog(status=SessionLog.START)  # hides earlier rows from this step on
        self._board.write_event(Event(step=start + 1, wall_time=time.time(), session_log=again))
        self._bar: tqdm.tqdm | None = None
        self._num_steps, self._batch_size = num_steps, batch_size
        self._last_step, self._last_time = start, time.monotonic()

    def advance(self) -> None:
        """Note that one step was made. The bar starts after the first one, which compiles."""
        if self._bar is None:
            interactive = sys.stderr.isatty()
            self._bar = tqdm.tqdm(
                total=self._num_steps,
                initial=self._last_step,
                unit="step",
                mininterval=TERMINAL_INTERVAL if interactive else LOG_FILE_INTERVAL,
                dynamic_ncols=interactive,
            )
        self._bar.update()

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Record the metrics of ``step``, and the images per second since the previous row."""
        now = time.monotonic()
        images = self._batch_size * (step - self._last_step)
        speed = images / max(now - self._last_time, 1e-9)
        self._last_step, self._last_time = step, now
        self._write(step, {"loss": metrics["loss"], **metrics, "images_per_second": speed})
        self._bar.set_postfix_str(
            f"loss {metrics['loss']:.4f}, {speed:.1f} images/s", refresh=False
        )

    def log_skipped(self, step: int, bad: dict[str, float], images: dict[str, str]) -> None:
        """Record a step that was left out, with its bad values and its images by number."""
        self.advance()
        row = {"step": step, "skipped": {name: str(value) for name, value in bad.items()}}
        self._file.write(json.dumps(row | {"images": images}) + "\n")
        self._file.flush()
        names = ", ".join(f"{number} ({name})" for number, name in [*images.items()][:4])
        more = f" and {len(images) - 4} more" if len(images) > 4 else ""
        self.say(f"step {step} skipped, not finite: {', '.join(bad)}; images {names}{more}")

    def say(self, line: str) -> None:
        """Print a line above the progress bar."""
        tqdm.tqdm.write(line, file=sys.stderr)

    def has_evaluation(self, step: int) -> bool:
        """Whether the figures of ``step`` are recorded already."""
        return step in self._evaluated

    def log_evaluation(self, step: int, figures: Figures, seconds: float = 0.0) -> None:
        """Record ``figures`` of ``step`` once; ``seconds`` of measuring do not count as training.

        The row has a key for each figure, ``evaluation/STAGE.METRIC``, as in TensorBoard.
        """
        self._last_time += seconds
        if self.has_evaluation(step):
            return
        self._evaluated.add(step)
        row = {
            f"{EVALUATION}{stage}.{metric}": value
            for stage, found in figures.items()
            for metric, value in found.items()
        }
        self._write(step, row)

    def _write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step} | values) + "\n")
        self._file.flush()
        for name, value in values.items():
            event = Event(step=step, wall_time=time.time(), summary=scalar(name, value))
            self._board.write_event(event)
        self._board.flush()

    def close(self) -> None:
        """Finish the bar and the files."""
        if self._bar is not None:
            self._bar.close()
        self._file.close()
        self._board.close()


def read_metrics(workdir: Place) -> list[dict]:
    """The rows of ``metrics.jsonl`` that have a loss."""
    return [row for row in _read_rows(workdir) if "loss" in row]


def read_evaluations(workdir: Place) -> dict[int, Figures]:
    """``figures[step][stage][metric]`` of every evaluation during training."""
    found: dict[int, Figures] = {}
    for row in _read_rows(workdir):
        for key, value in row.items():
            if key.startswith(EVALUATION):
                stage, _, metric = key.removeprefix(EVALUATION).rpartition(".")
                found.setdefault(row["step"], {}).setdefault(stage, {})[metric] = value
    return found


def _read_rows(workdir: Place) -> list[dict]:
    """All rows; a line that is none, as the last one after a kill, is left out."""
    try:
        lines = storage_of(workdir).read(workdir / METRICS_FILE).splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        with suppress(ValueError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("step"), int)]


def _keep_rows(path: Path, last_step: int) -> None:
    rows = [row for row in _read_rows(path.parent) if row["step"] <= last_step]
    with whole_file(path) as part:
        part.write_text("".join(json.dumps(row) + "\n" for row in rows))


def draw_curves(workdir: Place, folder: Path | None = None) -> Path | None:
    """Draw every loss term over the steps into ``loss.png``; None if nothing was logged.

    The picture is written to ``folder``, or to ``workdir``, which then is a disk's.
    """
    rows = read_metrics(workdir)
    if not rows:
        return None
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    aside = {"step", "images_per_second", "grad_norm", "update_norm", "param_norm"}
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    steps = np.asarray([row["step"] for row in rows])
    for name in rows[-1]:
        if name in aside or name.startswith("seconds_"):
            continue
        values = np.asarray([row.get(name, np.nan) for row in rows], float)
        axes.plot(steps, values, linewidth=2 if name == "loss" else 1, label=name)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title="Training loss and its terms")
    axes.grid(alpha=0.3)
    axes.legend()
    path = (folder or workdir) / "loss.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
