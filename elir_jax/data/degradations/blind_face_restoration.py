"""The degradation of blind face restoration: blur, shrink, noise, JPEG, enlarge (equation 10)."""

import dataclasses

import numpy as np

from elir_jax.data.degradations.filters import (
    add_noise,
    blur_down,
    jpeg,
    resize_bilinear,
)
from elir_jax.pictures.images import FloatPixels, to_float, to_uint8
from elir_jax.ranges import check_ascending, check_fields


@dataclasses.dataclass(frozen=True)
class BlindFaceRestoration:
    """Each strength is drawn uniformly from its range.

    ``blur``: standard deviation of the 41x41 Gaussian, in pixels. ``scale``: the factor r. If
    ``share`` is given, it replaces the factor: the small side as a share of the full one, as in the
    release. ``noise``: standard deviation, in grey levels of 255. ``quality``: that of the JPEG.
    Resizing is bilinear. ``eight_bit`` rounds the result, as the release stores it.
    """

    blur: tuple[float, float] = (0.1, 12.0)
    scale: tuple[float, float] = (1.0, 12.0)
    share: tuple[float, ...] = ()
    noise: tuple[float, float] = (0.0, 15.0)
    quality: tuple[int, int] = (30, 100)
    eight_bit: bool = False

    def __post_init__(self):
        check_fields(
            self,
            blur="[0.001, inf)",
            scale="[1, inf)",
            share="[0.001, inf)",
            noise="[0, inf)",
            quality="[1, 100]",
        )
        if len(self.share) not in (0, 2):
            raise ValueError(f"share must be two values, or none, got {self.share}")
        check_ascending(self, "blur", "scale", "share", "noise", "quality")

    def __call__(self, rng: np.random.Generator, hq: FloatPixels) -> FloatPixels:
        height, width = hq.shape[:2]
        sigma, delta = rng.uniform(*self.blur), rng.uniform(*self.noise)
        factor = 1 / rng.uniform(*self.share) if len(self.share) else rng.uniform(*self.scale)
        quality = int(rng.integers(self.quality[0], self.quality[1] + 1))

        small = max(1, round(height / factor)), max(1, round(width / factor))
        lq = add_noise(rng, blur_down(hq, sigma, *small), delta / 255)
        lq = to_float(jpeg(to_uint8(lq), quality))
        lq = resize_bilinear(lq, height, width)
        return to_float(to_uint8(lq)) if self.eight_bit else lq
