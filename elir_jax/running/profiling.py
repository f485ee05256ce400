"""A trace of some steps, for TensorBoard's profile plugin or xprof: --profile FIRST:LAST."""

import re
from typing import NamedTuple

import jax

from elir_jax.errors import UserError
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place


class Steps(NamedTuple):
    """The steps to trace, both ends included."""

    first: int
    last: int


def parse_profile(text: str) -> Steps | None:
    """``FIRST:LAST``, or nothing. Raises UserError for anything else."""
    if not text:
        return None
    found = re.fullmatch(r"(\d+):(\d+)", text)
    steps = Steps(*map(int, found.groups())) if found else Steps(0, 0)
    if not 1 <= steps.first <= steps.last:
        raise UserError(f"--profile={text}: must be FIRST:LAST, two steps counted from 1")
    return steps


class Profiler:
    """Traces the steps on every host, into ``folder``; without steps, does nothing."""

    def __init__(self, folder: Place, steps: Steps | None = None):
        self._folder, self._steps, self._out = folder, steps, None

    def before(self, step: int) -> None:
        """``step`` is about to be made."""
        if self._steps is not None and step == self._steps.first:
            out = storage_of(self._folder).outgoing(self._folder)
            jax.profiler.start_trace(str(out.folder))
            self._out = out

    def after(self, step: int) -> None:
        """``step`` is done, on the device too."""
        if self._steps is not None and step >= self._steps.last:
            self.close()

    def close(self) -> None:
        """Write what was traced, if anything was."""
        out, self._out = self._out, None
        if out is not None:
            jax.profiler.stop_trace()
            out.close()
