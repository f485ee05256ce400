"""Images on disk and in memory. Only this file converts value ranges.

In memory: RGB, height x width x 3, ``uint8`` in [0, 255] or ``float32`` in [0, 1]. A file of any
colour mode becomes that, or an error names it: grey is repeated, palettes are looked up, CMYK is
converted, 16 bits are rounded to 8, an orientation tag is applied. Transparency is dropped, and the
colours under it are kept as they are. ``anybody.py`` reads the same files and keeps all of this.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from elir_jax.arrays import Float32, UInt8, UInt16
from elir_jax.errors import UserError
from elir_jax.files import whole_file

Pixels = UInt8[np.ndarray, "h w 3"]
FloatPixels = Float32[np.ndarray, "h w 3"]
AnyPixels = Float32[np.ndarray, "_ _ 3"]  # for functions with images of several sizes

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})  # grey of 16 bits


class TooSmall(UserError):
    """An image has too few pixels for the requested crop."""


def to_float(
    samples: UInt8[np.ndarray, "h w *c"] | UInt16[np.ndarray, "h w *c"],
) -> Float32[np.ndarray, "h w *c"]:
    """The full range of the integers -> ``float32`` in [0, 1]."""
    return np.divide(samples, np.float32(np.iinfo(samples.dtype).max), dtype=np.float32)


def to_uint8(image: Float32[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "h w *c"]:
    """``float32``, clipped to [0, 1] -> the nearest ``uint8``."""
    return _nearest(image, np.uint8)


def to_uint16(image: Float32[np.ndarray, "h w *c"]) -> UInt16[np.ndarray, "h w *c"]:
    """``float32``, clipped to [0, 1] -> the nearest ``uint16``."""
    return _nearest(image, np.uint16)


def _nearest(image: np.ndarray, kind: type[np.unsignedinteger]) -> np.ndarray:
    scaled = np.clip(image, 0.0, 1.0)
    scaled *= np.float32(np.iinfo(kind).max)  # in place: pictures may be large
    return np.round(scaled, out=scaled).astype(kind)


def decode_image(content: bytes, name: str) -> Pixels:
    """Decode the bytes of an image file to upright RGB.

    Raises a UserError that gives ``name`` if the bytes are no image, are truncated, fail their
    checksums, or have a mode that cannot be converted to RGB.
    """
    with decoding_errors(name):
        return _rgb(open_image(content), name)


@contextmanager
def decoding_errors(name: str) -> Iterator[None]:
    """Turn any exception of a decoder into a UserError of one line that gives ``name``."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders may raise anything on a damaged file
        known = str(error) and not isinstance(error, UnidentifiedImageError)
        reason = " ".join(str(error).split()) if known else type(error).__name__
        raise UserError(f"{name}: not a readable image ({reason}); repair or remove it") from error


def open_image(content: bytes, formats: Sequence[str] | None = None) -> PILImage.Image:
    """An image that is not decoded yet; ``formats``: the formats of Pillow that it may have."""
    image = PILImage.open(io.BytesIO(content), formats=formats)
    if image.format == "PNG":
        image.verify()  # Pillow does not compare checksums while it decodes
        image = PILImage.open(io.BytesIO(content), formats=formats)
    return image


def _rgb(image: PILImage.Image, name: str) -> Pixels:
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP_MODES:
        grey = ((deep_grey(image, name).astype(np.int64) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    refuse_floats(image, name)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def deep_grey(image: PILImage.Image, name: str) -> UInt16[np.ndarray, "h w"]:
    """The samples of an image in one of DEEP_MODES. Raises UserError if they exceed 16 bits."""
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65535:
        raise UserError(f"{name}: grey values beyond 16 bits; convert it to 8 or 16 bits")
    return grey.astype(np.uint16)


def refuse_floats(image: PILImage.Image, name: str) -> None:
    """Raise UserError for an image of floating point numbers."""
    if image.mode == "F":
        raise UserError(
            f"{name}: floating point pixels of unknown range; convert it to 8 or 16 bits"
        )


def read_image(path: Path) -> Pixels:
    """Read an image file as upright RGB. Raises a UserError that names the file if it cannot."""
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises a UserError that names the file if it cannot be read."""
    with reading_errors(path):
        return path.read_bytes()


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Turn an error of the system on an image's file into a UserError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: the image is gone; restore it or start a new run") from error
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise UserError(f"{path}: {reason}; give the path of a readable image") from error


def write_png(path: Path, pixels: Pixels) -> None:
    """Write a PNG, completely or not at all."""
    with whole_file(path) as part:
        PILImage.fromarray(pixels).save(part, format="PNG")


def fit_short_side(pixels: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Resize the shorter side to ``size``, with Pillow's bicubic filter and anti-aliasing."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    if short == size:
        return pixels
    target = max(size, round(width * size / short)), max(size, round(height * size / short))
    return np.array(PILImage.fromarray(pixels).resize(target, PILImage.Resampling.BICUBIC))


def check_room(height: int, width: int, size: int, name: str) -> None:
    """Raise a TooSmall that names the image if it is smaller than ``size`` x ``size``."""
    if min(height, width) < size:
        raise TooSmall(
            f"{name}: {width}x{height} pixels are too few, {size}x{size} are needed; remove the "
            f"image, or lower --config.data.size (training) or --config.evaluation.size"
        )


def centre(pixels: np.ndarray, size: int) -> np.ndarray:
    """The middle ``size`` x ``size`` pixels."""
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]
