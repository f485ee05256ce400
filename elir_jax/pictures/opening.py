"""Open a picture's file: the one way for training, pairs, evaluation and restoring.

It is as lenient as viewers are. Pixels count: what else a file holds may be damaged, very large or
cut off. Everything that decides how pixels are shown is found here, before they are decoded, so a
file's size and orientation are the same from its header alone and with all of it.
"""

import contextlib
import importlib.util
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from elir_jax.errors import UserError
from elir_jax.pictures import exif as exif_data
from elir_jax.pictures import jpeg, png

# File names, in any letter case. The content decides what a file is; the web also has GIF and AVIF
# under these names.
EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
AVIF = importlib.util.find_spec("PIL.AvifImagePlugin")  # not every Pillow has it
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", *(("AVIF",) if AVIF else ()))
JPEG = frozenset({"JPEG", "MPO"})  # MPO: several JPEGs in one file
LARGEST = 2**30  # pixels; the limit of OpenCV's decoder; 12 GiB as float32
MAX_PIXELS = 2**28  # unless a larger picture is asked for: a file of 1 MB can hold so many
BITS = 258  # a TIFF's tag

_limit = threading.Lock()  # all threads share Pillow's limit
# Of damaged metadata, which do not matter to us; the warning would name a file of Pillow's only.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class Opened(NamedTuple):
    """A picture's file, whose pixels are not decoded yet."""

    image: PILImage.Image
    content: bytes  # for another decoder
    bits: int  # per sample in the file; Pillow's modes do not tell for colours
    orientation: int  # EXIF's, which no decoder applies; 1: upright
    icc: bytes | None
    exif: bytes | None  # plain (``exif.py``)
    dpi: tuple[float, float] | None  # along columns, along rows, of the pixels as stored
    frames: int  # or pages; the first one is the image

    def decode(self) -> PILImage.Image:
        """The image with its pixels. Raises whatever Pillow raises."""
        # Pillow looks at its limit a second time when it decodes a TIFF.
        again = _unlimited() if self.image.format == "TIFF" else contextlib.nullcontext()
        try:
            with again:
                self.image.load()
        except OSError:
            if self.image.format not in JPEG or not jpeg.has_one_scan(self.image, self.content):
                raise
            with _unlimited():
                whole = jpeg.with_an_end(self.content)
                image = PILImage.open(io.BytesIO(whole), formats=("JPEG",))
            image.load()
            return image
        return self.image


def open_bytes(content: bytes, name: str, most: int = LARGEST) -> Opened:
    """Open a file of at most that many pixels. Raises a UserError that gives its name.

    Call it, and decode, inside :func:`decoding_errors`.
    """
    return _open(io.BytesIO(content), name, most, pixels=True)


def open_header(path: Path) -> Opened:
    """The same from the beginning of a file, without what :meth:`Opened.decode` needs."""
    with reading_errors(path):
        file = path.open("rb")
    with file, decoding_errors(str(path)):
        return _open(file, str(path), LARGEST, pixels=False)


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


@contextmanager
def decoding_errors(name: str) -> Iterator[None]:
    """Turn any exception of a decoder into a UserError of one line that gives ``name``."""
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name}: not a readable image (no PNG, JPEG, WebP, TIFF or BMP); save it as one of "
            f"these"
        ) from error
    except Exception as error:  # Pillow's decoders may raise anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: not a readable image ({reason}); repair or remove it") from error


def _open(file: io.BufferedIOBase, name: str, most: int, pixels: bool) -> Opened:
    head = file.read(16)
    if not head:
        raise UserError(f"{name}: the file is empty; replace it")
    known, exif, stream = None, None, file
    if head.startswith(png.SIGNATURE):
        known = png.read_png(file, pixels)
        stream = io.BytesIO(known.content)
    elif head.startswith(jpeg.SIGNATURE):
        content, exif = jpeg.read_jpeg(file, pixels)
        stream = io.BytesIO(content)
    elif head.startswith(b"RIFF"):
        file.seek(0)
        stream = io.BytesIO(_whole_chunks(file.read()))
    stream.seek(0)
    with _unlimited():
        image = PILImage.open(stream, formats=FORMATS)
    width, height = image.size
    if width * height > most:
        raise UserError(
            f"{name}: {width}x{height} pixels are more than {most}; split it into smaller pictures"
        )
    content = stream.getvalue() if isinstance(stream, io.BytesIO) else b""
    if known is not None:
        exif = exif_data.plain(known.exif)
        turn, bits = exif_data.orientation(exif, known.xmp), content[png.DEPTH]
        return Opened(image, content, bits, turn, known.icc, exif, known.dpi, known.frames)
    icc, frames = image.info.get("icc_profile"), _frames(image)
    if image.format == "TIFF":  # Pillow and OpenCV apply a TIFF's orientation themselves
        bits = max(image.tag_v2.get(BITS, (1,)))
        exif = exif_data.exif_of_tiff(image)
        image.is_animated = True  # or Pillow reads the metadata again, which may be damaged
        return Opened(image, content, bits, 1, icc, exif, _dpi(image, None), frames)
    exif = exif_data.plain(exif or image.info.get("exif"))
    turn = exif_data.orientation(exif, image.info.get("xmp"))
    return Opened(image, content, 8, turn, icc, exif, _dpi(image, exif), frames)


@contextmanager
def _unlimited() -> Iterator[None]:
    """Take away Pillow's limit of size, which warns of large photographs; ours is checked."""
    with _limit:
        before, PILImage.MAX_IMAGE_PIXELS = PILImage.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            PILImage.MAX_IMAGE_PIXELS = before


def _dpi(image: PILImage.Image, exif: bytes | None) -> tuple[float, float] | None:
    try:
        columns, rows = map(float, image.info.get("dpi", (1, 1)))
    except (TypeError, ValueError):  # a TIFF's may be anything
        columns = rows = 1.0
    if columns == rows == 1:  # which stands for an unknown one
        return None if exif is None else exif_data.resolution(exif)
    return columns, rows


def _frames(image: PILImage.Image) -> int:
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # a damaged page behind the first
        return 1


def _whole_chunks(content: bytes) -> bytes:
    """A WebP file up to its last whole chunk, if its end is missing; metadata come last."""
    if int.from_bytes(content[4:8], "little") + 8 <= len(content):
        return content
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if at + 8 + size > len(content):
            break
        at += 8 + size + size % 2
    return content[:4] + (at - 8).to_bytes(4, "little") + content[8:at]
