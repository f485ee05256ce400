"""Checkpoints: the whole state, the position in the data and the configuration.

Each step has a folder: ``state`` (orbax), ``run.json`` (everything else, with a digest of every
leaf) and ``digests.json`` (of every file). It appears when it is complete and on the disk, so a
folder with the number of a step is complete (:mod:`elir_jax.storage.place`). Frozen weights are
stored next to it, once for all steps (:mod:`elir_jax.running.records.frozen`), and ``run.json`` has
their digest; older checkpoints, which contain them, can be read too. Reading verifies every digest.
If a folder fails, the log names it and the one before it is used.

Only one process writes and reads checkpoints (:mod:`elir_jax.devices.hosts`), as NumPy arrays, so a
checkpoint does not depend on the number of devices.
"""

import json
import logging
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
    verify,
)
from elir_jax.running.records.frozen import keep_frozen, read_frozen
from elir_jax.running.records.room import check_room
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place
from elir_jax.training.optim import carried
from elir_jax.types import Params

FOLDER = "checkpoints"  # of a run

logger = logging.getLogger(__name__)
# What a leaf that a checkpoint lacks was before there was such a leaf.
ADDED = {"skipped": np.zeros((), np.int32)}


class Saved(NamedTuple):
    """A checkpoint, read and verified."""

    step: int
    leaves: dict[str, np.ndarray]  # by path, such as ``params/estimator/...``
    tree: dict[str, Any]  # the same, nested by orbax
    data: dict[str, int]  # position in the data
    config: dict


def steps_in(folder: Place) -> list[int]:
    """Steps of the complete checkpoints, ascending."""
    names = storage_of(folder).folders(folder)
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def read(folder: Place) -> Saved:
    """Read and verify one checkpoint.

    Raises Damaged if it is not what was written, or if it is deleted meanwhile. Raises UserError if
    every file is intact but orbax cannot read them: another version of orbax may, so the checkpoint
    does not count as damaged.
    """
    with storage_of(folder).fetched(folder) as copy:
        return _read(folder, copy)


def _read(folder: Place, copy: Path) -> Saved:
    verify(copy)
    try:
        run = json.loads((copy / "run.json").read_bytes())
        tree = load_tree(copy / "state")
        if run.get("frozen"):
            tree["frozen"] = read_frozen(folder.parent, run["frozen"])
        leaves = leaves_by_path(tree)
        stored = run["leaves"]
    except Damaged:
        raise
    except Exception as error:  # orbax and tensorstore may raise anything
        if not copy.is_dir():
            raise Damaged("it was deleted while it was read") from error
        if isinstance(error, (OSError, MemoryError)):  # a problem of the machine is no damage
            raise
        raise UserError(
            f"{folder}: every file is as it was written, but {LIBRARY} cannot "
            f"read it ({shortly(error)}); remove the cause, or install the version "
            f"that wrote it, and run the same command again"
        ) from error
    if stored != leaf_digests(leaves):
        raise Damaged("its arrays are not what was written")
    return Saved(run["step"], leaves, tree, run["data"], run["config"])


def is_checkpoint(folder: Place) -> bool:
    """Whether ``folder`` is one checkpoint, rather than a run's folder."""
    return storage_of(folder).exists(folder / "run.json")


def read_chosen(folder: Place) -> Saved:
    """:func:`read` of one checkpoint that the user named. Raises UserError if it is damaged."""
    try:
        return read(folder)
    except Damaged as error:
        raise UserError(f"{folder}: {error}; name another checkpoint") from error


def read_newest(folder: Place) -> Saved | None:
    """The newest intact checkpoint; None if there is no checkpoint at all.

    The log names damaged ones. Raises UserError if all are damaged: a run that started at step 0 in
    their folder could destroy what can perhaps be recovered.
    """
    refused: dict[int, str] = {}
    while steps := [step for step in steps_in(folder) if step not in refused]:
        try:
            return read(folder / str(steps[-1]))
        except Damaged as error:
            if steps[-1] not in steps_in(folder):
                continue  # a run that writes here deleted it, because it was old: look again
            refused[steps[-1]] = str(error)
            logger.warning("refused checkpoint %s: %s", folder / str(steps[-1]), error)
    if refused:
        raise UserError(
            f"{folder}: all checkpoints are damaged: "
            + "; ".join(f"{step}: {why}" for step, why in refused.items())
            + "; restore them from a copy, or choose another --workdir to start again"
        )
    return None


def read_averaged(folder: Place) -> tuple[int, Params, Params]:
    """(step, averaged weights, frozen weights) of the newest checkpoint, of any network.

    The arrays are NumPy's. Raises UserError if there is no intact checkpoint.
    """
    saved = read_newest(folder)
    if saved is None:
        raise UserError(f"{folder}: no checkpoint here; train first, or name the run's --workdir")
    return saved.step, saved.tree["ema"], saved.tree["frozen"]


def arrange(saved: Saved, like: Any, folder: Place) -> Any:
    """The checkpoint's arrays in the structure of ``like``, whose optimizer may have other rules.

    Raises a UserError that names the first array, if it belongs to another network.
    """

    def describe(leaf):
        return "absent" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"

    wanted = leaves_by_path(like)
    leaves = carried(ADDED | saved.leaves, wanted)
    for path in [*wanted, *leaves]:
        there, here = describe(leaves.get(path)), describe(wanted.get(path))
        if there != here:
            raise UserError(
                f"{folder / str(saved.step)}: the checkpoint belongs to another network: {path} is "
                f"{there} there and {here} in this configuration; use its own configuration or "
                f"another --workdir"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[path] for path in wanted])


def write(folder: Place, step: int, state: Any, data: dict[str, int], config: dict) -> None:
    """Write one checkpoint; it gets its name when it is complete.

    Its frozen weights are written first. Each of the two raises OSError before it writes anything
    if there is no room.
    """
    leaves = leaf_digests(leaves_by_path(state))
    frozen = keep_frozen(folder, state.frozen)
    run = {"step": step, "frozen": frozen, "leaves": leaves, "data": data, "config": config}
    state = state.replace(frozen={})
    check_room(folder, state)
    with storage_of(folder).staged(folder, str(step)) as part:
        (part / "run.json").write_text(json.dumps(run, indent=1))
        save_tree(part / "state", state)
        seal(part)


def shortly(error: Exception) -> str:
    """The message of an error of orbax, tensorstore or the system, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).partition("\n")[0] or type(error).__name__
    return "No space left on device" if "No space left" in str(error) else text[:200]
