"""The faults of photographs that people have: compressed once or twice, shrunk, noisy, or none.

Each picture meets one of three fates: it stays intact; it is compressed, and of these a share
was compressed before, at another place of JPEG's grid; or it goes through the chain of equation
10 with ranges for ordinary pictures. A share of all pictures is grey before anything else happens.
"""

import dataclasses
import io

import numpy as np
from PIL import Image

from elir_jax.data.degradations.blind_face_restoration import BlindFaceRestoration
from elir_jax.pictures.images import FloatPixels, Pixels, to_float, to_uint8
from elir_jax.ranges import check_ascending, check_fields

BLOCK = 8  # pixels of JPEG's grid
SUBSAMPLINGS = (0, 1, 2)  # Pillow's: 4:4:4, 4:2:2, 4:2:0
HALF = 2  # the usual one, which half of the pictures have
LUMA = np.float32([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True)
class Photographs:
    """``intact`` and ``compressed`` are shares of the pictures; the others go through the chain.

    ``quality``: that of a compressed picture's JPEG, its logarithm drawn uniformly, so that low
    ones are as frequent as they are visible. ``twice``: the share of compressed pictures that were
    compressed before. ``grey``: the share of pictures, originals included, that have no colour.
    ``blur``, ``scale``, ``noise``, ``chain_quality``: those of :class:`BlindFaceRestoration`. The
    results have 8 bits, as files have.
    """

    intact: float = 0.1
    compressed: float = 0.5
    twice: float = 0.25
    grey: float = 0.1
    quality: tuple[int, int] = (8, 95)
    blur: tuple[float, float] = (0.1, 3.0)
    scale: tuple[float, float] = (1.0, 4.0)
    noise: tuple[float, float] = (0.0, 25.0)
    chain_quality: tuple[int, int] = (30, 95)

    eight_bit = True
    changes_original = True

    def __post_init__(self):
        shares = dict.fromkeys(("intact", "compressed", "twice", "grey"), "[0, 1]")
        qualities = dict.fromkeys(("quality", "chain_quality"), "[1, 100]")
        chain = {"blur": "[0.001, inf)", "scale": "[1, inf)", "noise": "[0, inf)"}
        check_fields(self, **shares, **qualities, **chain)
        check_ascending(self, *qualities, *chain)
        if self.intact + self.compressed > 1:
            raise ValueError("intact and compressed must be at most 1 together")

    def chain(self) -> BlindFaceRestoration:
        """What the pictures meet that are neither intact nor only compressed."""
        ranges = {"blur": self.blur, "scale": self.scale, "noise": self.noise}
        return BlindFaceRestoration(**ranges, quality=self.chain_quality, eight_bit=True)

    def __call__(
        self, rng: np.random.Generator, hq: FloatPixels
    ) -> tuple[FloatPixels, FloatPixels]:
        """(degraded, original)."""
        if rng.random() < self.grey:
            hq = to_float(to_uint8(np.repeat((hq @ LUMA)[..., None], 3, axis=-1)))
        fate = rng.random()
        if fate < self.intact:
            return hq.copy(), hq
        if fate >= self.intact + self.compressed:
            return self.chain()(rng, hq), hq
        pixels = to_uint8(hq)
        if rng.random() < self.twice:
            pixels = _elsewhere(rng, pixels, self._quality(rng))
        return to_float(compress(pixels, self._quality(rng), _subsampling(rng))), hq

    def _quality(self, rng: np.random.Generator) -> int:
        low, high = np.log(self.quality)
        return round(float(np.exp(rng.uniform(low, high))))


def compress(pixels: Pixels, quality: int, subsampling: int) -> Pixels:
    """Compress as JPEG and decompress; grey pictures as grey JPEGs."""
    buffer = io.BytesIO()
    grey = bool((pixels == pixels[..., :1]).all())
    options = {} if grey else {"subsampling": subsampling}
    image = Image.fromarray(pixels[..., 0] if grey else pixels)
    image.save(buffer, format="JPEG", quality=quality, **options)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _subsampling(rng: np.random.Generator) -> int:
    return HALF if rng.random() < 0.5 else int(rng.choice(SUBSAMPLINGS))


def _elsewhere(rng: np.random.Generator, pixels: Pixels, quality: int) -> Pixels:
    """Compressed on a grid that begins up to 7 pixels before the picture, as after a crop."""
    top, left = rng.integers(BLOCK, size=2)
    padded = np.pad(pixels, ((top, 0), (left, 0), (0, 0)), mode="symmetric")
    return compress(padded, quality, _subsampling(rng))[top:, left:]
