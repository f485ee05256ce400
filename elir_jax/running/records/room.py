"""A check that the disk has room for arrays, and what to do if something cannot be written."""

import errno
import os
from typing import Any

import jax

from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place

MARGIN = 1 << 20  # bytes, for everything besides the arrays


def check_room(folder: Place, tree: Any) -> None:
    """Raise OSError if there is no room to write the arrays of ``tree`` to ``folder``."""
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) + MARGIN
    if storage_of(folder).free(folder) < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def remedy(reason: str) -> str:
    """What to do about an error in writing, whose reason is in the words of the system."""
    room = "make room, then " if os.strerror(errno.ENOSPC) in reason or "quota" in reason else ""
    return f"{room}run the same command again"
