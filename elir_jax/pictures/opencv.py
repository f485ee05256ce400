"""OpenCV, for the few things that Pillow cannot do; restoring without JAX can go without it."""

from elir_jax.errors import UserError


def installed() -> bool:
    """Whether OpenCV can be imported."""
    try:
        opencv("")
    except UserError:
        return False
    return True


def opencv(what: str):
    """The module ``cv2``. Raises UserError, in which ``what`` needs it, if it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(f"{what} needs OpenCV; pip install opencv-python-headless") from error
    return cv2
