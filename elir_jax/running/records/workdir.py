"""Lock a run's folder, so that only one run uses it at a time."""

import fcntl
import logging
import os
from pathlib import Path

from elir_jax.errors import UserError

FILE = "lock"
logger = logging.getLogger(__name__)


def lock(workdir: Path) -> None:
    """Create the folder and lock it for this process until it ends, in whatever way.

    Raises UserError if another run uses it, or if it cannot be created or written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        number = os.open(workdir / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(
            f"{workdir}: cannot be written ({error.strerror}); choose another --workdir"
        ) from error
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(number, 200).decode(errors="replace").strip() or "another process"
        os.close(number)
        raise UserError(
            f"{workdir}: in use by another run ({holder}); wait, or choose another --workdir"
        ) from None
    except OSError as error:  # some network file systems have no locks
        logger.warning("%s: cannot be locked (%s); start only one run", workdir, error.strerror)
    os.ftruncate(number, 0)
    os.write(number, f"process {os.getpid()} on {os.uname().nodename}\n".encode())
