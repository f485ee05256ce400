"""Long lists of image files in little memory, which other processes read without a copy.

An anonymous file in memory holds the names one after another, and then the start of each. A process
that receives such a list maps the same file, so all processes share one copy.
"""

import array
import bisect
import dataclasses
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np


class FileList(Sequence[Path]):
    """Files below ``folder``, ordered by their names relative to it."""

    def __init__(self, folder: Path, count: int, content: int):
        """``content``: descriptor of a file of names and starts; this list takes it over."""
        self._folder, self._count, self._content = folder, count, content
        weakref.finalize(self, os.close, content)
        self._map = mmap.mmap(content, 0, access=mmap.ACCESS_READ)
        starts = len(self._map) - 8 * (count + 1)
        self._starts = np.frombuffer(self._map, np.int64, count + 1, starts)

    @classmethod
    def of(cls, folder: Path, names: Iterable[str]) -> "FileList":
        """The list of ``names``, relative to ``folder``."""
        starts, content = array.array("q", [0]), _anonymous_file()
        with os.fdopen(content, "wb", closefd=False) as file:
            for name in names:
                starts.append(starts[-1] + file.write(os.fsencode(name)))
            file.write(starts)
        return cls(folder, len(starts) - 1, content)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Path:
        index = range(self._count)[index]
        first, last = self._starts[index : index + 2].tolist()
        return self._folder / os.fsdecode(self._map[first:last])

    def __reduce__(self):
        shared = f"/proc/{os.getpid()}/fd/{self._content}"  # Linux: while this process runs
        if os.path.exists(shared):
            return _mapped, (self._folder, self._count, shared)
        return FileList.of, (self._folder, [str(p.relative_to(self._folder)) for p in self])


def _mapped(folder: Path, count: int, shared: str) -> FileList:
    return FileList(folder, count, os.open(shared, os.O_RDONLY | os.O_CLOEXEC))


def _anonymous_file() -> int:
    """The descriptor of a file without a name, which is deleted when the last process closes it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("names")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@dataclasses.dataclass(frozen=True)
class AllBut(Sequence[int]):
    """The numbers below ``total``, in order, without the sorted few in ``left_out``."""

    total: int
    left_out: tuple[int, ...]

    def __len__(self) -> int:
        return self.total - len(self.left_out)

    def __getitem__(self, index: int) -> int:
        index = range(len(self))[index]
        before = range(len(self.left_out))
        return index + bisect.bisect_right(before, index, key=lambda j: self.left_out[j] - j)
