"""Images on disk and in memory. Only this file converts value ranges.

In memory: RGB, height x width x 3, ``uint8`` in [0, 255] or ``float32`` in [0, 1]. A file of any
colour mode becomes that (``samples.py``), or an error names it: grey is repeated, palettes are
looked up, CMYK and other 8-bit colours are converted to sRGB, 16 bits are rounded to 8, an
orientation tag is applied. Transparency is dropped, and the colours under it are kept as they are.
``anybody.py`` reads the same files in the same way and keeps all of this.
"""

from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from elir_jax.arrays import Float32, UInt8, UInt16
from elir_jax.errors import UserError
from elir_jax.files import whole_file
from elir_jax.pictures.opening import MAX_PIXELS, read_bytes
from elir_jax.pictures.samples import read_samples

Pixels = UInt8[np.ndarray, "h w 3"]
FloatPixels = Float32[np.ndarray, "h w 3"]
AnyPixels = Float32[np.ndarray, "_ _ 3"]  # for functions with images of several sizes


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

    Raises a UserError that gives ``name`` if the bytes are no image, if pixels are missing or fail
    their checksums, or if they cannot be converted to RGB.
    """
    rgb = read_samples(content, name, MAX_PIXELS).rgb
    if rgb.dtype != np.uint8:
        rgb = to_uint8(to_float(rgb))
    return np.require(rgb, requirements="W")  # Pillow's own memory is read-only


def read_image(path: Path) -> Pixels:
    """Read an image file as upright RGB. Raises a UserError that names the file if it cannot."""
    return decode_image(read_bytes(path), str(path))


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
