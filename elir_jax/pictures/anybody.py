"""Read and write users' pictures, for restoration, with everything that must be kept.

A PNG, JPEG, WebP, TIFF or BMP file becomes upright RGB in [0, 1] (``samples.py``) together with its
transparency, its depth, its colour profile, its EXIF data and its resolution; the restored picture
is written as a PNG with these. If a file has several frames or pages, only the first is read.
"""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage

from elir_jax.arrays import Float32, Shaped
from elir_jax.files import whole_file
from elir_jax.pictures.exif import upright
from elir_jax.pictures.grey import grey_png, is_grey
from elir_jax.pictures.images import FloatPixels, to_float, to_uint8, to_uint16
from elir_jax.pictures.opencv import installed, opencv
from elir_jax.pictures.opening import LARGEST, open_header, read_bytes
from elir_jax.pictures.png import HEADER, chunk, resolution
from elir_jax.pictures.samples import AlphaSamples, Samples, read_samples, swaps_axes


class Picture(NamedTuple):
    """The content of a picture's file; only ``rgb`` is restored, the rest is kept."""

    rgb: FloatPixels  # in [0, 1], upright; in sRGB, or as ``profile`` defines
    alpha: Float32[np.ndarray, "h w"] | None  # in [0, 1]; colours are not multiplied by it
    bits: int  # per sample: 8 or 16
    profile: bytes | None  # ICC profile for the written file; None: sRGB
    exif: bytes | None = None  # plain (``exif.py``), as in the file
    dpi: tuple[float, float] | None = None  # columns and rows of an inch
    frames: int = 1  # in the file; the first one was read


def read_picture(path: Path) -> Picture:
    """Read a picture. Raises a UserError that names the file if it cannot be read.

    The colours of fully transparent pixels are replaced by those of the nearest visible pixel: they
    are invisible, and black ones would affect the restoration of their neighbours.
    """
    read = read_samples(read_bytes(path), str(path), LARGEST)
    rgb, alpha, bits = read.rgb, read.alpha, 8 * read.rgb.itemsize
    kept = (bits, read.profile, read.exif, read.dpi, read.frames)
    del read  # the integers are freed when they have become floats
    if alpha is None:
        return Picture(to_float(rgb), None, *kept)
    rgb = _without_hidden_colours(rgb, alpha)
    return Picture(to_float(rgb), to_float(alpha), *kept)


def read_shape(path: Path) -> tuple[int, int]:
    """(height, width) of the result of ``read_picture``, from the file's header.

    Raises a UserError that names the file if it is no image.
    """
    opened = open_header(path)
    width, height = opened.image.size
    return (width, height) if swaps_axes(opened.orientation) else (height, width)


def write_picture(
    path: Path, image: FloatPixels, like: Picture, sealed: Callable[[bytes], bytes] = bytes
) -> None:
    """Write a PNG, completely or not at all: ``image`` clipped to [0, 1], and the rest of ``like``.

    If the image has another size, the transparency is resized to it, with a bicubic filter. The
    EXIF data are those of an upright picture of this size; the resolution stays the same number. If
    its channels are equal, it is written as grey: without a profile of 8 bits, which would be
    sRGB's, but with three channels if one of 16 bits says what they mean. ``sealed`` may add to the
    bytes.
    """
    integers, profile = to_uint16 if like.bits == 16 else to_uint8, like.profile
    samples = integers(image)
    if (profile is None or like.bits == 8) and is_grey(samples):
        samples, profile = samples[..., :1], None
    if like.alpha is not None:
        alpha = integers(_resized(like.alpha, *image.shape[:2]))
        samples = np.concatenate([samples, alpha[..., None]], axis=-1)
    png = grey_png(samples) if samples.shape[-1] < 3 else _png(samples, str(path))
    chunks = []
    if profile is not None:
        chunks.append(chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    if like.dpi is not None:
        chunks.append(resolution(like.dpi))
    if like.exif is not None:
        chunks.append(chunk(b"eXIf", upright(like.exif, *image.shape[:2])))
    with whole_file(path) as part:
        part.write_bytes(sealed(b"".join([png[:HEADER], *chunks, png[HEADER:]])))


def _png(samples: Shaped[np.ndarray, "h w c"], name: str) -> bytes:
    """A PNG's bytes, by OpenCV, which is the faster one; without it by Pillow, with 8 bits only."""
    if samples.dtype == np.uint8 and not installed():
        content = io.BytesIO()
        PILImage.fromarray(samples).save(content, format="PNG", compress_level=1)
        return content.getvalue()
    samples = np.concatenate([samples[..., 2::-1], samples[..., 3:]], axis=-1)  # blue first
    return opencv(f"{name}: 16 bits").imencode(".png", samples)[1].tobytes()


def _without_hidden_colours(rgb: Samples, alpha: AlphaSamples) -> Samples:
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return rgb
    cv2 = opencv("a picture with colours under its transparency")
    # The label of a pixel is that of the nearest visible one, by a chamfer distance (within 3 %).
    label = cv2.distanceTransformWithLabels(
        hidden.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    colours = np.zeros((label.max() + 1, 3), rgb.dtype)
    colours[label[~hidden]] = rgb[~hidden]
    rgb = rgb.copy()
    rgb[hidden] = colours[label[hidden]]
    return rgb


def _resized(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    if alpha.shape == (height, width):
        return alpha
    resized = PILImage.fromarray(alpha).resize((width, height), PILImage.Resampling.BICUBIC)
    return np.asarray(resized)
