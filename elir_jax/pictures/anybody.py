"""Anybody's pictures, for restoration: what must survive it besides colours, and the way back.

A PNG, JPEG, WebP, TIFF or BMP file becomes upright RGB in [0, 1] with its transparency, its depth
and its colour profile aside; the restored picture is written as a PNG that carries them. Where a
file has several frames or pages, the first is meant.

Pillow reads 8 bits a sample, and 16 of grey; it would cut 16 of RGB to 8, so OpenCV reads those,
after Pillow has found the file whole. Only 8 bits are converted to sRGB (``profiles.py``): Pillow's
colour management has no more, so 16 bits keep their numbers and their profile.
"""

import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from elir_jax.errors import UserError
from elir_jax.files import whole_file
from elir_jax.pictures.images import (
    DEEP_MODES,
    FloatPixels,
    broken_is_told,
    deep_grey,
    missing_is_told,
    open_image,
    read_bytes,
    refuse_floats,
    to_float,
    to_uint8,
    to_uint16,
)
from elir_jax.pictures.profiles import rgb_profile, to_srgb

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
MAX_PIXELS = 2**30  # OpenCV decodes no more; as float32 they are 12 GiB
GREY_MODES = frozenset({"1", "L", "LA"})
# EXIF orientation -> whether the axes change places, then which are reversed (rows, columns).
TURNS = {
    2: (False, (False, True)),
    3: (False, (True, True)),
    4: (False, (True, False)),
    5: (True, (False, False)),
    6: (True, (False, True)),
    7: (True, (True, True)),
    8: (True, (True, False)),
}  # fmt: skip
ORIENTATION, BITS, PHOTOMETRIC, PLANAR, EXTRA = 274, 258, 262, 284, 338  # TIFF's numbers of tags
PNG_HEADER = 33  # bytes: signature and IHDR, which always comes first and has one size

Samples = Shaped[np.ndarray, "h w 3"]  # uint8 or uint16
AlphaSamples = Shaped[np.ndarray, "h w"]

_limit = threading.Lock()  # Pillow's limit is one for all threads


class Picture(NamedTuple):
    """A picture as a file says it; what is not ``rgb`` goes around the restoration."""

    rgb: FloatPixels  # in [0, 1], upright; sRGB, or what ``profile`` says
    alpha: Float32[np.ndarray, "h w"] | None  # in [0, 1]; colours are not multiplied by it
    bits: int  # of a sample: 8 or 16
    profile: bytes | None  # ICC, to be carried by what is written; None: sRGB


def read_picture(path: Path) -> Picture:
    """Read a picture. Raises UserError, in one line with the file, where it cannot.

    Colours of wholly transparent pixels are replaced by those of the nearest visible pixel: nobody
    has seen them, and black ones would bleed into what is restored beside them.
    """
    content = read_bytes(path)
    if not content:
        raise UserError(f"{path}: the file is empty; get it again")
    with _decoding(str(path)):
        image = open_image(content, FORMATS)
        _check_size(image, str(path))
        image.load()
        turn = _orientation(image)
        read = _deep if image.mode in DEEP_MODES or _bits(image, content) == 16 else _shallow
        rgb, alpha, profile = read(image, content, str(path))
        del image  # it holds the pixels a second time
    rgb, alpha = _turned(rgb, turn), None if alpha is None else _turned(alpha, turn)
    bits = 8 * rgb.itemsize
    if alpha is None:
        return Picture(to_float(rgb), None, bits, profile)
    rgb = _without_hidden_colours(rgb, alpha)
    return Picture(to_float(rgb), to_float(alpha), bits, profile)


def read_shape(path: Path) -> tuple[int, int]:
    """(height, width) as ``read_picture`` would have it, from the file's header.

    Raises UserError, with the file, where it is no image.
    """
    with missing_is_told(path):
        file = path.open("rb")
    with file, _decoding(str(path)):
        image = PILImage.open(file, formats=FORMATS)
        _check_size(image, str(path))
        if image.format == "PNG":
            image.info.setdefault("exif", _png_exif(file))
        height, width = image.height, image.width
        transposed = TURNS.get(_orientation(image), (False,))[0]
    return (width, height) if transposed else (height, width)


def write_picture(path: Path, image: FloatPixels, like: Picture) -> None:
    """Write a PNG, whole or not at all: ``image`` clipped to [0, 1], the rest as ``like`` has it.

    Transparency is resized to the image, bicubically, where that is of another size.
    """
    integers = to_uint16 if like.bits == 16 else to_uint8
    samples = integers(image)[..., ::-1]  # OpenCV's order: blue, green, red
    if like.alpha is not None:
        alpha = integers(_resized(like.alpha, *image.shape[:2]))
        samples = np.concatenate([samples, alpha[..., None]], axis=-1)
    png = cv2.imencode(".png", samples)[1].ravel()
    with whole_file(path) as part, part.open("wb") as file:
        file.write(png[:PNG_HEADER])
        if like.profile is not None:
            name_and_method = b"ICC profile\0\0"
            file.write(_png_chunk(b"iCCP", name_and_method + zlib.compress(like.profile)))
        file.write(png[PNG_HEADER:])


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """In here Pillow's limit of size, which warns of large photographs, gives way to ours.

    What is wrong with the file becomes a UserError.
    """
    with _limit, broken_is_told(name):
        before, PILImage.MAX_IMAGE_PIXELS = PILImage.MAX_IMAGE_PIXELS, None
        try:
            yield
        except UnidentifiedImageError as error:
            kinds = "PNG, JPEG, WebP, TIFF or BMP"
            raise UserError(f"{name}: no {kinds} that can be read; save it as one") from error
        finally:
            PILImage.MAX_IMAGE_PIXELS = before


