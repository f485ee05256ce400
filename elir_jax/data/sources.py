"""The sources of photographs: those that scikit-image ships, and folders of images or pairs.

A source is a sequence of ``uint8`` RGB images, or of (original, degraded) pairs of them, each with
a name. The order is fixed, so that the number of an image identifies it on every host and in every
run.
"""

import collections
import dataclasses
import functools
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from elir_jax.data.listing import FileList
from elir_jax.data.walking import LeftOut, walk
from elir_jax.errors import UserError
from elir_jax.pictures.images import Pixels, read_image
from elir_jax.pictures.opening import EXTENSIONS

# An image, or an original with its degraded version.
Item = (
    UInt8[np.ndarray, "height width 3"]
    | tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height_lq width_lq 3"]]
)


@runtime_checkable
class Source(Protocol):
    """Random access to images or pairs."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Item: ...

    def name(self, index: int) -> str:
        """The name of image ``index`` in messages."""
        ...


# Colour photographs inside the scikit-image wheel (no download). Both halves of the stereo pair
# show one scene, so they are on the same side of the split.
EMBEDDED_TRAIN = (
    "chelsea",
    "hubble_deep_field",
    "immunohistochemistry",
    "motorcycle_left",
    "motorcycle_right",
    "retina",
    "rocket",
)
EMBEDDED_HELD_OUT = ("astronaut", "coffee")


@functools.cache
def _embedded(name: str) -> Pixels:
    from skimage import data  # here, because it takes a second and most runs do not need it

    if name.startswith("motorcycle"):
        left, right, _ = data.stereo_motorcycle()
        image = left if name.endswith("left") else right
    else:
        image = getattr(data, name)()
    return np.ascontiguousarray(image[..., :3])


@dataclasses.dataclass(frozen=True)
class EmbeddedPhotographs:
    """Photographs by their names in ``skimage.data``; kept decoded."""

    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Pixels:
        return _embedded(self.names[index])

    def name(self, index: int) -> str:
        return self.names[index]


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files, decoded at each access."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Pixels:
        return read_image(self.paths[index])

    def name(self, index: int) -> str:
        return str(self.paths[index])


@dataclasses.dataclass(frozen=True)
class PairFiles:
    """Pairs of image files, decoded at each access."""

    originals: Sequence[Path]
    degraded: Sequence[Path]  # in the same order

    def __len__(self) -> int:
        return len(self.originals)

    def __getitem__(self, index: int) -> Item:
        return read_image(self.originals[index]), read_image(self.degraded[index])

    def name(self, index: int) -> str:
        return str(self.originals[index])


@dataclasses.dataclass(frozen=True)
class Subset:
    """Some images of another source."""

    source: Source
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Item:
        return self.source[self.numbers[index]]

    def name(self, index: int) -> str:
        return self.source.name(self.numbers[index])


PAIR_FOLDERS = ("hq", "lq")


def holds_pairs(folder: Path) -> bool:
    """Whether the folder has the sub-folders ``hq`` and ``lq``."""
    return all((folder / name).is_dir() for name in PAIR_FOLDERS)


def find_images(folder: Path) -> FileList:
    """Image files below ``folder``, sorted by name; extensions in any letter case.

    What else it holds is told in the log. Raises UserError if the folder is missing or has none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of images")
    left_out = LeftOut()
    paths = FileList.of(folder, walk(str(folder), EXTENSIONS, left_out))
    left_out.tell()
    if not paths:
        kinds = " ".join(sorted(EXTENSIONS))
        raise UserError(f"{folder}: no images in this folder; these kinds can be read: {kinds}")
    return paths


def find_pairs(folder: Path) -> tuple[FileList, FileList]:
    """(originals, degraded) files of ``folder/hq`` and ``folder/lq``; see :func:`match_pairs`."""
    hq, lq = (folder / side for side in PAIR_FOLDERS)
    return match_pairs(hq, lq)


def match_pairs(hq: Path, lq: Path) -> tuple[FileList, FileList]:
    """(originals, degraded): files of two folders, matched by their names, in the same order.

    Extensions are ignored, and so are capital letters if no other file has the name without them.
    Raises UserError if a file has no partner, or two.
    """
    originals, degraded = _by_stem(hq), _by_stem(lq)
    degraded = _named_as(originals, degraded)
    for mine, other, folder, absent in (
        (originals, degraded, hq, lq),
        (degraded, originals, lq, hq),
    ):
        lonely = mine.keys() - other.keys()
        if lonely:
            raise UserError(
                f"{folder / mine[min(lonely, key=_parts)]}: no image of this name in {absent} "
                f"({len(lonely)} without a partner); add it or remove this one"
            )
    stems = sorted(originals, key=_parts)
    return (
        FileList.of(hq, (originals[stem] for stem in stems)),
        FileList.of(lq, (degraded[stem] for stem in stems)),
    )


def _by_stem(folder: Path) -> dict[str, str]:
    """Relative name without extension -> relative name, of each image below ``folder``."""
    names: dict[str, str] = {}
    for path in find_images(folder):
        name = path.relative_to(folder)
        stem = name.with_suffix("").as_posix()
        if stem in names:
            raise UserError(f"{path}: {names[stem]} has the same name; keep one of them")
        names[stem] = name.as_posix()
    return names


def _named_as(originals: dict[str, str], degraded: dict[str, str]) -> dict[str, str]:
    """``degraded`` by the stems of its originals where only capital letters differ."""
    wanted = _by_small_letters(originals.keys() - degraded.keys())
    given = _by_small_letters(degraded.keys() - originals.keys())
    same = {given[small]: wanted[small] for small in wanted.keys() & given.keys()}
    return {same.get(stem, stem): name for stem, name in degraded.items()}


def _by_small_letters(stems: Set[str]) -> dict[str, str]:
    """The stem in small letters -> the stem, of those that differ in more than capital letters."""
    times = collections.Counter(stem.casefold() for stem in stems)
    return {stem.casefold(): stem for stem in stems if times[stem.casefold()] == 1}


def _parts(name: str) -> list[str]:
    return name.split("/")
