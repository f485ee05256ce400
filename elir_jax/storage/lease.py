"""A lock in an object store: numbered objects, the newest of which names the holder.

To take the lock is to create the next number, on condition that it does not exist: of two that try,
the store lets one through. The holder writes its object again every ``BEAT`` seconds. It has lost
the lock if there is a higher number, or if its last renewal began ``PATIENCE - BEAT`` ago, whatever
its requests wait for; then it sends and deletes nothing more. The number of a holder that gave the
lock back, that died on this machine, or that was silent for ``PATIENCE`` while somebody waited, may
be followed by the next. Numbers never start again, so a holder that slept cannot take itself for
the newest. No clocks are compared.

A store that ignores the condition (some emulators) lets both through if they try in the same
moment; the loser usually finds the other's name when it reads its object back.
"""

import atexit
import json
import logging
import os
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

from elir_jax.errors import UserError
from elir_jax.storage.processes import Process, this_process

FOLDER = "lock"
BEAT = 10.0  # seconds
PATIENCE = 60.0  # seconds
POLL = 2.0  # seconds between two looks at another machine's lock
CALL = 10.0  # seconds for one request of a holder; the clients themselves may try for minutes
# A machine that sleeps is silent too, so its sleep must count.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
UNKNOWN = "another process"

logger = logging.getLogger(__name__)
_held: dict[str, "Lease"] = {}  # by run's folder


def take(client: Any, workdir: str) -> None:
    """Take the lock of a run's folder, or wait for a silent holder's. Raises UserError."""
    folder = f"{workdir}/{FOLDER}"
    while True:
        number, holder = _newest(client, folder)
        if holder and not holder.get("free") and not _process_of(holder).has_ended():
            _wait_in_silence(client, workdir, number, holder)
        lease = Lease(client, workdir, number + 1)
        try:
            lease.create()
        except FileExistsError:
            continue  # another was quicker: look again
        break
    _held[workdir] = lease
    lease.keep()


def give_back(workdir: str) -> None:
    """Free the lock, if this process holds it."""
    lease = _held.pop(workdir, None)
    if lease is not None:
        lease.end()


def check(place: str) -> None:
    """Raise OSError if ``place`` is in a folder whose lock this process has lost."""
    for workdir, lease in [*_held.items()]:
        if f"{place}/".startswith(f"{workdir}/") and (why := lease.why_lost()):
            raise OSError(f"{why}; nothing more is written to {workdir}")


class Lease:
    """This process's number of a lock."""

    def __init__(self, client: Any, workdir: str, number: int):
        self._client, self._folder, self._number = client, f"{workdir}/{FOLDER}", number
        self._content = _description() | {"beat": 0}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._renewed = _now()  # when the last renewal that succeeded began
        self._is_followed = False

    def why_lost(self) -> str | None:
        """Why others may hold the lock now; None while this process holds it."""
        if self._is_followed:
            return "another run took the folder while this one did not answer"
        if _now() - self._renewed > PATIENCE - BEAT:
            return f"the lock could not be renewed for {PATIENCE - BEAT:.0f} s"
        return None

    def create(self) -> None:
        """Create the object. Raises FileExistsError if another has."""
        name, refused = f"{self._folder}/{self._number}", None
        self._renewed = _now()
        try:
            self._client.pipe_file(name, self._bytes(), mode="create")
        except Exception as error:  # each client has its own for a condition that does not hold
            refused = error
        # The client may have tried again after a success that it did not hear of.
        if refused is not None and not self._client.exists(name):
            raise refused
        if self._client.cat_file(name) != self._bytes():
            raise FileExistsError(name)

    def keep(self) -> None:
        """Delete older numbers, and start to renew this one."""
        with suppress(Exception):  # the next holder will
            for number in _numbers(self._client, self._folder, timeout=CALL):
                if number < self._number:
                    self._client.rm_file(f"{self._folder}/{number}", timeout=CALL)
        self._thread.start()
        atexit.register(self.end)

    def end(self) -> None:
        """Say that the lock is free."""
        if self._ended.is_set():
            return
        self._ended.set()
        atexit.unregister(self.end)
        self._thread.join(3 * CALL)
        if not self._is_followed:
            self._content["free"] = True
            with suppress(Exception):  # others then wait for PATIENCE
                self._write()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            began = _now()
            try:
                newest = max(_numbers(self._client, self._folder, timeout=CALL), default=0)
                self._is_followed = newest > self._number
                if not self._is_followed:
                    self._content["beat"] += 1
                    self._write()
            except Exception as error:  # the network may come back in time
                reason = str(error) or type(error).__name__
                logger.warning("%s: cannot be renewed (%s)", self._folder, reason)
                began = self._renewed
            if self.why_lost():  # also if a renewal came back too late: another may be at it
                return
            self._renewed = began

    def _write(self) -> None:
        self._client.pipe_file(f"{self._folder}/{self._number}", self._bytes(), timeout=CALL)

    def _bytes(self) -> bytes:
        return json.dumps(self._content).encode()


def _now() -> float:
    return time.clock_gettime(CLOCK)


def _numbers(client: Any, folder: str, **how: float) -> list[int]:
    names = [name.rpartition("/")[2] for name in client.find(folder, **how)]
    return [int(name) for name in names if name.isdecimal()]


def _newest(client: Any, folder: str) -> tuple[int, dict]:
    """The highest number and its content; (0, {}) if the lock was never taken."""
    number = max(_numbers(client, folder), default=0)
    if not number:
        return 0, {}
    try:
        content = json.loads(client.cat_file(f"{folder}/{number}"))
    except (FileNotFoundError, ValueError):  # just deleted by a newer holder, or damaged
        content = None
    return number, content if isinstance(content, dict) and content else {"name": UNKNOWN}


def _wait_in_silence(client: Any, workdir: str, number: int, holder: dict) -> None:
    """Return when the holder was silent for ``PATIENCE``. Raises UserError if it is not."""
    in_use = UserError(
        f"{workdir}: in use by another run ({holder.get('name')}); wait, or choose another "
        f"--workdir"
    )
    if _process_of(holder).is_here():  # and runs
        raise in_use
    logger.warning(
        "%s: waiting up to %.0f s for a sign of the last run (%s)",
        workdir, PATIENCE, holder.get("name"),
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(POLL)
        now = _newest(client, f"{workdir}/{FOLDER}")
        if now[1].get("free"):
            return
        if now != (number, holder):
            raise in_use


def _description() -> dict:
    own = this_process()
    return {
        "name": f"process {own.number} on {os.uname().nodename}",
        "machine": own.machine,
        "process": own.number,
        "began": own.began,
        "token": uuid.uuid4().hex,
    }


def _process_of(holder: dict) -> Process:
    return Process(*(holder.get(field) for field in ("machine", "process", "began")))
