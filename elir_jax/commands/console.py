"""How every command ends: exit codes, and errors of users, of the disk and of devices in one line.

Needs neither absl nor JAX, so that ``elir_jax.edge`` ends as the other commands do.
"""

import argparse
import contextlib
import errno
import os
import sys
from collections.abc import Callable
from shutil import disk_usage
from typing import NoReturn

from elir_jax.commands import EXIT_INTERRUPTED, interruptible, streams
from elir_jax.errors import DISK, DiskError, UserError, one_line

EXIT_USER_ERROR = 2
EXIT_UNHEARD = 141


def exit_code_of(command: Callable[[], int | None]) -> int:
    """Run ``command`` and return its exit code (None: 0); user errors and Ctrl-C print one line."""
    streams.hold()
    try:
        with interruptible():
            return _exit_code_of(command) or _unheard()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _exit_code_of(command: Callable[[], int | None]) -> int:
    try:
        return command() or 0
    except DiskError as error:
        _exit_now(str(error))
    except UserError as error:
        return fail(str(error))
    except PermissionError as error:  # for one file; the others are as before
        return fail(f"{error.filename or 'a file'}: {error.strerror}; change its permissions")
    except OSError as error:
        if error.errno not in DISK:
            raise
        _exit_now(f"{_place_of(error)}: {error.strerror}; what was saved is not lost")
    except (RuntimeError, AssertionError):
        reason = _without_device()
        if not reason:
            raise
        return fail(reason)


def fail(message: str) -> int:
    """Print one line for a user error; returns the exit code."""
    print(f"error: {one_line(message)}", file=sys.stderr)
    return EXIT_USER_ERROR


def positive(text: str) -> int:
    """The number of an option that must be at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def share(text: str) -> float:
    """The number of an option that must lie in [0, 1]."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError("must lie in [0, 1]")
    return number


def leave(code: int) -> NoReturn:
    """End at once, without what a normal exit would do."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _unheard() -> int:
    """The exit code of a command that succeeded, which depends on who heard it."""
    error = streams.lost()
    if error is None:
        return 0
    if error.errno in (errno.EPIPE, errno.EIO):  # the reader of a pipe, or the terminal, has gone
        return EXIT_UNHEARD
    return fail(f"standard output: {error.strerror}; the rest of it is lost")


def _without_device() -> str:
    """Why JAX has no device to compute on; empty if it has, or is not loaded."""
    jax = sys.modules.get("jax")
    try:
        if jax is not None:
            jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition(" (set JAX_PLATFORMS")[0] or "there is no such device"
        chosen = os.environ.get("JAX_PLATFORMS", "")
        return f"JAX_PLATFORMS={chosen}: {reason}; unset it, or install jax for that device"
    return ""


def _place_of(error: OSError) -> str:
    """What an error of the disk is about; the system does not always say."""
    if error.filename or error.errno in (errno.EMFILE, errno.ENFILE):
        return str(error.filename or "this process (ulimit -n)")
    places = "/dev/shm", os.environ.get("TMPDIR", "/tmp"), os.getcwd()
    full = [place for place in places if os.path.isdir(place) and not disk_usage(place).free >> 20]
    return ", ".join(dict.fromkeys(full)) or "the disk"


def _exit_now(message: str) -> NoReturn:
    """End at once: a normal exit flushes files, which would fail again, with tracebacks."""
    code = fail(message)
    hosts = sys.modules.get("elir_jax.devices.hosts")  # if it is not loaded, nothing was joined
    if hosts is not None:
        hosts.leave()
    leave(code)
