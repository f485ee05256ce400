"""Standard streams that cannot fail: what nobody can read any more is dropped, and remembered.

The reader of a pipe may leave, a terminal may be closed, the disk of a log may be full, and a
stream may be closed from the start. None of these ends a command, which has files to write:
``print``, the progress bars and the logs of libraries all go through the streams of :func:`hold`.
"""

import io
import os
import select
import sys

NAMES = {"stdout": 1, "stderr": 2}


class _Lasting(io.FileIO):
    """A descriptor that drops what cannot be written; ``error`` is the first reason."""

    error: OSError | None = None

    def write(self, data) -> int:
        try:
            while (count := super().write(data)) is None:  # a full pipe that does not block
                select.select([], [self], [])
            return count
        except OSError as error:
            self.error = self.error or error
            return len(data)


def hold() -> None:
    """Replace this process's standard streams, if they are the interpreter's own.

    A closed one is opened on the null device first, so that no file of ours gets its number, which
    libraries write their messages to.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number
    for name, number in NAMES.items():
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):  # another program's, or ours already
            continue
        lasting = io.TextIOWrapper(
            io.BufferedWriter(_Lasting(number, "w", closefd=False)),
            encoding=stream.encoding if stream else "utf-8",
            errors="backslashreplace",  # for names of files that the encoding lacks
            line_buffering=not stream or stream.line_buffering or stream.write_through,
        )
        setattr(sys, name, lasting)


def lost() -> OSError | None:
    """Why some of standard output was lost, if it was, after writing what is left of it."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, _Lasting) else None
