"""Frozen weights, written once for each run: all its checkpoints refer to one folder.

``frozen/DIGEST`` holds the weights (``state``, by orbax) and ``digests.json``. The digest covers
the names, types, shapes and bytes of the arrays, so a folder never changes and other weights get
their own folder. No folder is ever deleted: a run has one, and one more each time its weights
change.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import jax

from elir_jax.running.records.arrays import load_tree, save_tree
from elir_jax.running.records.digests import (
    Damaged,
    leaf_digests,
    leaves_by_path,
    seal,
    sync,
    verify,
)
from elir_jax.running.records.room import OLD, PART, check_room

FOLDER = "frozen"

logger = logging.getLogger(__name__)


def keep_frozen(folder: Path, frozen: Any) -> str | None:
    """Store ``frozen`` below ``folder``; returns its digest, or None if it has no arrays.

    If the folder exists, it is verified, and written again if it is damaged. Raises OSError if
    there is no room, or if reading does not give back what was written.
    """
    if not jax.tree.leaves(frozen):
        return None
    digest = _digest_of(frozen)
    place = folder / FOLDER / digest
    try:
        verify(place)
        return digest
    except Damaged as error:
        if place.exists():
            logger.warning("%s: %s; writing it again", place, error)
    check_room(folder, frozen)
    part = folder / f"{PART}{FOLDER}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        save_tree(part / "state", frozen)
        if _digest_of(load_tree(part / "state")) != digest:  # all later checkpoints rely on it
            raise OSError(errno.EIO, "the frozen weights were not written correctly", str(part))
        seal(part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        doomed = folder / f"{OLD}{FOLDER}"
        shutil.rmtree(doomed, ignore_errors=True)
        place.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    os.rename(part, place)
    sync(place.parent)
    sync(folder)
    return digest


def verify_frozen(folder: Path, digest: str) -> None:
    """Raise Damaged, naming the file, unless ``frozen/digest`` below ``folder`` is intact."""
    try:
        verify(folder / FOLDER / digest)
    except Damaged as error:
        raise Damaged(f"its frozen weights, {FOLDER}/{digest}: {error}") from error


def read_frozen(folder: Path, digest: str) -> dict[str, Any]:
    """The weights of ``frozen/digest`` below ``folder``. Raises any exception of orbax."""
    return load_tree(folder / FOLDER / digest / "state")


def _digest_of(frozen: Any) -> str:
    leaves = leaves_by_path(frozen)
    digests = leaf_digests(leaves)
    known = {
        path: [str(leaf.dtype), list(leaf.shape), digests[path]] for path, leaf in leaves.items()
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
