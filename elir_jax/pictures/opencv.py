"""OpenCV, for the few things that Pillow cannot do; restoring without JAX can go without it."""

import importlib.util

from elir_jax.errors import UserError


def installed() -> bool:
    """Whether OpenCV can be imported."""
    return importlib.util.find_spec("cv2") is not None


def opencv(what: str):
    """The module ``cv2``. Raises UserError, in which ``what`` needs it, if it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(f"{what} needs OpenCV; pip install opencv-python-headless") from error
    return cv2
