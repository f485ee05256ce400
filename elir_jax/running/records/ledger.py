"""The time ledger: where the seconds of a run went, over all its starts.

At every moment one account is open, so the accounts add up to the total time. ``redone`` is the
time for steps that an earlier start had made and lost.
"""

import json
import logging
import time
from pathlib import Path

from elir_jax.files import whole_file

FILE = "ledger.json"
ACCOUNTS = ("start_up", "compile", "data", "step", "save", "evaluation", "redone")

logger = logging.getLogger(__name__)


class Ledger:
    """The accounts of one run, in seconds; this start began at ``began``, by ``time.monotonic``."""

    def __init__(self, path: Path | None, began: float):
        """Continue the accounts in ``path``, if it exists; None keeps them in memory.

        Raises OSError if they cannot be read. If they are damaged, they begin anew, says the log.
        """
        self._path = path
        earlier = _read(path)
        self.seconds = dict.fromkeys(ACCOUNTS, 0.0) | earlier["seconds"]
        self.furthest: int = earlier["furthest"]  # newest step that earlier starts noted
        self.redone_steps: int = earlier["redone_steps"]
        self.starts: int = earlier["starts"] + 1
        self._step = self.furthest
        self._account, self._since = "start_up", began

    def turn(self, account: str) -> None:
        """Add the time since the last turn to the open account, and open ``account``."""
        now = time.monotonic()
        self.seconds[self._account] += now - self._since
        self._account, self._since = account, now

    def made(self, step: int) -> None:
        """Note that ``step`` was made, for the first time or again."""
        self.redone_steps += step <= self.furthest
        self._step = max(self._step, step)

    def account_of(self, step: int) -> str:
        """``redone`` if an earlier start has made this step, otherwise ``step``."""
        return "redone" if step <= self.furthest else "step"

    def write(self) -> dict[str, float]:
        """Save the accounts for later starts; returns them by their names in ``metrics.jsonl``."""
        self.turn(self._account)
        if self._path is not None:
            content = {
                "seconds": self.seconds,
                "furthest": self._step,
                "redone_steps": self.redone_steps,
                "starts": self.starts,
            }
            with whole_file(self._path) as part:
                part.write_text(json.dumps(content, indent=1))
        return {f"seconds_{account}": spent for account, spent in self.seconds.items()}

    def summary(self) -> str:
        """The accounts in one line of text."""
        self.turn(self._account)
        spent = ", ".join(f"{a.replace('_', '-')} {s:.1f}" for a, s in self.seconds.items())
        return (
            f"seconds: {spent}; {sum(self.seconds.values()):.1f} in all, {self.starts} start(s), "
            f"{self.redone_steps} step(s) made again"
        )


def _read(path: Path | None) -> dict:
    empty = {"seconds": {}, "furthest": 0, "redone_steps": 0, "starts": 0}
    if path is None or not path.exists():
        return empty
    try:
        found = empty | json.loads(path.read_bytes())
        seconds = {str(account): float(spent) for account, spent in found["seconds"].items()}
        numbers = {name: int(found[name]) for name in empty.keys() - {"seconds"}}
        return {"seconds": seconds} | numbers
    except (ValueError, TypeError, AttributeError):  # the machine died while it was written
        logger.warning("%s: damaged; the accounts begin anew", path)
        return empty
