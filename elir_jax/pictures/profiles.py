"""Colour profiles: convert pictures to sRGB, in which all our pixels are.

Little CMS converts, with relative colorimetric intent: white stays white, colours inside sRGB stay
the same, others are clipped. A PNG without a profile means sRGB, so a converted picture needs none.
A profile that cannot be used is ignored, as in viewers.
"""

import functools
import io

import numpy as np
from PIL import Image as PILImage
from PIL import ImageCms

# A profile's colour space (ICC.1, table 19) -> the mode of images that it describes.
MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
# Common sRGB profiles differ by rounding only; gamma 2.2 differs from them by 8 levels of 255.
SAME_LEVELS = 2


def to_srgb(image: PILImage.Image, icc: bytes | None) -> tuple[PILImage.Image, bytes | None]:
    """An image of mode L, RGB or CMYK -> (RGB in sRGB, the profile that describes it or None).

    If the profile is equivalent to sRGB, the pixels do not change.
    """
    transform, mode, same = _conversion(icc)
    if image.mode == "L" and mode == "RGB":
        image = image.convert("RGB")
    if transform is None or mode != image.mode:
        return image.convert("RGB"), None
    if same:
        return image.convert("RGB"), icc if mode == "RGB" else None
    return ImageCms.applyTransform(image, transform), None


@functools.lru_cache(16)  # a training set has few profiles
def _conversion(
    icc: bytes | None,
) -> tuple[ImageCms.ImageCmsTransform | None, str | None, bool]:
    """(conversion to sRGB, or None; the mode of images for it; whether it changes nothing)."""
    profile, mode = _opened(icc)
    if profile is None or mode is None:
        return None, mode, False
    # With optimisation, grey goes through such a small table that shadows are up to 10 levels of
    # 255 wrong.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    try:
        transform = ImageCms.buildTransform(
            profile, SRGB, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, flags
        )
    except ImageCms.PyCMSError:  # opened, but without the tables that it needs
        return None, mode, False
    return transform, mode, mode != "CMYK" and _changes_nothing(transform, mode)


def rgb_profile(icc: bytes | None) -> bytes | None:
    """The profile itself if an RGB file may contain it, otherwise None."""
    return icc if _opened(icc)[1] == "RGB" else None


def _opened(icc: bytes | None) -> tuple[ImageCms.ImageCmsProfile | None, str | None]:
    """The profile and the mode that it describes; (None, None) if there is no usable one."""
    if not icc:
        return None, None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except OSError:
        return None, None
    return profile, MODES.get(profile.profile.xcolor_space.strip())


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the conversion leaves a grid of colours unchanged."""
    levels = np.linspace(0, 255, 256 if mode == "L" else 18).astype(np.uint8)
    axes = np.meshgrid(*[levels] * len(mode), indexing="ij")
    probe = np.stack(axes, axis=-1).reshape(1, -1, len(mode))
    before = PILImage.fromarray(probe[..., 0] if mode == "L" else probe)
    after = np.asarray(ImageCms.applyTransform(before, transform)).astype(int)
    return bool(np.abs(after - probe).max() <= SAME_LEVELS)
