"""What a command needs of its console: streams that take any name, errors of one line, exit codes.

Needs neither absl nor JAX, so that ``elir_jax.edge`` ends as the other commands do.
"""

import argparse
import contextlib
import io
import os
import re
import select
import sys
from collections.abc import Callable
from typing import NoReturn

from elir_jax.errors import DISK, DiskError, UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_UNHEARD = 141
OUT, ERR = 1, 2  # numbers of the standard streams


def steady_streams() -> None:
    """Make the standard streams such that nothing that is printed can fail for what it says.

    Bytes of a name that are no text are printed as escapes. A stream that is closed leads nowhere:
    otherwise the next file that is opened would get its number, and messages of libraries with it.
    """
    for number in (0, OUT, ERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def one_line(message: object) -> str:
    """The message with each control character, as a name may hold, as an escape."""
    text = str(message).strip()
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def fail(message: str) -> int:
    """Print one line for a user error; returns the exit code."""
    print(f"error: {one_line(message)}", file=sys.stderr)
    return EXIT_USER_ERROR


def exit_code_of(command: Callable[[], int | None]) -> int:
    """Run ``command`` and return its exit code (None: 0); user errors and Ctrl-C print one line."""
    steady_streams()
    try:
        code = command() or 0
        sys.stdout.flush()
        return code
    except DiskError as error:
        _exit_now(str(error))
    except UserError as error:
        return fail(str(error))
    except BrokenPipeError:
        unheard = [number for number in (OUT, ERR) if not _is_heard(number)]
        if not unheard:  # the broken pipe is another one, of a worker
            raise
        for number in unheard:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        return EXIT_UNHEARD
    except PermissionError as error:  # for one file; the others are as before
        return fail(f"{error.filename or 'a file'}: {error.strerror}; change its permissions")
    except OSError as error:
        if error.errno not in DISK:
            raise
        _exit_now(f"{error.filename or 'the disk'}: {error.strerror}; what was saved is not lost")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def positive(text: str) -> int:
    """The number of an option that must be at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def leave(code: int) -> NoReturn:
    """End at once, without what a normal exit would do."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _is_heard(number: int) -> bool:
    """Whether somebody still reads a stream."""
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _exit_now(message: str) -> NoReturn:
    """End at once: a normal exit flushes files, which would fail again, with tracebacks."""
    code = fail(message)
    hosts = sys.modules.get("elir_jax.devices.hosts")  # if it is not loaded, nothing was joined
    if hosts is not None:
        hosts.leave()
    leave(code)
