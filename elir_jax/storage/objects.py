"""An object store: no renaming, but an object appears whole.

A folder that must be whole is made on this machine's disk. Its objects are sent, and its ``MARKER``
last: without it, there is no such folder. A folder to be deleted loses its marker first. Nothing is
remembered between two calls, since other machines write too. Nothing is sent, copied or deleted in
a run's folder whose lock this process has lost (:mod:`elir_jax.storage.lease`).
"""

import errno
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from etils import epath

from elir_jax.errors import DISK, UserError
from elir_jax.storage import lease
from elir_jax.storage.place import MARKER
from elir_jax.storage.scratch import scratch

AT_ONCE = 16  # files, between two questions whether this process still has the lock
EVERY = 10.0  # seconds between two sendings of files that grow
GROWTH = 1.1  # and how much they grow: so all sendings together are ten times the last one


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
        try:
            parts = [name.split("/") for name in self.names(folder)]
        except FileNotFoundError:  # no such bucket
            return []
        return sorted(name for name, *rest in parts if rest == [MARKER])

    @contextmanager
    def whole_file(self, place: epath.Path) -> Iterator[Path]:
        with _scratch() as here:
            yield here / place.name
            self._send(here, place.parent, [here / place.name])

    @contextmanager
    def staged(self, folder: epath.Path, *names: str, replace: bool = False) -> Iterator[Path]:
        place = folder.joinpath(*names)
        with _scratch() as here:
            part = here / names[-1]
            part.mkdir()
            yield part
            with plainly(place):
                lease.check(str(place))
            if not replace and MARKER in self.names(place):
                raise FileExistsError(errno.EEXIST, "is there already, and stays", str(place))
            self.remove(place)  # what a kill left of it
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
            lease.check(str(target))
            for name in sorted(self.names(folder), key=lambda name: name == MARKER):
                self._client.cp_file(f"{folder}/{name}", f"{target}/{name}")
        self.remove(folder)

    def remove(self, folder: epath.Path) -> None:
        names = self.names(folder)
        with plainly(folder):
            lease.check(str(folder))
            if MARKER in names:
                names.remove(MARKER)
                self._client.rm_file(f"{folder}/{MARKER}")
            if names:
                self._client.rm([f"{folder}/{name}" for name in names])

    def versions(self, folder: epath.Path) -> dict[str, list]:
        with plainly(folder):
            found = self._client.find(str(folder), detail=True)
        return {name: version_of(info) for name, info in found.items()}

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
        names = [path.relative_to(here).as_posix() for path in files]
        with plainly(folder):
            for first in range(0, len(names), AT_ONCE):
                some = names[first : first + AT_ONCE]
                lease.check(str(folder))
                self._client.put([f"{here}/{n}" for n in some], [f"{folder}/{n}" for n in some])


class Sending:
    """Files on this machine; a thread copies them to an object store where they have changed."""

    def __init__(self, objects: Objects, place: epath.Path):
        self.folder = scratch()
        self._objects, self._place = objects, place
        self._sent: dict[str, tuple[int, int]] = {}  # size and time of each file that is there
        self._size, self._last = 0, -EVERY  # bytes and time of the last start
        self._pool = ThreadPoolExecutor(1, "sending")
        self._sending: Future[None] = Future()
        self._sending.set_result(None)

    def send(self, now: bool = True) -> None:
        """Start to send those that have changed, as they are now.

        Unless ``now``, only if the last time is long ago and they have grown enough. Raises the
        error of the last time, if that failed.
        """
        last, files = self._sending, self._files()
        failed = last.exception() if last.done() else None
        if now or failed is not None or (last.done() and self._is_due(files)):
            self._start(files)
        if failed is not None:
            raise failed

    def wait(self) -> None:
        """Wait until what was to be sent last is there."""
        self._sending.result()

    def close(self) -> None:
        """Send for the last time, and delete the copies here."""
        try:
            self._pool.shutdown()
            self._bring(self.folder, self._files())
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> dict[str, tuple[int, int]]:
        found = {path: path.stat() for path in self.folder.rglob("*") if path.is_file()}
        return {
            path.relative_to(self.folder).as_posix(): (stat.st_size, stat.st_mtime_ns)
            for path, stat in found.items()
        }

    def _is_due(self, files: dict[str, tuple[int, int]]) -> bool:
        grown = _bytes(files) >= GROWTH * self._size
        return grown and time.monotonic() - self._last >= EVERY

    def _start(self, files: dict[str, tuple[int, int]]) -> None:
        self._size, self._last = _bytes(files), time.monotonic()
        copies = scratch()  # the files go on growing meanwhile
        for name in files:
            (copies / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / name, copies / name)
        self._sending = self._pool.submit(self._bring_copies, copies, files)

    def _bring_copies(self, copies: Path, files: dict[str, tuple[int, int]]) -> None:
        try:
            self._bring(copies, files)
        finally:
            shutil.rmtree(copies, ignore_errors=True)

    def _bring(self, folder: Path, files: dict[str, tuple[int, int]]) -> None:
        changed = [name for name, state in files.items() if self._sent.get(name) != state]
        self._objects._send(folder, self._place, [folder / name for name in changed])
        self._sent |= files


def _bytes(files: dict[str, tuple[int, int]]) -> int:
    return sum(size for size, _ in files.values())


def version_of(info: dict) -> list:
    """Of an object's description: its size, and what changes when it is written again."""
    mark = info.get("ETag") or info.get("generation") or info.get("etag") or info.get("md5Hash")
    return [info["size"], str(mark)]


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
        number = getattr(error, "errno", None)
        if number not in DISK:  # one that a client made up
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
