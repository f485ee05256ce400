"""A value that is not finite: the error, and what is saved for inspection."""

import itertools
import json
from collections.abc import Callable
from contextlib import suppress

import jax
import numpy as np

from elir_jax.devices import hosts
from elir_jax.errors import DiskError, UserError
from elir_jax.running.records.checkpoint import steps_in, write
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place
from elir_jax.training.state import TrainState

FOLDER = "not_finite"
STORY = "images.json"


class NotFinite(Exception):
    """The metrics ``bad`` of step ``step`` were not finite.

    ``state`` is the state before the step, ``position`` its position in the data, and ``record``
    the numbers of the step's images. If only ``update_norm`` is bad, the moments in ``state`` are
    those after the step. ``earlier`` is an error that would have ended the run by itself. Every
    host raises this at the same step, with its own share of the images.
    """

    def __init__(
        self,
        step: int,
        bad: dict[str, float],
        state: TrainState,
        record: np.ndarray,
        position: dict[str, int],
        earlier: Exception | None = None,
    ):
        super().__init__(step, bad)
        self.step, self.bad, self.state, self.record = step, bad, state, record
        self.position, self.earlier = position, earlier


def images_of(record: np.ndarray, name_of: Callable[[int], str]) -> dict[str, str]:
    """Number -> name of the images in all hosts' batches; every host must ask."""
    records = sorted(int(n) for n in np.unique(hosts.gather(record)))
    return {str(n): name_of(n) for n in records}


def listed(images: dict[str, str]) -> str:
    """The first few numbers."""
    return ", ".join([*images][:16]) + (", ..." if len(images) > 16 else "")


def keep_for_inspection(
    error: NotFinite, workdir: Place, name_of: Callable[[int], str], config: dict
) -> UserError:
    """Write ``error.state`` and the names of the step's images; returns the error to raise.

    ``not_finite/STEP-N/images.json`` names the images. A run that fails in the same way again, as
    one that is started again does, writes nothing more. The state is in the first folder of its
    step, as a checkpoint.
    """
    images = images_of(error.record, name_of)
    kept = ""
    if hosts.is_first():
        try:
            kept = f" (all named in {_keep(error, workdir / FOLDER, images, config)})"
        except Exception as failed:  # must not hide the first error
            kept = f" (the state before it could not be saved: {failed})"
    skipped = int(error.state.skipped)
    before = f" after {skipped} such step(s) that were skipped" if skipped else ""
    also = f"; and {error.earlier}" if error.earlier is not None else ""
    kind = DiskError if isinstance(error.earlier, DiskError) else UserError
    return kind(
        f"step {error.step}: not finite: {', '.join(error.bad)}{before}; images "
        f"{listed(images)}{kept}; no checkpoint contains this step. The same command would fail "
        f"again: lower --config.optimizer.learning_rate, or compute in float32 (--config.dtype), "
        f"with --allow-config-change; or raise --config.max_skipped_steps{also}"
    )


def _keep(error: NotFinite, folder: Place, images: dict[str, str], config: dict) -> Place:
    storage = storage_of(folder)
    story = {"step": error.step, "not_finite": {k: str(v) for k, v in error.bad.items()}}
    text = json.dumps(story | {"images": images}, indent=1)
    earlier: list[Place] = []
    for number in itertools.count(1):
        incident = folder / f"{error.step}-{number}"
        with suppress(FileNotFoundError):
            if storage.read(incident / STORY) == text.encode():
                break  # the same again
        if not storage.exists(incident):
            with storage.whole_file(incident / STORY) as part:
                part.write_text(text)
            break
        earlier.append(incident)
    if not any(steps_in(place) for place in [incident, *earlier]):
        state = jax.tree.map(np.asarray, jax.device_get(error.state))
        write(incident, error.step - 1, state, error.position, config)
    return incident
