"""Images -> pairs of one size, in [0, 1]: fit, crop, flip, degrade.

Everything random about a pair comes from the generator it is given.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from elir_jax.data.degradations.filters import resize_bicubic
from elir_jax.data.sources import Item, Source
from elir_jax.errors import UserError
from elir_jax.pictures.images import (
    FloatPixels,
    Pixels,
    centre,
    check_room,
    fit_short_side,
    to_float,
)

# (rng, x_hq) -> x_lq, or (x_lq, x_hq) if it changes the original as well.
Degradation = Callable[
    [np.random.Generator, FloatPixels], FloatPixels | tuple[FloatPixels, FloatPixels]
]
logger = logging.getLogger(__name__)
FITS = ("crop", "resize", "pad")
LARGEST_ENLARGEMENT = 2  # more would train on blur
PADDED = 400  # pixels; the release's window for blind super-resolution, which is Real-ESRGAN's


@runtime_checkable
class Extra(Protocol):
    """What a method trains on besides a pair: arrays by name, for ``Batch.extra``.

    Shapes and types must not depend on the pair. Workers receive the callable, so it must be
    picklable: a module's function, or a dataclass with ``__call__``. What it draws from ``rng``
    follows what the pair drew.
    """

    def __call__(
        self, rng: np.random.Generator, x_hq: FloatPixels, x_lq: FloatPixels
    ) -> dict[str, np.ndarray]: ...


def no_extra(
    rng: np.random.Generator, x_hq: FloatPixels, x_lq: FloatPixels
) -> dict[str, np.ndarray]:
    """Nothing besides the pair."""
    return {}


@dataclasses.dataclass(frozen=True)
class PairMaker:
    """How an image becomes a pair of ``size`` x ``size`` pixels.

    ``fit``: ``crop`` takes a window of the image as it is; ``resize`` first brings its shorter side
    to ``size``, twice as large at most; ``pad`` mirrors an image that is smaller than ``PADDED`` up
    to it, degrades a window of that size and then cuts the pair out of it, as the release's blind
    super-resolution does. Given pairs are not degraded; their degraded image is brought to the
    original's size.
    """

    degrade: Degradation
    size: int
    fit: str = "crop"
    extra: Extra = no_extra  # of a training pair

    def __post_init__(self):
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {FITS}, got {self.fit!r}")

    @property
    def least(self) -> int:
        """The fewest pixels an image may have along its shorter side."""
        enlarged = -(-self.size // LARGEST_ENLARGEMENT)
        return {"crop": self.size, "resize": enlarged, "pad": 1}[self.fit]

    @property
    def window(self) -> int:
        """Side of the window that is degraded; the pair is cut out of it."""
        return max(self.size, PADDED) if self.fit == "pad" else self.size

    def random(
        self, rng: np.random.Generator, item: Item, name: str
    ) -> tuple[FloatPixels, FloatPixels]:
        """(x_hq, x_lq) for training: a random window, mirrored half of the time."""
        hq, lq = self._fitted(item, name)
        top, left = draw_place(rng, hq, self.window)
        step = -1 if rng.random() < 0.5 else 1

        def window(pixels):
            cut = pixels[top : top + self.window, left : left + self.window]
            return to_float(np.ascontiguousarray(cut[:, ::step]))

        x_hq = window(hq)
        x_hq, x_lq = self._degraded(rng, x_hq) if lq is None else (x_hq, window(lq))
        if self.window == self.size:
            return x_hq, x_lq
        top, left = draw_place(rng, x_hq, self.size)
        x_hq, x_lq = (x[top : top + self.size, left : left + self.size] for x in (x_hq, x_lq))
        return np.ascontiguousarray(x_hq), np.ascontiguousarray(x_lq)

    def central(
        self, rng: np.random.Generator, item: Item, name: str
    ) -> tuple[FloatPixels, FloatPixels]:
        """(x_hq, x_lq) for evaluation: the middle of the image."""
        hq, lq = self._fitted(item, name)

        def middle(pixels, size):
            return np.ascontiguousarray(centre(pixels, size))

        x_hq = to_float(middle(hq, self.window))
        if lq is None:
            x_hq, x_lq = self._degraded(rng, x_hq)
        else:
            x_lq = to_float(middle(lq, self.window))
        return middle(x_hq, self.size), middle(x_lq, self.size)

    def _degraded(
        self, rng: np.random.Generator, x_hq: FloatPixels
    ) -> tuple[FloatPixels, FloatPixels]:
        """(x_hq, x_lq)."""
        found = self.degrade(rng, x_hq)
        return (found[1], found[0]) if isinstance(found, tuple) else (x_hq, found)

    def _fitted(self, item: Item, name: str) -> tuple[Pixels, Pixels | None]:
        hq, lq = item if isinstance(item, tuple) else (item, None)
        check_room(*hq.shape[:2], self.least, name)
        if lq is not None and lq.shape != hq.shape:
            lq = enlarge(lq, *hq.shape[:2])
        if self.fit == "resize":
            hq = fit_short_side(hq, self.size)
            lq = None if lq is None else fit_short_side(lq, self.size)
        if self.fit == "pad":
            hq = pad_mirrored(hq, self.window)
            lq = None if lq is None else pad_mirrored(lq, self.window)
        return hq, lq


def draw_place(rng: np.random.Generator, pixels: np.ndarray, size: int) -> tuple[int, int]:
    """Top and left of a window of ``size`` x ``size``, every one equally likely."""
    top, left = (int(rng.integers(side - size + 1)) for side in pixels.shape[:2])
    return top, left


def pad_mirrored(pixels: Pixels, least: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The image mirrored about its outermost pixels, until no side is below ``least``.

    As much at either end, so that the middle stays the middle.
    """
    short = [max(0, least - side) for side in pixels.shape[:2]]
    return np.pad(pixels, [*((n // 2, n - n // 2) for n in short), (0, 0)], mode="reflect")


def enlarge(
    pixels: UInt8[np.ndarray, "h w 3"], height: int, width: int
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Pillow's bicubic, in 8 bits."""
    x = resize_bicubic(pixels.astype(np.float32), height, width)
    return np.round(np.clip(x, 0, 255)).astype(np.uint8)


def evaluation_pairs(
    source: Source, maker: PairMaker, seed: int, skip_bad: bool, numbers: range
) -> Iterator[tuple[int, str, FloatPixels, FloatPixels]]:
    """(number, name, x_hq, x_lq) for each image of ``numbers``, degraded by a generator of its own.

    With ``skip_bad``, unusable images are named in the log and left out.
    """
    for i in numbers:
        name = source.name(i)
        try:
            pair = maker.central(np.random.default_rng((seed, i)), source[i], name)
        except UserError as error:
            if not skip_bad:
                raise
            logger.warning("left out of the evaluation: %s", error)
        else:
            yield i, name, *pair
