"""Checkpoints: the whole state, the position in the data and the configuration.

One folder a step: ``state`` (orbax), ``run.json`` (everything else, with a digest of every leaf)
and ``digests.json`` (of every file). It is written in a thread, under another name, and renamed
once it is whole and on the disk: what bears a step's number was finished. Reading verifies every
digest; a folder that fails is named in the log, and the one before it is used.

Only one process writes and reads them (:mod:`elir_jax.devices.hosts`), as NumPy arrays: a
checkpoint does not know on how many devices it was made.
"""

import errno
import json
import logging
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from elir_jax.errors import DiskError, UserError
from elir_jax.running.records.digests import (
    Damaged,
    leaf_digests,
    leaves_by_path,
    seal,
    sync,
    verify,
)
from elir_jax.types import Params

PART = "part-"  # prefix of a folder that is being written
OLD = "old-"  # of one that is being deleted
ASIDE = "damaged"  # folder for checkpoints that were refused
MARGIN = 1 << 20  # bytes, for all that is not arrays

logger = logging.getLogger(__name__)


class Saved(NamedTuple):
    """A checkpoint, read and verified."""

    step: int
    leaves: dict[str, np.ndarray]  # by path, as ``params/estimator/...``
    tree: dict[str, Any]  # the same as orbax nests them
    data: dict[str, int]  # position in the data
    config: dict


