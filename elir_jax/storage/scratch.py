"""Temporary folders that a killed process leaves behind are deleted by the next one there.

The folder for temporary files may be shared: by containers, or by machines over a network. So the
name of each folder tells whose it is, and only those of processes that are known to have ended are
deleted.
"""

import hashlib
import re
import shutil
import tempfile
from pathlib import Path

from elir_jax.storage.processes import Process, this_process

PREFIX = "elir_jax"


def scratch() -> Path:
    """A new folder in the system's folder for temporary files; its user deletes it."""
    own = this_process()
    machine = hashlib.sha256(f"{own.machine}".encode()).hexdigest()[:16]
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}-{machine}-*"):
        found = re.fullmatch(rf"{PREFIX}-\w+-(\d+)-(\d+)-.*", left.name)
        if found and Process(own.machine, int(found[1]), found[2]).has_ended():
            shutil.rmtree(left, ignore_errors=True)  # another user's stays
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{machine}-{own.number}-{own.began}-"))
