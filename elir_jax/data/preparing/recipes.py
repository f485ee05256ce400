"""How ``prepare`` turns a folder of images into records: their files and their encoding.

A record holds encoded images, named by ``Recipe.features``, and ``name``: the path of the first
image's file relative to its folder.
"""

import dataclasses
import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from PIL import Image

from elir_jax.data.sources import PAIR_FOLDERS, find_images, find_pairs, holds_pairs
from elir_jax.errors import UserError
from elir_jax.pictures.images import Pixels, decode_image
from elir_jax.pictures.opening import open_bytes, read_bytes

KEPT_FORMATS = frozenset({"PNG", "JPEG", "MPO"})  # MPO: a phone's JPEG followed by more images


@dataclasses.dataclass(frozen=True)
class Entry:
    """The files of one record, in the order of ``Recipe.features``."""

    name: str
    files: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one kind of dataset is made."""

    split: str
    features: tuple[str, ...]
    find: Callable[[Path], list[Entry]]
    size: int | None = None  # the shorter side of the first image; None: unchanged
    square: bool = False


def encode_entry(recipe: Recipe, entry: Entry) -> dict[str, bytes | str]:
    """The record of ``entry``. Raises a UserError that names a file if it cannot be used.

    ``recipe.size`` sets the scale by the first image; the others are scaled by the same factor.
    """
    record, scale = {"name": entry.name}, None
    for feature, path in zip(recipe.features, entry.files, strict=True):
        content = read_bytes(path)
        pixels = decode_image(content, str(path))
        height, width = pixels.shape[:2]
        if recipe.square and height != width:
            raise UserError(
                f"{path}: {width}x{height} pixels; images of this dataset must be square"
            )
        if scale is None:
            scale = Fraction(recipe.size, min(height, width)) if recipe.size else Fraction(1)
        shape = (max(1, round(height * scale)), max(1, round(width * scale)))
        record[feature] = _encode(content, pixels, shape)
    return record


def _encode(content: bytes, pixels: Pixels, shape: tuple[int, int]) -> bytes:
    """The image at (height, width): the file's own bytes if possible, otherwise a PNG.

    The own bytes lose nothing and are no larger. Pillow's bicubic filter resizes, with
    anti-aliasing.
    """
    same_size = pixels.shape[:2] == shape
    if same_size and _is_plain(content):
        return content
    image = Image.fromarray(pixels)
    if not same_size:
        image = image.resize(shape[::-1], Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _is_plain(content: bytes) -> bool:
    """Whether all readers get the same pixels: 8-bit RGB, upright, PNG or JPEG, undamaged."""
    opened = open_bytes(content, "an image that was decoded")
    try:
        Image.open(io.BytesIO(content)).verify()  # a PNG's checksums
    except Exception:  # our reader forgives more than others
        return False
    return (
        opened.image.format in KEPT_FORMATS
        and opened.image.mode == "RGB"
        and "transparency" not in opened.image.info
        and opened.bits == 8
        and opened.orientation == 1
    )


def _single_images(folder: Path) -> list[Entry]:
    _check_folder(folder)
    return [Entry(_name(path, folder), (path,)) for path in find_images(folder)]


def _pairs(folder: Path) -> list[Entry]:
    _check_folder(folder)
    if not holds_pairs(folder):
        raise UserError(f"{folder}: must contain the folders {' and '.join(PAIR_FOLDERS)}")
    pairs = zip(*find_pairs(folder), strict=True)
    return [Entry(_name(pair[0], folder / PAIR_FOLDERS[0]), pair) for pair in pairs]


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")


def _name(path: Path, folder: Path) -> str:
    """The relative path as text; bytes that are not UTF-8 are written as escapes."""
    raw = path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")


RECIPES = {
    "ffhq": Recipe("train", ("image",), _single_images, size=512, square=True),
    "celeba_test": Recipe("test", PAIR_FOLDERS, _pairs),
    "folder": Recipe("train", ("image",), _single_images),
}
