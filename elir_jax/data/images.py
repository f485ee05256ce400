"""Images on disk and in memory. Value ranges are converted here and nowhere else.

In memory: RGB, height x width x 3, ``uint8`` in [0, 255] or ``float32`` in [0, 1].
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from elir_jax.errors import UserError

Pixels = UInt8[np.ndarray, "h w 3"]
FloatPixels = Float32[np.ndarray, "h w 3"]
Crop = UInt8[np.ndarray, "{size} {size} 3"]

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})


READ_ERRORS = (
    UnidentifiedImageError,
    PILImage.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
)


def to_float(pixels: Pixels) -> FloatPixels:
    """``uint8`` in [0, 255] -> ``float32`` in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


def to_uint8(image: Float32[np.ndarray, "h w 3"]) -> Pixels:
    """``float32``, clipped to [0, 1] -> the nearest ``uint8``."""
    return np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[PILImage.Image]:
    try:
        with PILImage.open(path) as image:
            yield image
    except FileNotFoundError as error:
        raise UserError(f"{path}: the image is gone; restore it or start a new run") from error
    except READ_ERRORS as error:
        raise UserError(f"{path}: not a readable image ({error}); repair or remove it") from error


def read_image(path: Path) -> Pixels:
    """Read an image file as RGB, upright. Raises UserError, naming the file, where it cannot."""
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):  # Pillow would clip these to white
            raise UserError(f"{path}: more than 8 bits a channel; convert it to 8 bits")
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's header, upright or not. Raises UserError as read_image."""
    with _opened(path) as image:
        return image.height, image.width


def write_png(path: Path, pixels: Pixels) -> None:
    """Write a PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    PILImage.fromarray(pixels).save(part, format="PNG")
    part.replace(path)


def centre_crop(pixels: Pixels, size: int, name: str) -> Crop:
    """The middle ``size`` x ``size`` pixels. Raises UserError where the image is smaller."""
    top, left = _room(pixels, size, name)
    return _window(pixels, top // 2, left // 2, size)


def random_crop(rng: np.random.Generator, pixels: Pixels, size: int, name: str) -> Crop:
    """A random ``size`` x ``size`` window. Raises UserError where the image is smaller."""
    top, left = _room(pixels, size, name)
    return _window(pixels, int(rng.integers(top + 1)), int(rng.integers(left + 1)), size)


def check_room(height: int, width: int, size: int, name: str) -> None:
    """Raise UserError, naming the image, where it is smaller than ``size`` x ``size``."""
    if min(height, width) < size:
        raise UserError(
            f"{name}: {width}x{height} pixels are too few for crops of {size}x{size}; remove the "
            f"image or set --config.data.size (training) or --config.evaluation.size lower"
        )


def _room(pixels: Pixels, size: int, name: str) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    check_room(height, width, size, name)
    return height - size, width - size


def _window(pixels: Pixels, top: int, left: int, size: int) -> Crop:
    return np.ascontiguousarray(pixels[top : top + size, left : left + size])
