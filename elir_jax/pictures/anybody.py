"""Read and write users' pictures, for restoration, with everything that must be kept.

A PNG, JPEG, WebP, TIFF or BMP file becomes upright RGB in [0, 1] together with its transparency,
its depth and its colour profile; the restored picture is written as a PNG with these. If a file has
several frames or pages, only the first is read.

Pillow reads 8 bits for each sample, and 16 for grey. It would reduce 16-bit RGB to 8 bits, so
OpenCV reads such files, after Pillow has checked that they are intact. Only 8-bit pictures are
converted to sRGB (``profiles.py``): Pillow's colour management has only 8 bits, so 16-bit pictures
keep their numbers and their profile.
"""

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from elir_jax.arrays import Float32, Shaped
from elir_jax.errors import UserError
from elir_jax.files import whole_file
from elir_jax.pictures.grey import HEADER, grey_png, is_grey, png_chunk
from elir_jax.pictures.images import (
    DEEP_MODES,
    FloatPixels,
    decoding_errors,
    deep_grey,
    open_image,
    read_bytes,
    reading_errors,
    refuse_floats,
    to_float,
    to_uint8,
    to_uint16,
)
from elir_jax.pictures.opencv import installed, opencv
from elir_jax.pictures.profiles import rgb_profile, to_srgb

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
MAX_PIXELS = 2**30  # the limit of OpenCV's decoder; 12 GiB as float32
GREY_MODES = frozenset({"1", "L", "LA"})
# EXIF orientation -> whether the axes are swapped, and then which are reversed (rows, columns).
TURNS = {
    2: (False, (False, True)),
    3: (False, (True, True)),
    4: (False, (True, False)),
    5: (True, (False, False)),
    6: (True, (False, True)),
    7: (True, (True, True)),
    8: (True, (True, False)),
}  # fmt: skip
ORIENTATION, BITS, PHOTOMETRIC, PLANAR, EXTRA = 274, 258, 262, 284, 338  # numbers of TIFF tags

Samples = Shaped[np.ndarray, "h w 3"]  # uint8 or uint16
AlphaSamples = Shaped[np.ndarray, "h w"]

_limit = threading.Lock()  # all threads share Pillow's limit


class Picture(NamedTuple):
    """The content of a picture's file; only ``rgb`` is restored, the rest is kept."""

    rgb: FloatPixels  # in [0, 1], upright; in sRGB, or as ``profile`` defines
    alpha: Float32[np.ndarray, "h w"] | None  # in [0, 1]; colours are not multiplied by it
    bits: int  # per sample: 8 or 16
    profile: bytes | None  # ICC profile for the written file; None: sRGB


def read_picture(path: Path) -> Picture:
    """Read a picture. Raises a UserError that names the file if it cannot be read.

    The colours of fully transparent pixels are replaced by those of the nearest visible pixel: they
    are invisible, and black ones would affect the restoration of their neighbours.
    """
    content = read_bytes(path)
    if not content:
        raise UserError(f"{path}: the file is empty; replace it")
    with _decoding(str(path)):
        image = open_image(content, FORMATS)
        _check_size(image, str(path))
        image.load()
        turn = _orientation(image)
        read = _deep if image.mode in DEEP_MODES or _bits(image, content) == 16 else _shallow
        rgb, alpha, profile = read(image, content, str(path))
        del image  # it holds a second copy of the pixels
    rgb, alpha = _turned(rgb, turn), None if alpha is None else _turned(alpha, turn)
    bits = 8 * rgb.itemsize
    if alpha is None:
        return Picture(to_float(rgb), None, bits, profile)
    rgb = _without_hidden_colours(rgb, alpha)
    return Picture(to_float(rgb), to_float(alpha), bits, profile)


def read_shape(path: Path) -> tuple[int, int]:
    """(height, width) of the result of ``read_picture``, from the file's header.

    Raises a UserError that names the file if it is no image.
    """
    with reading_errors(path):
        file = path.open("rb")
    with file, _decoding(str(path)):
        image = PILImage.open(file, formats=FORMATS)
        _check_size(image, str(path))
        if image.format == "PNG":
            image.info.setdefault("exif", _png_exif(file))
        height, width = image.height, image.width
        transposed = TURNS.get(_orientation(image), (False,))[0]
    return (width, height) if transposed else (height, width)


def write_picture(
    path: Path, image: FloatPixels, like: Picture, sealed: Callable[[bytes], bytes] = bytes
) -> None:
    """Write a PNG, completely or not at all: ``image`` clipped to [0, 1], and the rest of ``like``.

    If the image has another size, the transparency is resized to it, with a bicubic filter. If its
    channels are equal, it is written as grey: without a profile of 8 bits, which would be sRGB's,
    but with three channels if one of 16 bits says what they mean. ``sealed`` may add to the bytes.
    """
    integers, profile = to_uint16 if like.bits == 16 else to_uint8, like.profile
    samples = integers(image)
    if (profile is None or like.bits == 8) and is_grey(samples):
        samples, profile = samples[..., :1], None
    if like.alpha is not None:
        alpha = integers(_resized(like.alpha, *image.shape[:2]))
        samples = np.concatenate([samples, alpha[..., None]], axis=-1)
    png = grey_png(samples) if samples.shape[-1] < 3 else _png(samples, str(path))
    if profile is not None:
        chunk = png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
        png = png[:HEADER] + chunk + png[HEADER:]
    with whole_file(path) as part:
        part.write_bytes(sealed(png))


