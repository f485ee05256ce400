"""Search folders for pictures: the one walk for training, pairs, evaluation and restoring.

What it does not take is counted and told. It goes on past folders that cannot be read, and follows
a link to a folder once, so no link makes it run in circles.
"""

import collections
import logging
import os
from collections.abc import Iterator, Set

logger = logging.getLogger(__name__)

# Kinds of what is not taken.
UNREADABLE = "folders that cannot be read"
NOWHERE = "links that lead nowhere"
MACOS = "files that macOS adds (._NAME)"
HIDDEN = "hidden folders"
OTHER = "files of other kinds"
AGAIN = "folders that are listed already, or that hold the one that is"
EXCLUDED = "the folder of the results"
RESULTS = "results of ours, which are no inputs"
LOST = (UNREADABLE, NOWHERE)  # these may have been, or held, pictures
NAMED = 3  # of each kind


class LeftOut:
    """How many entries of each kind a search did not take, and the first names of each."""

    def __init__(self):
        self.counts: collections.Counter[str] = collections.Counter()
        self._names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Count one entry of a kind, one of the constants above."""
        self.counts[kind] += 1
        names = self._names.setdefault(kind, [])
        if len(names) < NAMED:
            names.append(" ".join(name.splitlines()))

    @property
    def lost(self) -> int:
        """How many of them may have been pictures, or have held some."""
        return sum(self.counts[kind] for kind in LOST)

    def lines(self) -> list[str]:
        """A line for each kind: ``passed over: files of other kinds (2): D/a.txt, D/b.txt``."""
        found = []
        for kind, names in self._names.items():
            verb, count = "left out" if kind in LOST else "passed over", self.counts[kind]
            more = ", ..." if count > len(names) else ""
            found.append(f"{verb}: {kind} ({count}): {', '.join(names)}{more}")
        return found

    def tell(self) -> None:
        """Put these lines into the log, which shows them on standard error."""
        for line in self.lines():
            logger.warning("%s", line)


def walk(
    folder: str, extensions: Set[str], left_out: LeftOut, without: str | None = None
) -> Iterator[str]:
    """Names, relative to ``folder``, of the files with these extensions in any letter case.

    They come in the order of sorted paths; everything else is counted in ``left_out``. Folders that
    links lead to are searched under the links' names, unless they are searched anyway or hold
    ``folder``. Only links need a look at the file itself: for other entries the folder's listing
    gives the kind. ``without`` is a folder that is not searched.
    """
    return _Walk(folder, extensions, left_out, without).files("", os.path.realpath(folder))


class _Walk:
    def __init__(self, folder: str, extensions: Set[str], left_out: LeftOut, without: str | None):
        self.folder, self.extensions, self.left_out = folder, extensions, left_out
        self.root = os.path.realpath(folder)
        self.linked: list[str] = []  # real paths of the folders that links led to
        self.without = None if without is None else os.path.realpath(without)
        if self.without is not None and _in(self.root, self.without):
            self.without = None  # what is below the results is searched if it is named

    def files(self, below: str, real: str) -> Iterator[str]:
        """The files in ``folder/below``, a folder whose real path is ``real``."""
        names: list[str] = []
        folders: dict[str, str] = {}  # name -> real path
        try:
            with os.scandir(os.path.join(self.folder, below)) as entries:
                for entry in entries:
                    if entry.name.startswith("._"):
                        kind = MACOS
                    elif entry.name.startswith(".") and entry.is_dir():
                        kind = HIDDEN
                    elif entry.is_dir(follow_symlinks=False):
                        kind, folders[entry.name] = "", os.path.join(real, entry.name)
                    elif entry.is_symlink() and _leads_to_a_folder(entry):
                        target = os.path.realpath(os.path.join(real, entry.name))
                        kind, folders[entry.name] = "", target
                    else:
                        kind = self._why_not(entry, real)
                    if kind:
                        self._leave(kind, below + entry.name)
                    else:
                        names.append(entry.name)
            if not os.access(os.path.join(self.folder, below), os.X_OK):
                raise PermissionError
        except OSError:
            self._leave(UNREADABLE, below)
            return
        for name in sorted(names):
            inside = folders.get(name)
            if inside is None:
                yield below + name
            elif kind := self._why_not_enter(inside, os.path.join(real, name)):
                self._leave(kind, below + name)
            else:
                yield from self.files(f"{below}{name}/", inside)

    def _why_not(self, entry: os.DirEntry, real: str) -> str:
        """The kind of an entry that is neither a folder nor a picture's file; else empty."""
        stem, dot, extension = entry.name.rpartition(".")
        if not stem or dot + extension.lower() not in self.extensions:
            return OTHER
        if entry.is_symlink() and self.without is not None:
            target = os.path.realpath(os.path.join(real, entry.name))
            if _in(target, self.without):
                return EXCLUDED
        if _is_file(entry):
            return ""
        return NOWHERE if entry.is_symlink() else OTHER

    def _why_not_enter(self, real: str, place: str) -> str:
        """The kind of a folder that is not searched; ``place`` is its real path if no link is."""
        if self.without is not None and _in(real, self.without):
            return EXCLUDED
        if real == place:
            return AGAIN if real in self.linked else ""
        known = (self.root, *self.linked)
        if _in(self.root, real) or any(_visibly_in(real, outer) for outer in known):
            return AGAIN
        self.linked.append(real)
        return ""

    def _leave(self, kind: str, name: str) -> None:
        self.left_out.add(kind, os.path.join(self.folder, name).rstrip("/"))


def _in(inner: str, outer: str) -> bool:
    """Whether a folder is another one or below it, both by their real paths."""
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def _visibly_in(inner: str, outer: str) -> bool:
    """The same, if a search of the outer one comes to the inner one."""
    return _in(inner, outer) and "/." not in inner[len(outer.rstrip("/")) :]


def _leads_to_a_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that cannot be entered
        return False


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