def _check_size(image: PILImage.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UserError(f"{name}: {width}x{height} pixels are more than {MAX_PIXELS}; cut it up")


def _bits(image: PILImage.Image, content: bytes) -> int:
    """Bits a sample in the file; Pillow's modes do not say it of colours."""
    if image.format == "PNG":
        return content[24]  # in IHDR, after signature, length, kind, width and height
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS, (1,)))
    return 8


def _shallow(
    image: PILImage.Image, content: bytes, name: str
) -> tuple[Samples, AlphaSamples | None, bytes | None]:
    """8 bits a sample: (RGB in sRGB, transparency, profile to carry)."""
    refuse_floats(image, name)
    icc = image.info.get("icc_profile")
    alpha, grey = None, image.mode in GREY_MODES
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        alpha = np.asarray(clear.getchannel("A"))
        image = image if grey else clear.convert("RGB")
    if image.mode == "LAB":
        icc = None  # Pillow knows these colours; a profile can say nothing of them
    if grey or image.mode != "CMYK":
        image = image.convert("L" if grey else "RGB")
    image, profile = to_srgb(image, icc)
    return np.asarray(image), alpha, profile


def _deep(
    image: PILImage.Image, content: bytes, name: str
) -> tuple[Samples, AlphaSamples | None, bytes | None]:
    """16 bits a sample: (RGB as it stands, transparency, profile to carry)."""
    profile = rgb_profile(image.info.get("icc_profile"))
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if image.mode in DEEP_MODES:
        if tags and max(tags.get(BITS, (16,))) not in (16, 32):
            raise UserError(f"{name}: grey of odd depth; convert it to 8 or 16 bits")
        grey = deep_grey(image, name)
        clear = image.info.get("transparency")  # the one value that is not to be seen
        alpha = None if clear is None else np.where(grey == clear, 0, 65535).astype(np.uint16)
        if tags.get(PHOTOMETRIC) == 0:  # white is zero
            grey = 65535 - grey
        return np.repeat(grey[..., None], 3, axis=-1), alpha, profile
    if image.mode not in {"RGB", "RGBA", "LA"}:  # CMYK, which Pillow has read as 8
        return _shallow(image, content, name)
    if tags.get(PLANAR) == 2:  # neither library reads these right
        raise UserError(f"{name}: 16 bits in separate planes; save it with interleaved channels")
    shown = image.has_transparency_data
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3:
        raise UserError(f"{name}: 16 bits in an unknown layout; convert it to PNG")
    rgb, alpha = samples[..., 2::-1], samples[..., 3] if shown else None
    if alpha is not None and 1 in tags.get(EXTRA, ()):
        rgb = _divided(rgb, alpha)
    return rgb, alpha, profile


def _divided(rgb: Samples, alpha: AlphaSamples) -> Samples:
    """Colours that were multiplied by their transparency, as they were before."""
    whole = rgb.astype(np.float32) * np.float32(65535)
    whole /= np.maximum(alpha, 1)[..., None]
    return np.minimum(whole, 65535, out=whole).round().astype(np.uint16)


def _orientation(image: PILImage.Image) -> int:
    """The EXIF orientation that a decoder leaves to be obeyed; 1 where nothing valid says one."""
    if image.format == "TIFF":  # Pillow and OpenCV obey a TIFF's by themselves, in its size too
        return 1
    try:
        exif = PILImage.Image.getexif(image)  # PNG's own would decode the picture to look behind it
        return int(exif.get(ORIENTATION, 1))
    except Exception:  # whatever a parser meets in metadata: the picture is still good
        return 1


def _turned(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Stored rows and columns -> upright, in memory's order."""
    transposed, reverse = TURNS.get(orientation, (False, (False, False)))
    if transposed:
        samples = samples.swapaxes(0, 1)
    rows, columns = (slice(None, None, -1 if back else 1) for back in reverse)
    return np.ascontiguousarray(samples[rows, columns])


def _without_hidden_colours(rgb: Samples, alpha: AlphaSamples) -> Samples:
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return rgb
    # Each pixel's label is that of the nearest visible one, by a chamfer distance (within 3 %).
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
    """The content of a PNG's eXIf chunk, which may stand behind the pixels."""
    file.seek(8)  # past the signature
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return file.read(length)
        file.seek(length + 4, 1)  # past a checksum too
    return None


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", checksum)
