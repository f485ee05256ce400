"""The commands. If Ctrl-C comes while their modules load, they end at once, without a traceback."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

EXIT_INTERRUPTED = 130


def _end_quietly(kind, error, trace, otherwise=sys.excepthook) -> None:
    """Before :func:`interruptible` is in charge: as Python does, but without its traceback."""
    if not issubclass(kind, KeyboardInterrupt):
        otherwise(kind, error, trace)
    elif sys.stderr is not None:
        sys.stderr.write("interrupted\n")


sys.excepthook = _end_quietly


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, but end the process at once where a module loads.

    There, C code may crash on the exception, or hide it; and nothing is to be saved yet.
    """
    import signal  # here: it takes a while, in which the hook above must be in place

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # ignored, or another program's
        return
    signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(signum, frame) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            with suppress(OSError):
                os.write(2, b"interrupted\n")
            os._exit(EXIT_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt
