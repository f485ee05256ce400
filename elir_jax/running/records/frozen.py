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
from typing import Any

import jax

from elir_jax.running.records.arrays import load_tree, save_tree
from elir_jax.running.records.digests import (
    Damaged,
    leaf_digests,
    leaves_by_path,
    seal,
    verify,
)
from elir_jax.running.records.room import check_room
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place

FOLDER = "frozen"

logger = logging.getLogger(__name__)
_verified: dict[str, dict] = {}  # by place: its files' versions when this process verified them


def keep_frozen(folder: Place, frozen: Any) -> str | None:
    """Store ``frozen`` below ``folder``; returns its digest, or None if it has no arrays.

    If the folder exists, it is verified, and written again if it is damaged. What this process has
    verified is fetched again only if a version has changed, where the storage tells versions.
    Raises OSError if there is no room, or if reading does not give back what was written.
    """
    if not jax.tree.leaves(frozen):
        return None
    digest = _digest_of(frozen)
    place, storage = folder / FOLDER / digest, storage_of(folder)
    versions = storage.versions(place)
    if versions is not None and _verified.get(str(place)) == versions:
        return digest
    try:
        with storage.fetched(place) as copy:
            verify(copy)
        if versions is not None:
            _verified[str(place)] = versions
        return digest
    except Damaged as error:
        if storage.exists(place):
            logger.warning("%s: %s; writing it again", place, error)
    check_room(folder, frozen)
    with storage.staged(folder, FOLDER, digest, replace=True) as part:
        save_tree(part / "state", frozen)
        if _digest_of(load_tree(part / "state")) != digest:  # all later checkpoints rely on it
            raise OSError(errno.EIO, "the frozen weights were not written correctly", str(part))
        seal(part)
    return digest


def read_frozen(folder: Place, digest: str) -> dict[str, Any]:
    """The weights of ``frozen/digest`` below ``folder``.

    Raises Damaged, naming the file, unless they are intact, and any exception of orbax.
    """
    place = folder / FOLDER / digest
    with storage_of(place).fetched(place) as copy:
        try:
            verify(copy)
        except Damaged as error:
            raise Damaged(f"its frozen weights, {FOLDER}/{digest}: {error}") from error
        return load_tree(copy / "state")


def _digest_of(frozen: Any) -> str:
    leaves = leaves_by_path(frozen)
    digests = leaf_digests(leaves)
    known = {
        path: [str(leaf.dtype), list(leaf.shape), digests[path]] for path, leaf in leaves.items()
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
