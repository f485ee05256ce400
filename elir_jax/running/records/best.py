"""The best checkpoint by a named figure: ``best.json`` says which one it is.

The file is in the folder of the checkpoints and is written when the checkpoint is complete. The
path ``checkpoints/best`` stands for that checkpoint wherever a checkpoint may be named.
"""

import json
import logging
import math
from typing import NamedTuple

from elir_jax.errors import UserError
from elir_jax.evaluation.names import metric_named
from elir_jax.running.records.checkpoint import FOLDER, steps_in
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place

NAME = "best"

logger = logging.getLogger(__name__)


class Best(NamedTuple):
    """A checkpoint and the figure (``STAGE.METRIC``) that made it the best.

    ``evaluation`` is a digest of what was measured, and how: only figures of the same one compare.
    """

    step: int
    figure: str
    value: float
    evaluation: str = ""


def read_best(folder: Place) -> Best | None:
    """The content of ``best.json`` in ``folder``; None if it is missing or, says the log, damaged.

    Raises OSError if it cannot be read now: the checkpoint that it names must not be forgotten.
    """
    try:
        stored = json.loads(storage_of(folder).read(_file(folder)))
        evaluation = str(stored.get("evaluation", ""))
        return Best(int(stored["step"]), str(stored["figure"]), float(stored["value"]), evaluation)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        logger.warning("%s: damaged; the next evaluation writes it anew", _file(folder))
        return None


def write_best(folder: Place, best: Best) -> None:
    """Write ``best.json``, completely or not at all."""
    with storage_of(folder).whole_file(_file(folder)) as part:
        part.write_text(json.dumps(best._asdict()) + "\n")


def is_better(best: Best | None, figure: str, value: float, evaluation: str = "") -> bool:
    """Whether ``value`` is better than ``best``; equal values and NaN are not."""
    if math.isnan(value):
        return False
    if best is None or (best.figure, best.evaluation) != (figure, evaluation):
        return True
    better = metric_named(figure.rpartition(".")[2]).better
    return better * value > better * best.value


def checkpoint_named(path: Place) -> Place:
    """``CHECKPOINTS/best`` -> the folder that it stands for, ``CHECKPOINTS`` -> its newest one.

    Any other path is returned as it is. Raises UserError if no checkpoint has been marked as the
    best.
    """
    if path.name == FOLDER and (steps := steps_in(path)):
        return path / str(steps[-1])
    if path.name != NAME or storage_of(path).exists(path):
        return path
    best = read_best(path.parent)
    if best is None:
        raise UserError(
            f"{path}: no best checkpoint here; train with --config.keep_best=STAGE.METRIC, or name "
            f"a checkpoint by its step"
        )
    return path.parent / str(best.step)


def _file(folder: Place) -> Place:
    return folder / f"{NAME}.json"
