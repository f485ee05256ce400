"""A disk: renaming is atomic, and a lock ends with its process."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from elir_jax import files
from elir_jax.errors import UserError
from elir_jax.files import sync

LOCK = "lock"
PART = "part-"  # prefix of a folder that is being written
OLD = "old-"  # prefix of a folder that is being deleted

logger = logging.getLogger(__name__)


class Here:
    """Files that are written in place."""

    def __init__(self, folder: Path):
        self.folder = folder

    def send(self, now: bool = True) -> None:
        """They are there."""

    def wait(self) -> None:
        """They are there."""

    def close(self) -> None:
        """Nothing is left to do."""


class Disk:
    """:class:`elir_jax.storage.place.Storage` of a file system."""

    def absolute(self, place: Path) -> Path:
        return place.absolute()

    def lock(self, workdir: Path) -> None:
        """Create the folder and lock it for this process until it ends, in whatever way.

        Raises UserError if another run uses it, or if it cannot be created or written.
        """
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            number = os.open(workdir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(
                f"{workdir}: cannot be written ({error.strerror}); choose another --workdir"
            ) from error
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(number, 200).decode(errors="replace").strip() or "another process"
            os.close(number)
            raise UserError(
                f"{workdir}: in use by another run ({holder}); wait, or choose another --workdir"
            ) from None
        except OSError as error:  # some network file systems have no locks
            logger.warning("%s: cannot be locked (%s); start only one run", workdir, error.strerror)
        os.ftruncate(number, 0)
        os.write(number, f"process {os.getpid()} on {os.uname().nodename}\n".encode())

    def unlock(self, workdir: Path) -> None:
        """The end of the process does it."""

    def prepare(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name.startswith((PART, OLD)):
                shutil.rmtree(path, ignore_errors=True)

    def free(self, folder: Path) -> int:
        folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(folder).free

    def exists(self, place: Path) -> bool:
        return place.exists()

    def read(self, place: Path) -> bytes:
        return place.read_bytes()

    def folders(self, folder: Path) -> list[str]:
        try:
            with os.scandir(folder) as found:
                return [entry.name for entry in found if entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def whole_file(self, place: Path) -> AbstractContextManager[Path]:
        return files.whole_file(place)

    @contextmanager
    def staged(self, folder: Path, *names: str, replace: bool = False) -> Iterator[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        part, place = folder / f"{PART}{names[0]}", folder.joinpath(*names)
        shutil.rmtree(part, ignore_errors=True)  # of an attempt that failed
        part.mkdir()
        try:
            yield part
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)  # the next attempt may need the room
            raise
        place.parent.mkdir(exist_ok=True)
        if replace and place.exists():
            self.remove(place, folder / f"{OLD}{names[0]}")
        os.rename(part, place)  # an error if a folder with files has this name
        while place != folder:
            place = place.parent
            sync(place)

    def fetched(self, folder: Path) -> AbstractContextManager[Path]:
        return nullcontext(folder)

    def fetched_file(self, place: Path) -> AbstractContextManager[Path]:
        return nullcontext(place)

    def versions(self, folder: Path) -> None:
        return None

    def move(self, folder: Path, target: Path) -> None:
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)

    def remove(self, folder: Path, aside: Path | None = None) -> None:
        """Rename the folder to ``aside`` first: there are never parts of it under its name."""
        aside = aside or folder.with_name(f"{OLD}{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        shutil.rmtree(aside)

    def outgoing(self, folder: Path, *names: str) -> Here:
        return Here(folder)
