"""Checkpoints: the whole state, the position in the data and the configuration.

One folder a step: ``state`` (orbax), ``run.json`` (everything else, with a digest of every leaf)
and ``digests.json`` (of every file). It is written under another name, and renamed once it is whole
and on the disk: what bears a step's number was finished. Frozen weights lie beside it, once for all
steps (:mod:`elir_jax.running.records.frozen`), and ``run.json`` names their digest; checkpoints
that hold their own are read too. Reading verifies every digest; a folder that fails is named in the
log, and the one before it is used.

Only one process writes and reads them (:mod:`elir_jax.devices.hosts`), as NumPy arrays: a
checkpoint does not know on how many devices it was made.
"""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from elir_jax.errors import UserError
from elir_jax.running.records.arrays import LIBRARY, load_tree, save_tree
from elir_jax.running.records.digests import (
    Damaged,
    leaf_digests,
    leaves_by_path,
    seal,
    sync,
    verify,
)
from elir_jax.running.records.frozen import keep_frozen, read_frozen, verify_frozen
from elir_jax.running.records.room import PART, check_room
from elir_jax.types import Params

logger = logging.getLogger(__name__)
# What a leaf that a checkpoint lacks was before there was such a leaf.
ADDED = {"skipped": np.zeros((), np.int32)}


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
        tree = load_tree(folder / "state")
        if run.get("frozen"):
            verify_frozen(folder.parent, run["frozen"])
            tree["frozen"] = read_frozen(folder.parent, run["frozen"])
        leaves = leaves_by_path(tree)
        stored = run["leaves"]
    except Damaged:
        raise
    except Exception as error:  # whatever orbax and tensorstore may raise
        if not folder.is_dir():
            raise Damaged("it was deleted while it was read") from error
        if isinstance(error, (OSError, MemoryError)):  # the machine's trouble is no damage
            raise
        raise UserError(
            f"{folder}: every file is as it was written, but {LIBRARY} cannot "
            f"read it ({shortly(error)}); install the version that wrote it, or remove "
            f"what stands in its way, and run the same command again"
        ) from error
    if stored != leaf_digests(leaves):
        raise Damaged("its arrays are not what was written")
    return Saved(run["step"], leaves, tree, run["data"], run["config"])


def is_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` is one checkpoint, rather than a run's folder."""
    return (folder / "run.json").is_file()


def read_chosen(folder: Path) -> Saved:
    """:func:`read` of one checkpoint that the user named. Raises UserError if it is damaged."""
    try:
        return read(folder)
    except Damaged as error:
        raise UserError(f"{folder}: {error}; name another checkpoint") from error


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

    wanted, leaves = leaves_by_path(like), ADDED | saved.leaves
    for path in [*wanted, *leaves]:
        there, here = describe(leaves.get(path)), describe(wanted.get(path))
        if there != here:
            raise UserError(
                f"{folder / str(saved.step)}: the checkpoint belongs to another network: {path} is "
                f"{there} there and {here} in this configuration; use its own configuration or "
                f"another --workdir"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[path] for path in wanted])


def write(folder: Path, step: int, state: Any, data: dict[str, int], config: dict) -> None:
    """Write one checkpoint; it appears under its name when it is whole.

    Its frozen weights are on the disk before it. Raises OSError if there is no room, before
    anything of the part in question is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    leaves = leaf_digests(leaves_by_path(state))
    frozen = keep_frozen(folder, state.frozen)
    run = {"step": step, "frozen": frozen, "leaves": leaves, "data": data, "config": config}
    state = state.replace(frozen={})
    check_room(folder, state)
    part = folder / f"{PART}{step}"
    shutil.rmtree(part, ignore_errors=True)  # of a try that failed
    part.mkdir(parents=True)
    try:
        (part / "run.json").write_text(json.dumps(run, indent=1))
        save_tree(part / "state", state)
        seal(part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # the room may serve the next try
        raise
    os.rename(part, folder / str(step))
    sync(folder)


def shortly(error: Exception) -> str:
    """What an error of orbax, tensorstore or the system says, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).partition("\n")[0] or type(error).__name__
    return "No space left on device" if "No space left" in str(error) else text[:200]
