"""Temporary folders that a killed process leaves behind are deleted by the next one."""

import os
import re
import shutil
import tempfile
from pathlib import Path

PREFIX = "elir_jax-"


def scratch() -> Path:
    """A new folder in the system's folder for temporary files; its user deletes it."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        found = re.fullmatch(rf"{PREFIX}(\d+)-.*", left.name)
        if found and not _runs(int(found[1])):
            shutil.rmtree(left, ignore_errors=True)  # another user's stays
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True
