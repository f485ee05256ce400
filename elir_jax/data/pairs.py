"""Images -> pairs of one size, in [0, 1]: fit, crop, flip, degrade.

All random numbers of a pair come from the given generator.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol, runtime_checkable

import cv2
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
    to_uint8,
)
from elir_jax.types import Batch, Sent

# (rng, x_hq) -> x_lq, or (x_lq, x_hq) if it changes the original as well.
Degradation = Callable[
    [np.random.Generator, FloatPixels], FloatPixels | tuple[FloatPixels, FloatPixels]
]
logger = logging.getLogger(__name__)
FITS = ("crop", "resize", "pad")
LARGEST_ENLARGEMENT = 2  # with a larger one, networks would learn from blurred originals
PADDED = 400  # pixels; the release's window for blind super-resolution, which is Real-ESRGAN's


@runtime_checkable
class Extra(Protocol):
    """Makes what a method trains on besides a pair: arrays by name, for ``Batch.extra``.

    Shapes and types must not depend on the pair. Workers receive the callable, so it must be
    picklable: a module's function, or a dataclass with ``__call__``. It draws from ``rng`` after
    the pair.
    """

    def __call__(
        self, rng: np.random.Generator, x_hq: FloatPixels, x_lq: FloatPixels
    ) -> dict[str, np.ndarray]: ...


def no_extra(
    rng: np.random.Generator, x_hq: FloatPixels, x_lq: FloatPixels
) -> dict[str, np.ndarray]:
    """No further arrays."""
    return {}


@runtime_checkable
class Maker(Protocol):
    """An image -> a training sample: arrays by name, which stacked are fields of ``batch``."""

    batch: type[Sent]

    def sample(self, rng: np.random.Generator, item: Item, name: str) -> dict[str, Any]:
        """A sample of ``item``; all that is random comes from ``rng``. Raises UserError."""
        ...

    def blank(self) -> dict[str, Any]:
        """A sample of nothing, of the same shapes."""
        ...


@dataclasses.dataclass(frozen=True)
class PairMaker:
    """Makes an image into a pair of ``size`` x ``size`` pixels.

    ``fit``: ``crop`` takes a window of the image as it is. ``resize`` first resizes the shorter
    side to ``size``, but at most to twice its length. ``pad`` mirrors an image that is smaller than
    ``PADDED`` up to that size, degrades a window of that size and then cuts the pair out of it, as
    the release's blind super-resolution does. Given pairs are not degraded; their degraded image is
    resized to the original.
    """

    batch: ClassVar = Batch
    degrade: Degradation
    size: int
    fit: str = "crop"
    extra: Extra = no_extra  # of a training pair

    def __post_init__(self):
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {FITS}, got {self.fit!r}")

    @property
    def least(self) -> int:
        """The smallest shorter side that an image may have, in pixels."""
        enlarged = -(-self.size // LARGEST_ENLARGEMENT)
        return {"crop": self.size, "resize": enlarged, "pad": 1}[self.fit]

    @property
    def window(self) -> int:
        """The side of the degraded window, out of which the pair is cut."""
        return max(self.size, PADDED) if self.fit == "pad" else self.size

    def random(
        self, rng: np.random.Generator, item: Item, name: str
    ) -> tuple[FloatPixels, FloatPixels]:
        """(x_hq, x_lq) for training: a random window, mirrored with probability 1/2."""
        x_hq, x_lq, _ = self._random(rng, item, name)
        return x_hq, x_lq

    def _random(
        self, rng: np.random.Generator, item: Item, name: str
    ) -> tuple[FloatPixels, FloatPixels, Pixels]:
        """(x_hq, x_lq, the original as 8-bit levels)."""
        hq, lq = self.random_window(rng, item, name)
        x_hq = to_float(hq)
        x_hq, x_lq = self._degraded(rng, x_hq) if lq is None else (x_hq, to_float(lq))
        if self.window == self.size:
            return x_hq, x_lq, hq
        top, left = draw_place(rng, x_hq, self.size)
        place = np.s_[top : top + self.size, left : left + self.size]
        x_hq, x_lq, hq = (np.ascontiguousarray(x[place]) for x in (x_hq, x_lq, hq))
        return x_hq, x_lq, hq

    def random_window(
        self, rng: np.random.Generator, item: Item, name: str
    ) -> tuple[Pixels, Pixels | None]:
        """A random window of the original and, of a given pair, of the degraded image."""
        hq, lq = self._fitted(item, name)
        top, left = draw_place(rng, hq, self.window)
        mirrored = rng.random() < 0.5

        def window(pixels):
            cut = pixels[top : top + self.window, left : left + self.window]
            # NumPy takes 1.2 ms for 512x512 pixels in place of OpenCV's 0.03.
            return cv2.flip(cut, 1) if mirrored else np.ascontiguousarray(cut)

        return window(hq), None if lq is None else window(lq)

    def sample(self, rng: np.random.Generator, item: Item, name: str) -> dict[str, Any]:
        """A pair of :meth:`random`, and what ``extra`` makes of it.

        What has 8 bits travels as them, a quarter of the bytes: the original, unless the
        degradation changes it, and a degraded image that is rounded to 8 bits.
        """
        x_hq, x_lq, hq = self._random(rng, item, name)
        sample = self._with_extra(rng, x_hq, x_lq)
        if not getattr(self.degrade, "changes_original", False):
            sample["x_hq"] = hq
        if getattr(self.degrade, "eight_bit", False):
            sample["x_lq"] = to_uint8(x_lq)
        return sample

    def blank(self) -> dict[str, Any]:
        """A black pair."""
        black = np.zeros((self.size, self.size, 3), np.uint8)
        maker = dataclasses.replace(self, fit="crop")
        return maker.sample(np.random.default_rng(0), (black, black), "black")

    def _with_extra(self, rng, x_hq: FloatPixels, x_lq: FloatPixels) -> dict[str, Any]:
        extra = self.extra(rng, x_hq, x_lq)
        return {"x_hq": x_hq, "x_lq": x_lq} | ({"extra": extra} if extra else {})

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
    """Top and left of a ``size`` x ``size`` window, all equally likely."""
    top, left = (int(rng.integers(side - size + 1)) for side in pixels.shape[:2])
    return top, left


def pad_mirrored(pixels: Pixels, least: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Mirror the image about its outermost pixels until both sides are at least ``least``.

    Both ends grow by the same amount, so that the middle stays the middle.
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
    """(number, name, x_hq, x_lq) of each image in ``numbers``, degraded with its own generator.

    If ``skip_bad``, unusable images are left out and named in the log.
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
