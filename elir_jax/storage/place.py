"""Places of a run's files, and what is done with them: on a disk or in an object store.

A place is a path: of :mod:`pathlib` on a disk, of etils' epath (``s3://...``, ``gs://...``) in an
object store. Programs that write files always write them to a disk; a storage brings them to their
place. Everything here raises OSError, with the place and a reason, if it fails.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

try:
    from etils import epath
except ImportError:  # the runner without JAX needs no object store, and none of its packages
    Place = Path
else:
    Place = Path | epath.Path
MARKER = "digests.json"  # the last file of a folder that is written whole


@runtime_checkable
class Outgoing(Protocol):
    """Files that belong into a folder of a storage, and grow or change."""

    folder: Path  # where to write them

    def send(self, now: bool = True) -> None:
        """Start to bring them to their place, as they are; unless ``now``, only now and then.

        Raises the error of the last time, if that failed.
        """
        ...

    def wait(self) -> None:
        """Wait until what :meth:`send` started last is done. Raises its error."""
        ...

    def close(self) -> None:
        """Send what there is, for the last time, and wait."""
        ...


@runtime_checkable
class Storage(Protocol):
    """What a run does with places."""

    def absolute(self, place: Place) -> Place:
        """The same place, whatever the working directory becomes."""
        ...

    def lock(self, workdir: Place) -> None:
        """Make ``workdir`` this process's. Raises UserError if it is another's."""
        ...

    def unlock(self, workdir: Place) -> None:
        """Give ``workdir`` back, if this process has it."""
        ...

    def prepare(self, folder: Place) -> None:
        """Make the folder; remove what a killed run left unfinished there."""
        ...

    def free(self, folder: Place) -> int:
        """The room in bytes for what is written to ``folder`` next."""
        ...

    def exists(self, place: Place) -> bool:
        """Whether there is a file or folder of this name."""
        ...

    def read(self, place: Place) -> bytes:
        """The content of a file."""
        ...

    def folders(self, folder: Place) -> list[str]:
        """The names of the folders in ``folder`` that are whole; none if it does not exist."""
        ...

    def whole_file(self, place: Place) -> AbstractContextManager[Path]:
        """Gives a path to write; the file then appears at ``place``, completely or not at all."""
        ...

    def staged(
        self, folder: Place, *names: str, replace: bool = False
    ) -> AbstractContextManager[Path]:
        """Gives a new folder to fill, which then is ``folder/NAME/...``, completely or not at all.

        What is filled in must be flushed and have a ``MARKER``. A whole folder of that name is an
        error and stays, unless the new one is to ``replace`` it.
        """
        ...

    def fetched(self, folder: Place) -> AbstractContextManager[Path]:
        """Gives a path to read the folder from; empty if it does not exist."""
        ...

    def fetched_file(self, place: Place) -> AbstractContextManager[Path]:
        """Gives a path to read the file from."""
        ...

    def versions(self, folder: Place) -> dict[str, list] | None:
        """By file, what changes when it is written again; None if only its content tells."""
        ...

    def move(self, folder: Place, target: Place) -> None:
        """Rename a folder."""
        ...

    def remove(self, folder: Place) -> None:
        """Delete a folder; from the first moment it is not whole any more."""
        ...

    def outgoing(self, folder: Place, *names: str) -> Outgoing:
        """A path to write files below ``folder``; those of ``names`` that exist are there."""
        ...
