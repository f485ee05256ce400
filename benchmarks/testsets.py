"""The public test sets: how their published tables degrade and compare pictures.

Noise (tables of FFDNet and SwinIR). PSNR over all three channels of results rounded to 8 bits. The
input is neither rounded nor clipped. The noise is that of SwinIR's script, main_test_swinir.py,
drawn by NumPy's legacy generator, seeded with 0 for each picture, in OpenCV's order of channels,
blue first. FFDNet's table has MATLAB's noise of ``randn('seed', 0)``. Only the noise of sigma
89.25, which is that of the model ``denoising`` and in no table, is clipped to [0, 1].

JPEG (tables of FBCNN, SwinIR and Swin2SR). PSNR of 8-bit pictures, over all three channels for
colour. Grey sets are compared in one channel; a restoration in colour counts with its luma (BT.601,
as Pillow converts to grey). Chroma has half the resolution (4:2:0), which is the default of Pillow
and of OpenCV, the tables' encoder; both give the same pixels. The JPEG of a grey picture in three
equal channels is that of the grey picture.

SR (tables of SwinIR and others): enlargement by 4. The original is cut to a multiple of 4; its
bicubic reduction, rounded to 8 bits, is enlarged by bicubic interpolation. PSNR and SSIM of the Y
of YCbCr (BT.601, 16 to 235) of 8-bit pictures, without 4 pixels at each edge. MATLAB's ``imresize``
made the tables' inputs; Pillow's filter differs from it at the edges and in rounding.

SSIM is the mean over the compared channels (Gaussian window of 11, deviation 1.5, no padding).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from elir_jax.data.degradations.filters import jpeg
from elir_jax.data.pairs import enlarge
from elir_jax.errors import UserError
from elir_jax.inference.fingerprint import fingerprint
from elir_jax.metrics.psnr import psnr
from elir_jax.metrics.ssim import ssim
from elir_jax.pictures.images import FloatPixels, Pixels, centre, read_image, to_float, to_uint8

CLIPPED = 89.25  # 0.35 of 255
SCALE = 4
BT601 = np.array([65.481, 128.553, 24.966]) / 255  # + 16: the Y of YCbCr, of RGB in [0, 255]


class Task(NamedTuple):
    """A degradation: ``noise`` of a standard deviation of 255, ``jpeg`` of a quality, ``sr``."""

    kind: str
    strength: float

    @property
    def name(self) -> str:
        """``noise50``, ``noise89.25``, ``jpeg10``, ``sr4``; also a folder of results."""
        return f"{self.kind}{self.strength:g}"


class Set(NamedTuple):
    """A test set: how many pictures it has, and what is measured on it."""

    count: int
    tasks: tuple[Task, ...]
    grey: bool = False


NOISE = tuple(Task("noise", sigma) for sigma in (15, 25, 50, 75, CLIPPED))
JPEG = tuple(Task("jpeg", quality) for quality in (10, 20, 30, 40))
SR = (Task("sr", SCALE),)
SETS = {
    "CBSD68": Set(68, NOISE),
    "Kodak24": Set(24, NOISE),
    "McMaster": Set(18, NOISE),
    "LIVE1_color": Set(29, JPEG),
    "LIVE1_gray": Set(29, JPEG, grey=True),
    "Classic5": Set(5, JPEG, grey=True),
    "Set5": Set(5, SR),
    "Set14": Set(14, SR),
}


class Figures(NamedTuple):
    """How near a picture is to its original."""

    psnr: float
    ssim: float


@dataclass(frozen=True)
class Picture:
    """A picture of a test set, and how it is degraded."""

    set: str
    task: Task
    name: str
    original: Pixels

    @functools.cached_property
    def degraded(self) -> FloatPixels:
        return degraded(self.original, self.task)

    @functools.cached_property
    def digest(self) -> str:
        """Of the original's pixels."""
        return fingerprint(self.original).tobytes().hex()


def read_original(path: Path, task: Task, crop: int | None) -> Pixels:
    """The picture, or its middle ``crop`` pixels. Raises UserError if it has too few."""
    pixels = read_image(path)
    if crop is not None:
        height, width = pixels.shape[:2]
        if min(height, width) < crop:
            raise UserError(f"{path}: {width}x{height} pixels are too few for --crop {crop}")
        pixels = centre(pixels, crop)
    if task.kind == "sr":
        height, width = (side - side % SCALE for side in pixels.shape[:2])
        pixels = pixels[:height, :width]
    return np.ascontiguousarray(pixels)


def degraded(original: Pixels, task: Task) -> FloatPixels:
    """What a restorer gets; beyond [0, 1] where noise is not clipped."""
    return DEGRADE[task.kind](original, task.strength)


def _noisy(original: Pixels, sigma: float) -> FloatPixels:
    noise = np.random.RandomState(0).normal(0, sigma / 255, original.shape)[..., ::-1]
    noisy = (original / 255 + noise).astype(np.float32)
    return noisy.clip(0, 1) if sigma == CLIPPED else noisy


def _compressed(original: Pixels, quality: float) -> FloatPixels:
    return to_float(jpeg(original, int(quality)))


def _shrunk(original: Pixels, scale: float) -> FloatPixels:
    height, width = original.shape[:2]
    small = enlarge(original, height // int(scale), width // int(scale))
    return to_float(enlarge(small, height, width))


DEGRADE: dict[str, Callable[[Pixels, float], FloatPixels]] = {
    "noise": _noisy,
    "jpeg": _compressed,
    "sr": _shrunk,
}


def as_compared(x: FloatPixels, grey: bool) -> Pixels:
    """A restoration as its figures are taken: of 8 bits, and of one grey if the set is grey."""
    pixels = to_uint8(x)
    if not grey:
        return pixels
    luma = np.asarray(Image.fromarray(pixels).convert("L"))
    return np.repeat(luma[..., None], 3, axis=-1)


def figures(pixels: Pixels, original: Pixels, task: Task, grey: bool) -> Figures:
    """Of a picture made by :func:`as_compared`."""
    found = _figures(*(_planes(each, task, grey) for each in (pixels, original)))
    return Figures(*map(float, found))


@jax.jit
def _figures(x, x_hq):
    # The metrics take colours; equal channels do not change the mean of an error.
    whole = (jnp.broadcast_to(each, (3, *each.shape[1:])) for each in (x, x_hq))
    alone = (jnp.repeat(each[..., None], 3, axis=-1) for each in (x, x_hq))
    return psnr(*(jnp.moveaxis(each, 0, -1)[None] for each in whole))[0], jnp.mean(ssim(*alone))


def _planes(pixels: Pixels, task: Task, grey: bool) -> np.ndarray:
    """The channels that are compared, (c, height, width), in [0, 1]."""
    if task.kind == "sr":
        luma = (pixels @ BT601 + 16) / 255
        return luma[None, SCALE:-SCALE, SCALE:-SCALE].astype(np.float32)
    planes = np.moveaxis(to_float(pixels), -1, 0)
    return planes[:1] if grey else planes
