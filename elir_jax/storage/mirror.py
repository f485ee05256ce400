"""A copy of files of an object store on this machine's disk, for programs that read only disks."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etils import epath

from elir_jax.errors import UserError
from elir_jax.files import whole_file
from elir_jax.storage.objects import plainly, version_of

AT_ONCE = 16  # files, between two notes of what is there


def mirrored(client: Any, place: epath.Path, names: Sequence[str], cache: Path) -> Path:
    """The folder of a copy of ``place``'s objects of these names, below ``cache``.

    What is there already is not fetched again, if size and version are still the same. Processes
    that ask for the same copy wait for each other. Raises UserError if the disk has no room, and
    OSError.
    """
    digest = hashlib.sha256(str(place).encode()).hexdigest()[:16]
    folder, notes = cache / digest, cache / f"{digest}.json"
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / f"{digest}.lock"):
        wanted = {name: _version(client, f"{place}/{name}") for name in names}
        there = _noted(notes)
        missing = [name for name, version in wanted.items() if there.get(name) != version]
        needed = sum(wanted[name][0] for name in missing)
        if missing and shutil.disk_usage(cache).free < needed:
            raise UserError(
                f"{place}: its copy needs {needed / 1e9:.1f} GB in {cache}, which has less; make "
                f"room, or set XDG_CACHE_HOME to a larger disk"
            )
        for first in range(0, len(missing), AT_ONCE):
            some = missing[first : first + AT_ONCE]
            for name in some:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with plainly(place):
                client.get([f"{place}/{n}" for n in some], [f"{folder}/{n}" for n in some])
            for name in some:
                if (folder / name).stat().st_size != wanted[name][0]:
                    raise OSError(5, "was cut short on its way", f"{place}/{name}")
            there |= {name: wanted[name] for name in some}
            with whole_file(notes) as part:
                part.write_text(json.dumps(there))
    return folder


def _version(client: Any, name: str) -> list:
    """Its size, and what changes when it is written again."""
    with plainly(epath.Path(name)):
        return version_of(client.info(name))


def _noted(notes: Path) -> dict[str, list]:
    """What was fetched; nothing if the notes are missing or damaged, and all is fetched again."""
    try:
        noted = json.loads(notes.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
