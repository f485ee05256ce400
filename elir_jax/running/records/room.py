"""Names of incomplete folders, and a check that the disk has room for arrays."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import jax

PART = "part-"  # prefix of a folder that is being written
OLD = "old-"  # prefix of a folder that is being deleted
MARGIN = 1 << 20  # bytes, for everything besides the arrays


def check_room(folder: Path, tree: Any) -> None:
    """Raise OSError if the disk of ``folder`` has no room for the arrays of ``tree``."""
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) + MARGIN
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