def _png(samples: Shaped[np.ndarray, "h w c"], name: str) -> bytes:
    """A PNG's bytes, by OpenCV, which is the faster one; without it by Pillow, with 8 bits only."""
    if samples.dtype == np.uint8 and not installed():
        content = io.BytesIO()
        PILImage.fromarray(samples).save(content, format="PNG", compress_level=1)
        return content.getvalue()
    samples = np.concatenate([samples[..., 2::-1], samples[..., 3:]], axis=-1)  # blue first
    return opencv(f"{name}: 16 bits").imencode(".png", samples)[1].tobytes()


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Replace Pillow's limit of size, which warns of large photographs, by ours.

    Errors in the file become a UserError.
    """
    with _limit, decoding_errors(name):
        before, PILImage.MAX_IMAGE_PIXELS = PILImage.MAX_IMAGE_PIXELS, None
        try:
            yield
        except UnidentifiedImageError as error:
            kinds = "PNG, JPEG, WebP, TIFF or BMP"
            raise UserError(f"{name}: no readable {kinds}; save it as one of these") from error
        finally:
            PILImage.MAX_IMAGE_PIXELS = before


def _check_size(image: PILImage.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{name}: {width}x{height} pixels are more than {MAX_PIXELS}; split it into smaller "
            f"pictures"
        )


def _bits(image: PILImage.Image, content: bytes) -> int:
    """Bits per sample in the file; Pillow's modes do not tell for colours."""
    if image.format == "PNG":
        return content[24]  # in IHDR, after signature, length, kind, width and height
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS, (1,)))
    return 8


def _shallow(
    image: PILImage.Image, content: bytes, name: str
) -> tuple[Samples, AlphaSamples | None, bytes | None]:
    """8 bits per sample: (RGB in sRGB, transparency, profile for the written file)."""
    refuse_floats(image, name)
    icc = image.info.get("icc_profile")
    alpha, grey = None, image.mode in GREY_MODES
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        alpha = np.asarray(clear.getchannel("A"))
        image = image if grey else clear.convert("RGB")
    if image.mode == "LAB":
        icc = None  # Pillow has converted these colours; the profile does not apply to them
    if grey or image.mode != "CMYK":
        image = image.convert("L" if grey else "RGB")
    image, profile = to_srgb(image, icc)
    return np.asarray(image), alpha, profile


def _deep(
    image: PILImage.Image, content: bytes, name: str
) -> tuple[Samples, AlphaSamples | None, bytes | None]:
    """16 bits per sample: (RGB as stored, transparency, profile for the written file)."""
    profile = rgb_profile(image.info.get("icc_profile"))
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if image.mode in DEEP_MODES:
        if tags and max(tags.get(BITS, (16,))) not in (16, 32):
            raise UserError(f"{name}: grey of unusual depth; convert it to 8 or 16 bits")
        grey = deep_grey(image, name)
        clear = image.info.get("transparency")  # the one value that is transparent
        alpha = None if clear is None else np.where(grey == clear, 0, 65535).astype(np.uint16)
        if tags.get(PHOTOMETRIC) == 0:  # white is zero
            grey = 65535 - grey
        return np.repeat(grey[..., None], 3, axis=-1), alpha, profile
    if image.mode not in {"RGB", "RGBA", "LA"}:  # CMYK, which Pillow has read with 8 bits
        return _shallow(image, content, name)
    if tags.get(PLANAR) == 2:  # neither library reads these correctly
        raise UserError(f"{name}: 16 bits in separate planes; save it with interleaved channels")
    shown = image.has_transparency_data
    cv2 = opencv(f"{name}: 16 bits in each colour")
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3:
        raise UserError(f"{name}: 16 bits in an unknown layout; convert it to PNG")
    rgb, alpha = samples[..., 2::-1], samples[..., 3] if shown else None
    if alpha is not None and 1 in tags.get(EXTRA, ()):
        rgb = _divided(rgb, alpha)
    return rgb, alpha, profile


def _divided(rgb: Samples, alpha: AlphaSamples) -> Samples:
    """Undo the multiplication of colours by their transparency."""
    whole = rgb.astype(np.float32) * np.float32(65535)
    whole /= np.maximum(alpha, 1)[..., None]
    return np.minimum(whole, 65535, out=whole).round().astype(np.uint16)


def _orientation(image: PILImage.Image) -> int:
    """The EXIF orientation that the decoder has not applied; 1 if there is no valid one."""
    if image.format == "TIFF":  # Pillow and OpenCV apply a TIFF's orientation themselves
        return 1
    try:
        exif = PILImage.Image.getexif(image)  # that of PNG files would decode the whole picture
        return int(exif.get(ORIENTATION, 1))
    except Exception:  # if the metadata are damaged, the picture may still be good
        return 1


def _turned(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Stored rows and columns -> upright, contiguous in memory."""
    transposed, reverse = TURNS.get(orientation, (False, (False, False)))
    if transposed:
        samples = samples.swapaxes(0, 1)
    rows, columns = (slice(None, None, -1 if back else 1) for back in reverse)
    return np.ascontiguousarray(samples[rows, columns])


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


def _png_exif(file: BinaryIO) -> bytes | None:
    """The content of a PNG's eXIf chunk, which may come after the pixels."""
    file.seek(8)  # skip the signature
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return file.read(length)
        file.seek(length + 4, 1)  # skip the checksum too
    return None
