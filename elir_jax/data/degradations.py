"""Degradations ``(rng, hq) -> lq``: images in and out float32 in [0, 1], of the same size.

Each is a small immutable object whose fields are its parameters (section 5.1).
"""

import dataclasses
import io

import numpy as np
from PIL import Image

from elir_jax.data.images import FloatPixels, to_float, to_uint8


@dataclasses.dataclass(frozen=True)
class Identity:
    """No degradation; for training the autoencoder."""

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        return hq


@dataclasses.dataclass(frozen=True)
class Denoising:
    """White Gaussian noise of standard deviation ``sigma``, then clipping (section 5.1.2).

    The clipping is PMRF's, whose degradations section 5.1.2 takes over.
    """

    sigma: float = 0.35

    def __post_init__(self):
        if self.sigma < 0:
            raise ValueError(f"denoising: sigma must not be negative, got {self.sigma}")

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        noise = rng.standard_normal(hq.shape, np.float32)
        return np.clip(hq + np.float32(self.sigma) * noise, 0.0, 1.0)


BLUR_SIZE = 41  # equation 10


@dataclasses.dataclass(frozen=True)
class BlindFaceRestoration:
    """Blur, down-sampling, noise, JPEG and up-sampling (equation 10), each of random strength.

    Ranges: ``blur`` standard deviation in pixels, ``scale`` the factor r, ``noise`` standard
    deviation in grey levels of 255, ``quality`` of the JPEG.
    """

    blur: tuple[float, float] = (0.1, 12.0)
    scale: tuple[float, float] = (1.0, 12.0)
    noise: tuple[float, float] = (0.0, 15.0)
    quality: tuple[int, int] = (30, 100)

    def __post_init__(self):
        limits = {"blur": 1e-3, "scale": 1.0, "noise": 0.0, "quality": 1}
        for name, least in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high or (name == "quality" and high > 100):
                raise ValueError(f"{name} must be a range from {least} up, got {(low, high)}")

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        height, width = hq.shape[:2]
        sigma, r, delta = (rng.uniform(*range_) for range_ in (self.blur, self.scale, self.noise))
        quality = int(rng.integers(self.quality[0], self.quality[1] + 1))

        small = (max(1, round(width / r)), max(1, round(height / r)))
        image = Image.fromarray(to_uint8(gaussian_blur(hq, sigma)))
        lq = to_float(np.asarray(image.resize(small, Image.Resampling.BILINEAR)))
        lq = lq + np.float32(delta / 255) * rng.standard_normal(lq.shape, np.float32)
        image = jpeg(Image.fromarray(to_uint8(lq)), quality)
        return to_float(np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)))


def gaussian_blur(x: FloatPixels, sigma: float) -> FloatPixels:
    """Convolve with a 41x41 Gaussian of ``sigma`` pixels; the image is mirrored at its edges."""
    offset = np.arange(BLUR_SIZE) - BLUR_SIZE // 2
    line = np.exp(-(offset**2) / (2 * sigma**2))
    line = (line / line.sum()).astype(np.float32)
    for axis in (0, 1):  # the kernel is separable
        pad = [(BLUR_SIZE // 2,) * 2 if a == axis else (0, 0) for a in range(3)]
        wide, size = np.pad(x, pad, mode="symmetric"), x.shape[axis]
        x = sum(w * wide.take(np.arange(i, i + size), axis) for i, w in enumerate(line))
    return x


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Compress and decompress, with Pillow's defaults (chroma at half resolution)."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return Image.open(buffer)
