"""The pixels of a picture's file as the file stores them: 8 or 16 bits, RGB, upright.

Pillow reads 8 bits for each sample, and 16 for grey. It would reduce 16-bit RGB to 8 bits, so
OpenCV reads such files. Only 8-bit pictures are converted to sRGB (``profiles.py``): Pillow's
colour management has only 8 bits, so 16-bit pictures keep their numbers and their profile.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage

from elir_jax.arrays import Shaped
from elir_jax.errors import UserError
from elir_jax.pictures.opencv import opencv
from elir_jax.pictures.opening import Opened, decoding_errors, open_bytes
from elir_jax.pictures.profiles import rgb_profile, to_srgb

DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})  # grey of 16 bits
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
BITS, PHOTOMETRIC, PLANAR, EXTRA = 258, 262, 284, 338  # numbers of TIFF tags

Samples = Shaped[np.ndarray, "h w 3"]  # uint8 or uint16
AlphaSamples = Shaped[np.ndarray, "h w"]


class Stored(NamedTuple):
    """A picture's file, decoded."""

    rgb: Samples  # upright; in sRGB, or as ``profile`` defines
    alpha: AlphaSamples | None  # colours are not multiplied by it
    profile: bytes | None  # ICC profile of the colours; None: sRGB
    exif: bytes | None  # plain (``exif.py``), as in the file
    dpi: tuple[float, float] | None  # along columns, along rows
    frames: int  # or pages; the first one is decoded


def read_samples(content: bytes, name: str, most: int) -> Stored:
    """Decode a picture's file of at most that many pixels.

    Raises a UserError that gives ``name`` if the bytes are no picture, if pixels are missing or
    fail their checksums, or if they cannot become RGB of 8 or 16 bits.
    """
    with decoding_errors(name):
        opened = open_bytes(content, name, most)
        image = opened.decode()
        read = _deep if image.mode in DEEP_MODES or opened.bits == 16 else _shallow
        rgb, alpha, profile = read(image, opened, name)
        turn, dpi = opened.orientation, opened.dpi
        rgb, alpha = _turned(rgb, turn), None if alpha is None else _turned(alpha, turn)
        if dpi is not None and swaps_axes(turn):
            dpi = dpi[::-1]
        return Stored(rgb, alpha, profile, opened.exif, dpi, opened.frames)


def swaps_axes(orientation: int) -> bool:
    """Whether rows become columns when a picture of this EXIF orientation is set upright."""
    return TURNS.get(orientation, (False,))[0]


def _shallow(
    image: PILImage.Image, opened: Opened, name: str
) -> tuple[Samples, AlphaSamples | None, bytes | None]:
    """8 bits per sample: (RGB in sRGB, transparency, profile for the written file)."""
    if image.mode == "F":
        raise UserError(
            f"{name}: floating point pixels of unknown range; convert it to 8 or 16 bits"
        )
    icc = opened.icc
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
    image: PILImage.Image, opened: Opened, name: str
) -> tuple[Samples, AlphaSamples | None, bytes | None]:
    """16 bits per sample: (RGB as stored, transparency, profile for the written file)."""
    profile = rgb_profile(opened.icc)
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if image.mode in DEEP_MODES:
        if tags and max(tags.get(BITS, (16,))) not in (16, 32):
            raise UserError(f"{name}: grey of unusual depth; convert it to 8 or 16 bits")
        grey = _deep_grey(image, name)
        clear = image.info.get("transparency")  # the one value that is transparent
        alpha = None if clear is None else np.where(grey == clear, 0, 65535).astype(np.uint16)
        if tags.get(PHOTOMETRIC) == 0:  # white is zero
            grey = 65535 - grey
        return np.repeat(grey[..., None], 3, axis=-1), alpha, profile
    if image.mode not in {"RGB", "RGBA", "LA"}:  # CMYK, which Pillow has read with 8 bits
        return _shallow(image, opened, name)
    if tags.get(PLANAR) == 2:  # neither library reads these correctly
        raise UserError(f"{name}: 16 bits in separate planes; save it with interleaved channels")
    shown = image.has_transparency_data
    cv2 = opencv(f"{name}: 16 bits in each colour")
    samples = cv2.imdecode(np.frombuffer(opened.content, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3:
        raise UserError(f"{name}: 16 bits in an unknown layout; convert it to PNG")
    rgb, alpha = samples[..., 2::-1], samples[..., 3] if shown else None
    if alpha is not None and 1 in tags.get(EXTRA, ()):
        rgb = _divided(rgb, alpha)
    return rgb, alpha, profile


def _deep_grey(image: PILImage.Image, name: str) -> Shaped[np.ndarray, "h w"]:
    """The samples of an image in one of DEEP_MODES, as uint16."""
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65535:
        raise UserError(f"{name}: grey values beyond 16 bits; convert it to 8 or 16 bits")
    return grey.astype(np.uint16)


def _divided(rgb: Samples, alpha: AlphaSamples) -> Samples:
    """Undo the multiplication of colours by their transparency."""
    whole = rgb.astype(np.float32) * np.float32(65535)
    whole /= np.maximum(alpha, 1)[..., None]
    return np.minimum(whole, 65535, out=whole).round().astype(np.uint16)


def _turned(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Stored rows and columns -> upright, contiguous in memory."""
    transposed, reverse = TURNS.get(orientation, (False, (False, False)))
    if transposed:
        samples = samples.swapaxes(0, 1)
    rows, columns = (slice(None, None, -1 if back else 1) for back in reverse)
    return np.ascontiguousarray(samples[rows, columns])
