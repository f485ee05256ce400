"""Ctrl-C and SIGTERM end a run after the step in hand, not in the middle of it."""

import os
import signal
import types


class StopRequest:
    """Notes the first SIGINT or SIGTERM; a second one takes its usual effect at once.

    Use as a context manager around the training loop. ``signum`` is None until a signal came.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, signum: int, frame: types.FrameType | None) -> None:
        self.signum = signum
        os.write(2, b"\nstopping after this step; a second signal stops at once, unsaved\n")
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
