"""Where photographs come from: those that scikit-image ships, or folders of images or of pairs.

A source is a sequence of ``uint8`` RGB images, or of (original, degraded) pairs of them, with a
name for each. Order is fixed, so that the number of an image names it on every host and in every
run.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from elir_jax.errors import UserError
from elir_jax.pictures.images import EXTENSIONS, Pixels, read_image

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
        """What a message calls image ``index``."""
        ...


# Colour photographs inside the scikit-image wheel (no download); both halves of the stereo pair
# show one scene, so they stand on the same side of the split.
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
    from skimage import data  # here, because it takes a second and most runs bring a folder

    if name.startswith("motorcycle"):
        left, right, _ = data.stereo_motorcycle()
        image = left if name.endswith("left") else right
    else:
        image = getattr(data, name)()
    return np.ascontiguousarray(image[..., :3])


@dataclasses.dataclass(frozen=True)
class EmbeddedPhotographs:
    """Photographs by the names under which ``skimage.data`` knows them; kept decoded."""

    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Pixels:
        return _embedded(self.names[index])

    def name(self, index: int) -> str:
        return self.names[index]


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files, decoded anew at each access."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Pixels:
        return read_image(self.paths[index])

    def name(self, index: int) -> str:
        return str(self.paths[index])


@dataclasses.dataclass(frozen=True)
class PairFiles:
    """Pairs of image files, decoded anew at each access."""

    paths: Sequence[tuple[Path, Path]]  # (original, degraded)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Item:
        hq, lq = self.paths[index]
        return read_image(hq), read_image(lq)

    def name(self, index: int) -> str:
        return str(self.paths[index][0])


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


def find_images(folder: Path) -> list[Path]:
    """Image files below ``folder``, sorted by name; extensions in any letter case.

    Raises UserError where the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; it takes a folder of images")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    if not paths:
        kinds = " ".join(sorted(EXTENSIONS))
        raise UserError(f"{folder}: no images in this folder; it wants some of {kinds}")
    return paths


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(original, degraded) files of ``folder/hq`` and ``folder/lq``; see :func:`match_pairs`."""
    return match_pairs(*(folder / side for side in PAIR_FOLDERS))


def match_pairs(hq: Path, lq: Path) -> list[tuple[Path, Path]]:
    """(original, degraded) files of two folders, matched by their names, in order.

    The extension does not count. Raises UserError for a file without its partner, or with two.
    """
    sides = []
    for folder in (hq, lq):
        names: dict[Path, Path] = {}
        for path in find_images(folder):
            key = path.relative_to(folder).with_suffix("")
            if key in names:
                raise UserError(f"{path}: {names[key].name} has the same name; keep one of them")
            names[key] = path
        sides.append(names)
    originals, degraded = sides
    for mine, other, folder in ((originals, degraded, lq), (degraded, originals, hq)):
        lonely = sorted(mine.keys() - other.keys())
        if lonely:
            raise UserError(
                f"{mine[lonely[0]]}: no image of this name in {folder} "
                f"({len(lonely)} without a partner); add it or remove this one"
            )
    return [(originals[key], degraded[key]) for key in sorted(originals)]
