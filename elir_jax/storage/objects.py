"""An object store: no renaming, but an object appears whole.

A folder that must be whole is made on this machine's disk. Its objects are sent, and its ``MARKER``
last: without it, there is no such folder. A folder to be deleted loses its marker first. Nothing is
remembered between two calls, since other machines write too.
"""

import errno
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from etils import epath

from elir_jax.errors import UserError
from elir_jax.storage import lease
from elir_jax.storage.place import MARKER
from elir_jax.storage.scratch import scratch

EVERY = 10.0  # seconds between two sendings of a file that grows


class Objects:
    """:class:`elir_jax.storage.place.Storage` of an object store."""

    def __init__(self, client: Any):
        """``client``: fsspec's, without a cache of listings."""
        self._client = client

    def absolute(self, place: epath.Path) -> epath.Path:
        return place

    def lock(self, workdir: epath.Path) -> None:
        """Make ``workdir`` this process's. Raises UserError as a disk does."""
        try:
            with plainly(workdir):
                lease.take(self._client, str(workdir))
        except OSError as error:
            raise UserError(
                f"{workdir}: cannot be written ({error.strerror}); choose another --workdir"
            ) from error

    def unlock(self, workdir: epath.Path) -> None:
        lease.give_back(str(workdir))

    def prepare(self, folder: epath.Path) -> None:
        """Remove folders named by a number that have no marker."""
        names = {name.partition("/")[0] for name in self.names(folder)}
        for name in names - set(self.folders(folder)):
            if name.isdecimal():
                self.remove(folder / name)

    def free(self, folder: epath.Path) -> int:
        """The room on this machine, where folders are made."""
        return shutil.disk_usage(tempfile.gettempdir()).free

    def exists(self, place: epath.Path) -> bool:
        with plainly(place):
            return bool(self._client.exists(str(place)))

    def read(self, place: epath.Path) -> bytes:
        with plainly(place):
            return self._client.cat_file(str(place))

    def folders(self, folder: epath.Path) -> list[str]:
        parts = [name.split("/") for name in self.names(folder)]
        return sorted(name for name, *rest in parts if rest == [MARKER])

    @contextmanager
    def whole_file(self, place: epath.Path) -> Iterator[Path]:
        with _scratch() as here:
            yield here / place.name
            self._send(here, place.parent, [here / place.name])

    @contextmanager
    def staged(self, folder: epath.Path, *names: str) -> Iterator[Path]:
        place = folder.joinpath(*names)
        with _scratch() as here:
            part = here / names[-1]
            part.mkdir()
            yield part
            self.remove(place)
            inside = [path for path in part.rglob("*") if path.is_file()]
            self._send(part, place, [path for path in inside if path != part / MARKER])
            self._send(part, place, [part / MARKER])

    @contextmanager
    def fetched(self, folder: epath.Path) -> Iterator[Path]:
        """Objects that disappear meanwhile are missing in the copy."""
        names = self.names(folder)
        with _scratch() as here:
            copy = here / folder.name
            copy.mkdir()
            for name in names:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                with plainly(folder):
                    self._client.get(
                        [f"{folder}/{n}" for n in names], [f"{copy}/{n}" for n in names]
                    )
            except FileNotFoundError:
                pass
            yield copy

    @contextmanager
    def fetched_file(self, place: epath.Path) -> Iterator[Path]:
        with _scratch() as here:
            (here / place.name).write_bytes(self.read(place))
            yield here / place.name

    def move(self, folder: epath.Path, target: epath.Path) -> None:
        """Copies, then deletes: a kill in between leaves both."""
        with plainly(target):
            for name in sorted(self.names(folder), key=lambda name: name == MARKER):
                self._client.cp_file(f"{folder}/{name}", f"{target}/{name}")
        self.remove(folder)

    def remove(self, folder: epath.Path) -> None:
        names = self.names(folder)
        with plainly(folder):
            if MARKER in names:
                names.remove(MARKER)
                self._client.rm_file(f"{folder}/{MARKER}")
            if names:
                self._client.rm([f"{folder}/{name}" for name in names])

    def outgoing(self, folder: epath.Path, *names: str) -> "Sending":
        sending = Sending(self, folder)
        for name in names:
            with suppress(FileNotFoundError):
                (sending.folder / name).write_bytes(self.read(folder / name))
        return sending

    def names(self, folder: epath.Path) -> list[str]:
        """The names of all objects below ``folder``, relative to it."""
        with plainly(folder):
            above = self._client._strip_protocol(str(folder)) + "/"
            found = self._client.find(str(folder))
        return [name.removeprefix(above) for name in found if name.startswith(above)]

    def _send(self, here: Path, folder: epath.Path, files: Iterable[Path]) -> None:
        """Send files below ``here`` to ``folder``. Raises OSError if the lock was lost."""
        files = list(files)
        with plainly(folder):
            lease.check(str(folder))
            names = [path.relative_to(here).as_posix() for path in files]
            self._client.put([str(path) for path in files], [f"{folder}/{n}" for n in names])


class Sending:
    """Files on this machine, copied to an object store where they have changed."""

    def __init__(self, objects: Objects, place: epath.Path):
        self.folder = scratch()
        self._objects, self._place = objects, place
        self._sent: dict[Path, tuple[int, int]] = {}
        self._last = -EVERY

    def send(self, now: bool = True) -> None:
        """Send those that have changed; unless ``now``, only if the last time is long ago."""
        if not now and time.monotonic() - self._last < EVERY:
            return
        found = {path: path.stat() for path in self.folder.rglob("*") if path.is_file()}
        states = {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}
        changed = [path for path, state in states.items() if self._sent.get(path) != state]
        if changed:
            self._objects._send(self.folder, self._place, changed)
        self._sent, self._last = states, time.monotonic()

    def close(self) -> None:
        """Send for the last time, and delete the copies here."""
        try:
            self.send()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def plainly(place: epath.Path) -> Iterator[None]:
    """Any exception of the clients as an OSError with the place and a reason in one line."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        said = "no such object, or no such bucket"
        raise FileNotFoundError(errno.ENOENT, said, str(place)) from error
    except Exception as error:
        number = errno.EACCES if isinstance(error, PermissionError) else errno.EIO
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OSError(number, said.strip().partition("\n")[0][:200], str(place)) from error


@contextmanager
def _scratch() -> Iterator[Path]:
    here = scratch()
    try:
        yield here
    finally:
        shutil.rmtree(here, ignore_errors=True)