def steps_in(folder: Path) -> list[int]:
    """Steps of the finished checkpoints, ascending."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def read(folder: Path) -> Saved:
    """Read and verify one checkpoint.

    Raises Damaged where it is not what was written, or is deleted meanwhile. Raises UserError where
    every file is whole and orbax cannot read them: another version may, so nothing is refused.
    """
    verify(folder)
    try:
        run = json.loads((folder / "run.json").read_bytes())
        with _handler() as reader:
            as_numpy = jax.tree.map(
                lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
                reader.metadata(folder.absolute() / "state").item_metadata.tree,
            )
            tree = reader.restore(
                folder.absolute() / "state", args=ocp.args.PyTreeRestore(restore_args=as_numpy)
            )
        leaves = leaves_by_path(tree)
        stored = run["leaves"]
    except Exception as error:  # whatever orbax and tensorstore may raise
        if not folder.is_dir():
            raise Damaged("it was deleted while it was read") from error
        if isinstance(error, (OSError, MemoryError)):  # the machine's trouble is no damage
            raise
        raise UserError(
            f"{folder}: every file is as it was written, but orbax-checkpoint {ocp.__version__} "
            f"cannot read it ({_shortly(error)}); install the version that wrote it, or remove "
            f"what stands in its way, and run the same command again"
        ) from error
    if stored != leaf_digests(leaves):
        raise Damaged("its arrays are not what was written")
    return Saved(run["step"], leaves, tree, run["data"], run["config"])


def read_newest(folder: Path) -> Saved | None:
    """The newest checkpoint that verifies; None where there never was one.

    Refused ones are named in the log. Raises UserError where every one is refused: a run that
    starts cold in their place would bury what can perhaps be saved.
    """
    refused: dict[int, str] = {}
    while steps := [step for step in steps_in(folder) if step not in refused]:
        try:
            return read(folder / str(steps[-1]))
        except Damaged as error:
            if not (folder / str(steps[-1])).is_dir():
                continue  # deleted by a run that writes here, as old: look again
            refused[steps[-1]] = str(error)
            logger.warning("refused checkpoint %s: %s", folder / str(steps[-1]), error)
    if refused:
        raise UserError(
            f"{folder}: no checkpoint is whole: "
            + "; ".join(f"{step}: {why}" for step, why in refused.items())
            + "; restore them from a copy, or choose another --workdir to start anew"
        )
    return None


def read_averaged(folder: Path) -> tuple[int, Params, Params]:
    """(step, averaged weights, frozen weights) of the newest checkpoint, whatever its network.

    Arrays are NumPy's. Raises UserError where there is no whole checkpoint.
    """
    saved = read_newest(folder)
    if saved is None:
        raise UserError(f"{folder}: no checkpoint here; train first, or name the run's --workdir")
    return saved.step, saved.tree["ema"], saved.tree["frozen"]


def arrange(saved: Saved, like: Any, folder: Path) -> Any:
    """The checkpoint's arrays in the structure of ``like``.

    Raises UserError, naming the first array, where it belongs to another network.
    """

    def describe(leaf):
        return "absent" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"

    wanted = leaves_by_path(like)
    for path in [*wanted, *saved.leaves]:
        there, here = describe(saved.leaves.get(path)), describe(wanted.get(path))
        if there != here:
            raise UserError(
                f"{folder / str(saved.step)}: the checkpoint belongs to another network: {path} is "
                f"{there} there and {here} in this configuration; use its own configuration or "
                f"another --workdir"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [saved.leaves[path] for path in wanted])


class Checkpoints:
    """Writes the checkpoints of one run: the newest ``keep``, and every ``every``-th step's.

    ``every`` = 0 keeps no others. Leftovers of a run that was killed are cleared at the start, and
    checkpoints newer than ``start`` (refused ones, that is) are moved aside.
    """

    def __init__(self, folder: Path, keep: int = 2, every: int = 0, start: int = 0):
        self.folder, self._keep, self._every = folder.absolute(), keep, every
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UserError(
                f"{self.folder}: is a file; checkpoints want a folder of this name"
            ) from None
        for path in self.folder.iterdir():
            if path.name.startswith((PART, OLD)):
                shutil.rmtree(path, ignore_errors=True)
        for step in steps_in(self.folder):
            if step > start:
                self._set_aside(step)
        self.saved = max(steps_in(self.folder), default=None)
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._saving: Future | None = None

    def save(self, state: Any, data: dict[str, int], config: dict) -> None:
        """Start saving ``state`` under the number of its step, where it is not saved already.

        Waits for the save before it, and raises DiskError where that one failed.
        """
        self.wait()
        step = int(state.step)
        if self.saved == step:
            return
        # A copy: the next step overwrites the state's own memory.
        copy = jax.tree.map(lambda leaf: np.array(leaf), jax.device_get(state))
        self._saving = self._pool.submit(self._save, step, copy, data, config)

    def wait(self) -> None:
        """Wait until what was started is on the disk. Raises DiskError where it could not be."""
        saving, self._saving = self._saving, None
        if saving is None:
            return
        try:
            self.saved = saving.result()
        except Exception as error:  # orbax and tensorstore have errors of their own for a full disk
            last = f"step {self.saved}" if self.saved is not None else "none"
            raise DiskError(
                f"{self.folder}: a checkpoint could not be saved ({_shortly(error)}); the last "
                f"whole one is {last}; make room, then run the same command again"
            ) from error

    def close(self) -> None:
        """Let what was started come to its end; errors are :meth:`wait`'s to tell."""
        self._pool.shutdown()

    def _save(self, step: int, state: Any, data: dict[str, int], config: dict) -> int:
        write(self.folder, step, state, data, config)
        newest = steps_in(self.folder)[-self._keep :]
        for old in steps_in(self.folder):
            if old not in newest and not (self._every and old % self._every == 0):
                doomed = self.folder / f"{OLD}{old}"
                try:
                    (self.folder / str(old)).rename(doomed)
                    shutil.rmtree(doomed)
                except OSError as error:  # a reader may hold it; the next start clears it
                    logger.warning("%s: not deleted yet (%s)", doomed, error.strerror)
        return step

    def _set_aside(self, step: int) -> None:
        aside = self.folder / ASIDE
        aside.mkdir(exist_ok=True)
        target, n = aside / str(step), 1
        while target.exists():
            target, n = aside / f"{step}-{n}", n + 1
        (self.folder / str(step)).rename(target)


def write(folder: Path, step: int, state: Any, data: dict[str, int], config: dict) -> None:
    """Write one checkpoint; it appears under its name when it is whole.

    Raises OSError where there is no room for it, before anything is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + MARGIN
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    part = folder / f"{PART}{step}"
    shutil.rmtree(part, ignore_errors=True)  # of a try that failed
    part.mkdir(parents=True)
    try:
        _fill(part, step, state, data, config)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # the room may serve the next try
        raise
    os.rename(part, folder / str(step))
    sync(folder)


def _fill(part: Path, step: int, state: Any, data: dict[str, int], config: dict) -> None:
    leaves = leaf_digests(leaves_by_path(state))
    run = {"step": step, "leaves": leaves, "data": data, "config": config}
    (part / "run.json").write_text(json.dumps(run, indent=1))
    with _handler() as writer:
        writer.save(part.absolute() / "state", args=ocp.args.PyTreeSave(state))
    seal(part)


def _handler() -> ocp.Checkpointer:
    """Orbax for this process alone: the others neither write nor wait."""
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix="checkpoint",
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _shortly(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).partition("\n")[0] or type(error).__name__
    return "No space left on device" if "No space left" in str(error) else text[:200]
