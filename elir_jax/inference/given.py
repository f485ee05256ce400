"""What may be given to a restorer from Python: pictures in several forms, a seed, a step count.

Anything else is refused in one line that says what was given.
"""

import numbers
import operator
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PILImage

from elir_jax.errors import UserError
from elir_jax.inference.windows import Stored
from elir_jax.pictures.images import AnyPixels, to_uint8
from elir_jax.pictures.profiles import to_srgb

FORMS = "images must be (h, w, 3), (h, w) for grey, or (b, h, w, 3)"
DEEP = ("I", "F")  # first letters of Pillow's modes with more than 8 bits
GREY = ("1", "L")  # its modes that come back without colours


class Given(NamedTuple):
    """One picture that was given."""

    pixels: Stored  # uint8, or floats in [0, 1]
    grey: bool  # whether it has no axis of channels

    def as_given(self, restored: AnyPixels) -> np.ndarray:
        """The restoration in the form of the picture."""
        restored = restored[..., 0] if self.grey else restored
        return to_uint8(restored) if self.pixels.dtype == np.uint8 else np.clip(restored, 0, 1)


def given_pictures(images: Any) -> tuple[list[Given], Callable[[list[np.ndarray]], Any]]:
    """The pictures in ``images``, and what puts their restorations into its form.

    Raises ValueError for what is no image, with the shape, type or mode that it has.
    """
    back: Callable[[list[np.ndarray]], Any] = list
    if isinstance(images, (list, tuple)):
        given = [_given(_array(image)) for image in images]
    else:
        array = _array(images)
        many = array.ndim == 4
        if array.ndim not in (2, 3, 4) or (array.ndim > 2 and array.shape[-1] != 3):
            raise ValueError(f"{FORMS}, not {array.shape}")
        given = [_given(image) for image in (array if many else [array])]
        back = np.stack if many else operator.itemgetter(0)
    if not given:
        raise ValueError("there is no image to restore; give at least one")
    return given, back


def checked_seed(seed: Any) -> int:
    """The seed of the noise. Raises ValueError unless it is a whole number in [0, 2^32)."""
    number = _whole(seed)
    if not 0 <= number < 2**32:
        raise ValueError(f"seed must be a whole number in [0, 2^32), not {seed!r}")
    return number


def checked_count(count: Any) -> int:
    """How many samples. Raises ValueError unless it is a whole number of at least 2."""
    number = _whole(count)
    if number < 2:
        raise ValueError(f"count must be a whole number of at least 2, not {count!r}")
    return number


def checked_steps(steps: Any) -> int | None:
    """The number of Euler steps, or None: as configured. Raises UserError for any other value."""
    number = None if steps is None else _whole(steps)
    if number is not None and number < 1:
        raise UserError(f"steps must be a whole number of at least 1, not {steps!r}")
    return number


def _whole(value: Any) -> int:
    """The value as an int; -1 if it is no whole number."""
    try:
        return -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return -1


def checked_fidelity(fidelity: Any) -> float | None:
    """The fidelity, or None: as configured. Raises UserError for any other value."""
    number = isinstance(fidelity, numbers.Real) and not isinstance(fidelity, bool)
    if fidelity is None or (number and 0 <= fidelity <= 1):
        return None if fidelity is None else float(fidelity)
    raise UserError(f"fidelity must lie in [0, 1], not {fidelity!r}")


def _array(image: Any) -> np.ndarray:
    if isinstance(image, (str, bytes, os.PathLike)):
        raise ValueError(
            f"images must be arrays or PIL images, not the name {image!r}; open it first, with "
            f"PIL.Image.open"
        )
    if isinstance(image, PILImage.Image):
        return _of_pillow(image)
    array = np.asarray(image)
    if not array.ndim or isinstance(image, (list, tuple)):  # rows in lists would look like pictures
        raise ValueError(f"{FORMS}, not {type(image).__name__}")
    return array


def _of_pillow(image: PILImage.Image) -> np.ndarray:
    """8-bit RGB, or grey without an axis of channels."""
    if image.mode.startswith(DEEP):
        raise ValueError(
            f"a PIL image of mode {image.mode} has more than 8 bits a sample; give its samples as "
            f"an array of floats in [0, 1]"
        )
    if image.has_transparency_data:
        raise ValueError(
            f"a PIL image of mode {image.mode} with transparency, which would be lost; convert it "
            f"to RGB, and keep its alpha channel"
        )
    if image.mode == "CMYK":
        image, _ = to_srgb(image, image.info.get("icc_profile"))
    return np.asarray(image.convert("L" if image.mode in GREY else "RGB"))


def _given(image: np.ndarray) -> Given:
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise ValueError(f"{FORMS}, not {image.shape}")
    grey = image.ndim == 2
    if image.dtype != np.uint8:
        if not np.issubdtype(image.dtype, np.floating):
            raise ValueError(f"images must be uint8, or floats in [0, 1], not {image.dtype}")
        image = image.astype(np.float32)
        if not (image.min() >= 0 and image.max() <= 1):  # false for NaN too
            low, high = image.min(), image.max()
            raise ValueError(f"float images must lie in [0, 1], not [{low}, {high}]")
    return Given(np.repeat(image[..., None], 3, axis=-1) if grey else image, grey)
