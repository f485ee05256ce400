"""Blind super-resolution: Real-ESRGAN's random degradation (Wang et al. 2021, arXiv:2107.10833).

Stage 1 blurs, resizes, adds noise and compresses; stage 2, which ELIR's release switches off,
blurs, resizes and adds noise again; then the image is brought to a quarter of its height and
width, filtered and compressed, in one of two orders. A bicubic enlargement brings it back to its
own size. The ranges are those of ELIR's release, which are Real-ESRGAN's.

Two differences from the release, which degrades tensors: JPEG is real (with an integer quality),
and "area" is OpenCV's, with exact weights at the edges of cells, and bilinear if it enlarges.
"""

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Float32

from elir_jax.data.degradations.blur_kernels import (
    SHAPES,
    Kernel,
    random_kernel,
    random_sinc_kernel,
)
from elir_jax.data.degradations.filters import jpeg
from elir_jax.pictures.images import AnyPixels, FloatPixels, to_float, to_uint8
from elir_jax.ranges import check_ascending, check_fields

Resized = Float32[np.ndarray, "{height} {width} 3"]

MODES = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


PROBABILITY = "[0, 1]"


def _check_distributions(**named: tuple[float, ...]) -> None:
    for name, probabilities in named.items():
        total = math.fsum(probabilities)
        if not abs(total - 1) < 1e-8:  # numpy's own limit
            raise ValueError(f"{name} must be probabilities of sum 1, got {probabilities}")


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blur, resizing and noise, each of random strength. The defaults are those of stage 1.

    ``blur_sigma``: pixels. ``shape_probabilities``: in the order of ``blur_kernels.SHAPES``.
    ``resize_probabilities``: of larger, smaller and same size. ``resize_range``: the smallest and
    the largest factor. ``gaussian_range``: standard deviation in grey levels of 255.
    ``gaussian_probability``: of Gaussian noise; otherwise the noise is Poisson's.
    ``poisson_range``: factor on the noise. ``grey_probability``: of the same noise on all channels.
    """

    blur_probability: float = 1.0
    blur_sigma: tuple[float, float] = (0.2, 3.0)
    sinc_probability: float = 0.1
    shape_probabilities: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    resize_probabilities: tuple[float, float, float] = (0.2, 0.7, 0.1)
    resize_range: tuple[float, float] = (0.15, 1.5)
    gaussian_probability: float = 0.5
    gaussian_range: tuple[float, float] = (1.0, 30.0)
    poisson_range: tuple[float, float] = (0.05, 3.0)
    grey_probability: float = 0.4

    def __post_init__(self):
        check_fields(
            self,
            blur_probability=PROBABILITY,
            blur_sigma="[0.001, inf)",
            sinc_probability=PROBABILITY,
            shape_probabilities=PROBABILITY,
            resize_probabilities=PROBABILITY,
            resize_range="[0.001, inf)",
            gaussian_probability=PROBABILITY,
            gaussian_range="[0, inf)",
            poisson_range="[0, inf)",
            grey_probability=PROBABILITY,
        )
        check_ascending(self, "blur_sigma", "resize_range", "gaussian_range", "poisson_range")
        _check_distributions(
            shape_probabilities=self.shape_probabilities,
            resize_probabilities=self.resize_probabilities,
        )
        if len(self.shape_probabilities) != len(SHAPES):
            raise ValueError(f"shape_probabilities must be {len(SHAPES)}, one for each shape")
        if not self.resize_range[0] <= 1 <= self.resize_range[1]:
            raise ValueError(f"resize_range must contain 1, got {self.resize_range}")

    def __call__(
        self, rng: np.random.Generator, x: FloatPixels, height: int | float, width: int | float
    ) -> AnyPixels:
        """Degrade; the result has the size ``height`` x ``width`` times a random factor."""
        if rng.random() < self.blur_probability:
            kernel = random_kernel(
                rng, self.blur_sigma, self.sinc_probability, self.shape_probabilities
            )
            x = filter_image(x, kernel)
        scale = self.draw_scale(rng)
        small = (max(1, int(side * scale)) for side in (height, width))
        return self._add_noise(rng, resize(x, *small, draw_mode(rng)))

    def draw_scale(self, rng: np.random.Generator) -> float:
        """A random factor: larger, smaller or 1, with ``resize_probabilities``."""
        least, largest = self.resize_range
        low, high = ((1.0, largest), (least, 1.0), (1.0, 1.0))[
            rng.choice(3, p=self.resize_probabilities)
        ]
        return rng.uniform(low, high)

    def _add_noise(self, rng: np.random.Generator, x: FloatPixels) -> FloatPixels:
        grey = bool(rng.random() < self.grey_probability)
        if rng.random() < self.gaussian_probability:
            x = add_gaussian_noise(rng, x, rng.uniform(*self.gaussian_range) / 255, grey)
        else:
            x = add_poisson_noise(rng, x, rng.uniform(*self.poisson_range), grey)
        return np.clip(x, 0.0, 1.0)


FIRST_STAGE = Stage()
SECOND_STAGE = Stage(
    blur_probability=0.8,
    blur_sigma=(0.2, 1.5),
    resize_probabilities=(0.3, 0.4, 0.3),
    resize_range=(0.3, 1.2),
    gaussian_range=(1.0, 25.0),
    poisson_range=(0.05, 2.5),
)


@dataclasses.dataclass(frozen=True)
class BlindSuperResolution:
    """The whole degradation; the result has the size of the original, in 8-bit levels.

    ``second_order_probability``: that of stage 2, 0 in ELIR's release and 1 in Real-ESRGAN.
    ``quality``: that of both JPEGs. ``final_sinc_probability``: that of the last filter.
    ``scale``: the factor of super-resolution.
    """

    first: Stage = FIRST_STAGE
    second: Stage = SECOND_STAGE
    second_order_probability: float = 0.0
    quality: tuple[int, int] = (30, 95)
    final_sinc_probability: float = 0.8
    scale: int = 4

    def __post_init__(self):
        check_fields(
            self,
            second_order_probability=PROBABILITY,
            quality="[1, 100]",
            final_sinc_probability=PROBABILITY,
            scale="[1, inf)",
        )
        check_ascending(self, "quality")

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        height, width = hq.shape[:2]
        x = self._compress(rng, self.first(rng, hq, height, width))
        if rng.random() < self.second_order_probability:
            x = self.second(rng, x, height / self.scale, width / self.scale)
        if rng.random() < 0.5:  # both orders occur in photographs passed on from hand to hand
            x = self._compress(rng, self._shrink(rng, x, height, width))
        else:
            x = self._shrink(rng, self._compress(rng, x), height, width)
        return to_float(to_uint8(resize(x, height, width, "bicubic")))

    def _shrink(self, rng: np.random.Generator, x: AnyPixels, height: int, width: int) -> AnyPixels:
        small = (max(1, side // self.scale) for side in (height, width))
        x = resize(x, *small, draw_mode(rng))
        if rng.random() < self.final_sinc_probability:
            x = filter_image(x, random_sinc_kernel(rng))
        return x

    def _compress(self, rng: np.random.Generator, x: FloatPixels) -> FloatPixels:
        low, high = self.quality
        image = jpeg(to_uint8(x), int(rng.integers(low, high + 1)))
        return to_float(np.asarray(image))


def draw_mode(rng: np.random.Generator) -> str:
    """One of ``MODES``, all equally likely."""
    return list(MODES)[rng.integers(len(MODES))]


def resize(x: AnyPixels, height: int, width: int, mode: str) -> Resized:
    """Resize by one of ``MODES``; only "area" averages all pixels if it makes an image smaller.

    Bicubic overshoots: the result may leave [0, 1] a little.
    """
    return cv2.resize(x, (width, height), interpolation=MODES[mode])


def filter_image(x: FloatPixels, kernel: Kernel) -> FloatPixels:
    """Correlate each channel with ``kernel``; the image is mirrored about its outermost pixels."""
    return cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def add_gaussian_noise(
    rng: np.random.Generator, x: FloatPixels, sigma: float, grey: bool
) -> FloatPixels:
    """White noise of standard deviation ``sigma``, in units of the image's [0, 1]; not clipped.

    ``grey``: the same noise on the three channels.
    """
    shape = (*x.shape[:2], 1 if grey else 3)
    return x + np.float32(sigma) * rng.standard_normal(shape, np.float32)


def add_poisson_noise(
    rng: np.random.Generator, x: FloatPixels, scale: float, grey: bool
) -> FloatPixels:
    """Shot noise times ``scale``: (Poisson(v x) / v - x) * scale, of variance scale**2 x / v.

    x is rounded to 8 bits, and v is the number of its different levels, rounded up to a power of 2:
    an image of few levels is noisier. ``grey``: the noise of the luminance, on the three channels.
    Not clipped.
    """
    levels = to_uint8(x)
    if grey:
        levels = np.round(levels @ LUMA).astype(np.uint8)[..., None]
    different = np.count_nonzero(np.bincount(levels.ravel()))
    v = 2 ** math.ceil(math.log2(different))
    mean = levels / 255
    noise = rng.poisson(v * mean) / v - mean
    return x + (scale * noise).astype(np.float32)
