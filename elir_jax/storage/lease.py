"""A lock in an object store: numbered objects, the newest of which names the holder.

To take the lock is to create the next number, on condition that it does not exist: of two that try,
the store lets one through. The holder writes its object again every ``BEAT`` seconds. It has lost
the lock if there is a higher number, or if it could not write for ``PATIENCE``; then it sends
nothing more. The number of a holder that gave the lock back, that died on this machine, or that was
silent for ``PATIENCE`` while somebody waited, may be followed by the next. Numbers never start
again, so a holder that slept cannot take itself for the newest. No clocks are compared.

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
from pathlib import Path
from typing import Any

from elir_jax.errors import UserError

FOLDER = "lock"
BEAT = 10.0  # seconds
PATIENCE = 60.0  # seconds
POLL = 2.0  # seconds between two looks at another machine's lock

logger = logging.getLogger(__name__)
_held: dict[str, "Lease"] = {}  # by run's folder


def take(client: Any, workdir: str) -> None:
    """Take the lock of a run's folder, or wait for a silent holder's. Raises UserError."""
    folder = f"{workdir}/{FOLDER}"
    while True:
        number, holder = _newest(client, folder)
        if holder and not holder.get("free") and not _is_dead(holder):
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
    for workdir, lease in _held.items():
        if lease.lost and f"{place}/".startswith(f"{workdir}/"):
            raise OSError(f"another run took {workdir} while this one did not answer")


class Lease:
    """This process's number of a lock."""

    def __init__(self, client: Any, workdir: str, number: int):
        self._client, self._folder, self._number = client, f"{workdir}/{FOLDER}", number
        self._content = _this_process() | {"beat": 0}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self.lost = False

    def create(self) -> None:
        """Create the object. Raises FileExistsError if another has."""
        name, refused = f"{self._folder}/{self._number}", None
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
            for number in _numbers(self._client, self._folder):
                if number < self._number:
                    self._client.rm_file(f"{self._folder}/{number}")
        self._thread.start()
        atexit.register(self.end)

    def end(self) -> None:
        """Say that the lock is free."""
        if self._ended.is_set():
            return
        self._ended.set()
        atexit.unregister(self.end)
        self._thread.join()
        if not self.lost:
            self._content["free"] = True
            with suppress(Exception):  # others then wait for PATIENCE
                self._write()

    def _beat(self) -> None:
        written = time.monotonic()
        while not self._ended.wait(BEAT):
            try:
                numbers = _numbers(self._client, self._folder)
                self.lost = max(numbers, default=0) > self._number
                if self.lost:
                    return
                self._content["beat"] += 1
                self._write()
                written = time.monotonic()
            except Exception as error:  # the network may come back in time
                logger.warning("%s: cannot be renewed (%s)", self._folder, error)
                self.lost = time.monotonic() - written > PATIENCE - BEAT
                if self.lost:
                    return

    def _write(self) -> None:
        self._client.pipe_file(f"{self._folder}/{self._number}", self._bytes())

    def _bytes(self) -> bytes:
        return json.dumps(self._content).encode()


def _numbers(client: Any, folder: str) -> list[int]:
    names = [name.rpartition("/")[2] for name in client.find(folder)]
    return [int(name) for name in names if name.isdecimal()]


def _newest(client: Any, folder: str) -> tuple[int, dict]:
    """The highest number and its content; (0, {}) if the lock was never taken."""
    number = max(_numbers(client, folder), default=0)
    if not number:
        return 0, {}
    try:
        return number, json.loads(client.cat_file(f"{folder}/{number}"))
    except (FileNotFoundError, ValueError):  # just deleted by a newer holder
        return number, {"name": "another process"}


def _wait_in_silence(client: Any, workdir: str, number: int, holder: dict) -> None:
    """Return when the holder was silent for ``PATIENCE``. Raises UserError if it is not."""
    in_use = UserError(
        f"{workdir}: in use by another run ({holder.get('name')}); wait, or choose another "
        f"--workdir"
    )
    if holder.get("machine") == _machine():  # and its process runs
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


def _this_process() -> dict:
    process = os.getpid()
    return {
        "name": f"process {process} on {os.uname().nodename}",
        "machine": _machine(),
        "process": process,
        "began": _began(process),
        "token": uuid.uuid4().hex,
    }


def _is_dead(holder: dict) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    same = holder.get("machine") == _machine() is not None
    return same and _began(holder["process"]) != holder["began"]


def _machine() -> str | None:
    """This start of this machine, and its table of processes; None where they have no name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _began(process: int) -> str | None:
    """When a process began, in the kernel's ticks; None if there is none, or it has ended."""
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else rest[18]
