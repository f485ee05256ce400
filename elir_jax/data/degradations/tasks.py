"""Degradations ``(rng, hq) -> lq``: both images are float32 in [0, 1] and have the same size.

Each is a small immutable object whose fields are its parameters. Those in this file are PMRF's,
which section 5.1.2 uses; their results are clipped to [0, 1]. ``eight_bit`` rounds the result to 8
bits, as the release stores it. Values out of range raise ValueError.
"""

import dataclasses
import math

import numpy as np

from elir_jax.data.degradations.filters import add_noise, resize_bicubic, resize_nearest
from elir_jax.pictures.images import FloatPixels, to_float, to_uint8
from elir_jax.ranges import check_fields

UP = {"bicubic": resize_bicubic, "nearest": resize_nearest}


def finish(x: FloatPixels, eight_bit: bool) -> FloatPixels:
    """Clip to [0, 1], and round to 8 bits if ``eight_bit``."""
    return to_float(to_uint8(x)) if eight_bit else np.clip(x, 0.0, 1.0, out=x)


SIGMA = "[0, inf)"  # what a standard deviation may be


@dataclasses.dataclass(frozen=True)
class Identity:
    """No degradation; for training the autoencoder."""

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        return hq


@dataclasses.dataclass(frozen=True)
class Denoising:
    """White Gaussian noise of standard deviation ``sigma``.

    ``sigmas``: a range, of which each picture's own is drawn uniformly; it replaces ``sigma``.
    """

    sigma: float = 0.35
    eight_bit: bool = False
    sigmas: tuple[float, ...] = ()

    def __post_init__(self):
        check_fields(self, sigma=SIGMA)
        low, high = self.sigmas or (self.sigma, self.sigma)
        if not 0 <= low <= high < math.inf:
            raise ValueError(f"sigmas must be a range from 0 up, got {self.sigmas}")

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        sigma = rng.uniform(*self.sigmas) if len(self.sigmas) else self.sigma
        return finish(add_noise(rng, hq, sigma), self.eight_bit)


@dataclasses.dataclass(frozen=True)
class SuperResolution:
    """Bicubic down-sampling by ``factor``, noise, up-sampling back (``bicubic`` or ``nearest``)."""

    factor: int = 8
    sigma: float = 0.05
    up: str = "bicubic"
    eight_bit: bool = False

    def __post_init__(self):
        check_fields(self, factor="[1, inf)", sigma=SIGMA, up=tuple(UP))

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        height, width = hq.shape[:2]
        small = max(1, height // self.factor), max(1, width // self.factor)
        lq = finish(resize_bicubic(hq, *small), self.eight_bit)
        lq = finish(add_noise(rng, lq, self.sigma), self.eight_bit)
        return finish(UP[self.up](lq, height, width), self.eight_bit)


@dataclasses.dataclass(frozen=True)
class Inpainting:
    """Sets a share of the pixels to 0 (all three channels), then adds noise everywhere."""

    masked: float = 0.9
    sigma: float = 0.1
    eight_bit: bool = False

    def __post_init__(self):
        check_fields(self, masked="[0, 1]", sigma=SIGMA)

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        height, width = hq.shape[:2]
        kept = np.ones(height * width, np.float32)
        kept[: int(self.masked * kept.size)] = 0  # the share is met exactly
        kept = rng.permutation(kept).reshape(height, width, 1)
        return finish(add_noise(rng, hq * kept, self.sigma), self.eight_bit)


@dataclasses.dataclass(frozen=True)
class Colorization:
    """The mean of the channels plus noise, the same grey in all three."""

    sigma: float = 0.25
    eight_bit: bool = False

    def __post_init__(self):
        check_fields(self, sigma=SIGMA)

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        grey = hq.mean(axis=-1, keepdims=True, dtype=np.float32)
        grey = grey + np.float32(self.sigma) * rng.standard_normal(grey.shape, np.float32)
        return finish(np.repeat(grey, 3, axis=-1), self.eight_bit)
