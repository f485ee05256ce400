"""Where photographs come from: those that scikit-image ships, or any folder of images.

A source is a sequence of ``uint8`` RGB images with a name for each. Order is fixed, so that the
number of an image names it on every host and in every run.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from elir_jax.data.images import EXTENSIONS, Pixels, check_room, read_image, read_size
from elir_jax.errors import UserError


@runtime_checkable
class Source(Protocol):
    """Random access to images."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pixels: ...

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


def find_images(folder: Path) -> list[Path]:
    """Image files below ``folder``, sorted by name; extensions in any letter case.

    Raises UserError where the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --config.data.path wants a folder of images")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    if not paths:
        kinds = " ".join(sorted(EXTENSIONS))
        raise UserError(f"{folder}: no images in this folder; it wants some of {kinds}")
    return paths


def split_folder(folder: Path, held_out: int) -> tuple[ImageFiles, ImageFiles]:
    """(training images, held-out images); the latter are spread evenly over the sorted names.

    ``held_out`` of them, at most a fifth of the folder, one at least.
    """
    paths = find_images(folder)
    if len(paths) < 2:
        raise UserError(
            f"{folder}: holds one image, which cannot serve training and evaluation both; add "
            f"images or name others with --config.data.eval_path"
        )
    count = max(1, min(held_out, len(paths) // 5))
    chosen = {(2 * i + 1) * len(paths) // (2 * count) for i in range(count)}
    train = [p for i, p in enumerate(paths) if i not in chosen]
    return ImageFiles(train), ImageFiles([paths[i] for i in sorted(chosen)])


def choose_sources(
    path: str, eval_path: str, held_out: int, embedded: bool
) -> tuple[Source, Source]:
    """(training images, held-out images) from folders, or the embedded photographs where allowed.

    Raises UserError where there is nothing to train on.
    """
    if path and eval_path:
        return ImageFiles(find_images(Path(path))), ImageFiles(find_images(Path(eval_path)))
    if path:
        return split_folder(Path(path), held_out)
    if not embedded:
        raise UserError(
            "no training images: this configuration wants your own; give a folder of them with "
            "--config.data.path=FOLDER"
        )
    train = EmbeddedPhotographs(EMBEDDED_TRAIN)
    if eval_path:
        return train, ImageFiles(find_images(Path(eval_path)))
    return train, EmbeddedPhotographs(EMBEDDED_HELD_OUT)


def check_sizes(source: Source, size: int) -> None:
    """Raise UserError, naming it, for an image too small for crops of ``size``; reads all headers.

    Held-out images are checked so before training, which would end in their error otherwise.
    """
    if isinstance(source, ImageFiles):
        for path in source.paths:
            check_room(*read_size(path), size, str(path))
