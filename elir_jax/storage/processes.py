"""Which process made something, and whether that process has ended: for locks and leftovers.

A number alone does not name a process: other machines, and containers with their own tables of
processes, have the same numbers, and numbers are used again.
"""

import os
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process of some machine."""

    machine: str | None  # this start of it, and its table of processes; None: cannot be named
    number: int
    began: str | None  # in the kernel's ticks

    def is_here(self) -> bool:
        """Whether it ran on this machine since its start, in this table of processes."""
        return self.machine is not None and self.machine == _machine()

    def has_ended(self) -> bool:
        """Whether it is known to have ended; False if it ran elsewhere, or if nothing tells."""
        if not self.is_here() or not isinstance(self.number, int) or self.number < 1:
            return False
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):  # another user's
            pass
        now = _stat(self.number)  # other users' may be hidden
        return now is not None and (now[0] in "ZX" or now[19] != (self.began or now[19]))


def this_process() -> Process:
    """The one that asks."""
    number = os.getpid()
    now = _stat(number)
    return Process(_machine(), number, None if now is None else now[19])


def _machine() -> str | None:
    try:
        # Where /proc is that of another table of processes, its numbers mean nothing here.
        if os.readlink("/proc/self") != str(os.getpid()):
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _stat(number: int) -> list[str] | None:
    """The kernel's words on a process, from its state (0) on; 19 is when it began."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
