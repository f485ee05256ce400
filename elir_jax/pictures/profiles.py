"""Colour profiles: what a file's numbers mean, brought to sRGB, the meaning of all our numbers.

Conversions are Little CMS's, relative colorimetric: white stays white, colours that sRGB has stay
what they are, others are clipped. An untagged PNG means sRGB, so what was converted needs no
profile. A profile that cannot be used is ignored, as viewers do.
"""

import io

import numpy as np
from PIL import Image as PILImage
from PIL import ImageCms

# A profile's colour space (ICC.1, table 19) -> the mode of images that it describes.
MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
# The sRGB profiles in use differ by rounding, gamma 2.2 differs from them by 8 levels of 255.
SAME_LEVELS = 2


def to_srgb(image: PILImage.Image, icc: bytes | None) -> tuple[PILImage.Image, bytes | None]:
    """An image of mode L, RGB or CMYK -> (RGB in sRGB, the profile that describes it or None).

    Where the profile is sRGB in all but name, the pixels are untouched.
    """
    profile, mode = _opened(icc)
    if image.mode == "L" and mode == "RGB":
        image = image.convert("RGB")
    if profile is None or mode != image.mode:
        return image.convert("RGB"), None
    # Optimized, grey goes through so small a table that shadows are up to 10 levels of 255 wrong.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    try:
        transform = ImageCms.buildTransform(
            profile, SRGB, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, flags
        )
    except ImageCms.PyCMSError:  # opened, but without the tables that it needs
        return image.convert("RGB"), None
    if mode != "CMYK" and _changes_nothing(transform, mode):
        return image.convert("RGB"), icc if mode == "RGB" else None
    return ImageCms.applyTransform(image, transform), None


def rgb_profile(icc: bytes | None) -> bytes | None:
    """The profile itself where it may stand in an RGB file, else None."""
    return icc if _opened(icc)[1] == "RGB" else None


def _opened(icc: bytes | None) -> tuple[ImageCms.ImageCmsProfile | None, str | None]:
    """The profile and the mode that it describes; None and None where there is none to use."""
    if not icc:
        return None, None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except OSError:
        return None, None
    return profile, MODES.get(profile.profile.xcolor_space.strip())


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the conversion leaves a grid of all colours where they are."""
    levels = np.linspace(0, 255, 256 if mode == "L" else 18).astype(np.uint8)
    axes = np.meshgrid(*[levels] * len(mode), indexing="ij")
    probe = np.stack(axes, axis=-1).reshape(1, -1, len(mode))
    before = PILImage.fromarray(probe[..., 0] if mode == "L" else probe)
    after = np.asarray(ImageCms.applyTransform(before, transform)).astype(int)
    return bool(np.abs(after - probe).max() <= SAME_LEVELS)
