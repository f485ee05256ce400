"""Several restorations of one picture, and how far they lie apart."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from elir_jax.pictures.images import AnyPixels


class Sampled(NamedTuple):
    """Restorations of one picture that differ in the flow's noise alone."""

    restorations: list[AnyPixels]
    deviation: np.ndarray  # [h, w] float32: of a pixel, the root mean square over its channels


class Spread:
    """The standard deviation of pictures that come one after another (Welford's algorithm)."""

    def __init__(self):
        self.count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, picture: np.ndarray) -> None:
        """One picture more, [h, w, c], floats."""
        self.count += 1
        before = picture - self._mean
        self._mean = self._mean + before / self.count
        self._squares = self._squares + before * (picture - self._mean)

    def deviation(self) -> np.ndarray:
        """[h, w], with ``count - 1`` degrees of freedom; needs two pictures."""
        return np.sqrt(np.mean(self._squares, axis=-1) / (self.count - 1)).astype(np.float32)


def sampled(
    restore: Callable[[int], Sequence[np.ndarray]],
    seeds: Sequence[int],
    keep: Callable[[int, np.ndarray], AnyPixels],
) -> list[Sampled]:
    """What ``restore(seed)``, a list of pictures, gives for each of the seeds, for each picture.

    Pictures are clipped to [0, 1]; ``keep(number of the picture, picture)`` is what is kept of one.
    """
    spreads: list[Spread] = []
    kept: list[list[AnyPixels]] = []
    for seed in seeds:
        for i, picture in enumerate(restore(seed)):
            if i == len(spreads):
                spreads.append(Spread())
                kept.append([])
            picture = np.clip(picture, 0, 1)
            spreads[i].add(picture)
            kept[i].append(keep(i, picture))
    return [Sampled(*both) for both in zip(kept, (s.deviation() for s in spreads), strict=True)]


def seeds_from(seed: int, count: int) -> list[int]:
    """``count`` seeds, the first of which is ``seed``."""
    return [(seed + k) % 2**32 for k in range(count)]
