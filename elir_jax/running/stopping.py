"""Ctrl-C and SIGTERM end a run after the current step, not in the middle of it.

A separate thread notices signals, through Python's wake-up file: the main thread may be inside a
compilation that takes minutes, during which no Python handler runs.
"""

import os
import signal
import socket
import threading

WATCHED = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Notes the first SIGINT or SIGTERM; a second one ends the process at once.

    Use as a context manager. ``signum`` is None until a signal arrives. While ``nothing_to_save``
    is set, the first signal ends the process at once too: during start-up, compilation and
    evaluation everything is saved already. Exit codes: 130 (SIGINT), 143 (SIGTERM).
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
            os.write(2, b"\nstopping after this step; a second signal stops without saving\n")


def _exit_now(signum: int, message: str) -> None:
    os.write(2, f"\n{message} ({signal.Signals(signum).name})\n".encode())
    os._exit(128 + signum)
