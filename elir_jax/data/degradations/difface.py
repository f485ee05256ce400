"""DifFace's degradation of faces, which PMRF and Latent-PMRF train on, too (Yue & Loy, 2024)."""

import dataclasses
import math
from typing import ClassVar

import cv2
import numpy as np

from elir_jax.data.degradations.blur_kernels import gaussian_kernel
from elir_jax.data.degradations.filters import BLUR_SIZE, add_noise, jpeg, resize_bilinear
from elir_jax.pictures.images import FloatPixels, to_float, to_uint8
from elir_jax.ranges import check_ascending, check_fields


@dataclasses.dataclass(frozen=True)
class DifFace:
    """Blur, change of size, noise, JPEG, the first size again; a few pairs become grey.

    Each strength is drawn uniformly from its range. ``blur``: standard deviations of a 41x41
    Gaussian in pixels, the same along both axes for one half of the pictures, two of them at any
    angle for the others. ``scale``: the factor that sides are divided by; below 1 they grow.
    ``noise``: standard deviation in grey levels of 255. ``quality``: of the JPEG. ``grey``: the
    share of pairs whose original becomes grey, too. The result is rounded to 8 bits. Resizing is
    bilinear. Raises ValueError for a range that cannot be.
    """

    blur: tuple[float, float] = (0.1, 15.0)
    scale: tuple[float, float] = (0.8, 32.0)
    noise: tuple[float, float] = (0.0, 20.0)
    quality: tuple[int, int] = (30, 100)
    grey: float = 0.01
    changes_original: ClassVar = True  # then it is no longer of 8 bits

    def __post_init__(self):
        check_fields(
            self,
            blur="[0.001, inf)",
            scale="[0.001, inf)",
            noise="[0, inf)",
            quality="[1, 100]",
            grey="[0, 1]",
        )
        check_ascending(self, "blur", "scale", "noise", "quality")

    def __call__(
        self, rng: np.random.Generator, hq: FloatPixels
    ) -> FloatPixels | tuple[FloatPixels, FloatPixels]:
        """The degraded picture; (degraded, original) if both became grey."""
        height, width = hq.shape[:2]
        factor = rng.uniform(*self.scale)
        small = max(1, int(height // factor)), max(1, int(width // factor))
        lq = cv2.filter2D(hq, -1, self.kernel(rng))  # mirrored at the edges, edge pixels once
        lq = add_noise(rng, resize_bilinear(lq, *small), rng.uniform(*self.noise) / 255)
        quality = int(rng.uniform(*self.quality))
        lq = resize_bilinear(to_float(jpeg(to_uint8(lq), quality)), height, width)
        if rng.random() >= self.grey:
            return to_float(to_uint8(lq))
        return to_float(to_uint8(grey(lq))), grey(hq)

    def kernel(self, rng: np.random.Generator) -> np.ndarray:
        """A 41x41 blur, isotropic for one half of the draws."""
        across = along = rng.uniform(*self.blur)
        angle = 0.0
        if rng.random() < 0.5:
            along, angle = rng.uniform(*self.blur), rng.uniform(-math.pi, math.pi)
        return gaussian_kernel(BLUR_SIZE, across, along, angle)


def grey(x: FloatPixels) -> FloatPixels:
    """The luma of ITU-R BT.601 in all three channels, as OpenCV's conversion has it."""
    return cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
