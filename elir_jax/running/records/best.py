"""The best checkpoint by a named figure: ``best.json`` says which one it is.

It lies beside the checkpoints and is written once the checkpoint is whole. The path
``checkpoints/best`` names the checkpoint that it points to, wherever one may be named.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

from elir_jax.errors import UserError
from elir_jax.evaluation.names import metric_named
from elir_jax.files import whole_file

NAME = "best"


class Best(NamedTuple):
    """A checkpoint and the figure (``STAGE.METRIC``) that made it the best."""

    step: int
    figure: str
    value: float


def read_best(folder: Path) -> Best | None:
    """What ``best.json`` in ``folder`` says; None if there is none or it cannot be read."""
    try:
        stored = json.loads(_file(folder).read_text())
        return Best(int(stored["step"]), str(stored["figure"]), float(stored["value"]))
    except (OSError, ValueError, TypeError, KeyError):  # damaged: the next evaluation writes it
        return None


def write_best(folder: Path, best: Best) -> None:
    """Write ``best.json``, whole or not at all."""
    with whole_file(_file(folder)) as part:
        part.write_text(json.dumps(best._asdict()) + "\n")


def is_better(best: Best | None, figure: str, value: float) -> bool:
    """Whether ``value`` beats ``best``; of equal ones, and of NaN, the earlier stays."""
    if math.isnan(value):
        return False
    if best is None or best.figure != figure:
        return True
    better = metric_named(figure.rpartition(".")[2]).better
    return better * value > better * best.value


def checkpoint_named(path: Path) -> Path:
    """``CHECKPOINTS/best`` -> the folder that it names; any other path as it is.

    Raises UserError if no checkpoint has been marked as the best.
    """
    if path.name != NAME or path.exists():
        return path
    best = read_best(path.parent)
    if best is None:
        raise UserError(
            f"{path}: no best checkpoint here; train with --config.keep_best=STAGE.METRIC, or name "
            f"a checkpoint by its step"
        )
    return path.parent / str(best.step)


def _file(folder: Path) -> Path:
    return folder / f"{NAME}.json"
