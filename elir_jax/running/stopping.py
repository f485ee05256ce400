"""Ctrl-C, SIGTERM and SIGHUP end a run after the current step, not in the middle of it.

A separate thread notices signals, through Python's wake-up file: the main thread may be inside a
compilation that takes minutes, during which no Python handler runs.
"""

import os
import signal
import socket
import threading
from contextlib import suppress

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Notes the first signal of ``WATCHED``; a second one ends the process at once.

    Use as a context manager. ``signum`` is None until a signal arrives. While ``nothing_to_save``
    is set, the first signal ends the process at once too: during start-up, compilation and
    evaluation everything is saved already. Exit codes: 130 (SIGINT), 143 (SIGTERM), 129 (SIGHUP,
    of a terminal that was closed; ``nohup`` has it ignored, which stays so).
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.nothing_to_save = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for signum in WATCHED:
            if signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN:
                continue
            # This installs Python's own signal handling, which writes to the file.
            self._previous[signum] = signal.signal(signum, lambda *_: None)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._theirs.close()
        self._thread.join()
        self._ours.close()

    def _watch(self) -> None:
        while data := self._ours.recv(1):
            signum = data[0]
            if signum not in WATCHED:
                continue
            if self.signum is not None:
                _exit_now(signum, "stopped at once; what was not saved is lost")
            if self.nothing_to_save:
                _exit_now(signum, "stopped; nothing was lost, run the same command again to resume")
            self.signum = signum
            _tell("stopping after this step; a second signal stops without saving")


def _exit_now(signum: int, message: str) -> None:
    _tell(f"{message} ({signal.Signals(signum).name})")
    os._exit(128 + signum)


def _tell(line: str) -> None:
    with suppress(OSError):  # of a terminal that was closed
        os.write(2, f"\n{line}\n".encode())
