"""The figures of pictures in a JSON file, one entry for each picture, and what a set of them says.

The file is replaced whole every few seconds. It also holds the last tables, under ``tables``.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elir_jax.errors import UserError
from elir_jax.files import whole_file
from elir_jax.metrics.frechet import Statistics, describe

EVERY = 5.0  # seconds
DIGITS = 9  # as many as float32 has


class Measured(NamedTuple):
    """The figures of one picture, and of its latents: how many, mean, covariance (upper half)."""

    psnr: float
    ssim: float
    places: int
    mean: list[float]
    covariance: list[float]


def measured(psnr: float, ssim: float, latents: np.ndarray) -> Measured:
    """``latents``: a row for each place of the picture."""
    mean, covariance = describe(latents)
    upper = covariance[np.triu_indices(len(mean))]
    return Measured(psnr, ssim, len(latents), _rounded(mean), _rounded(upper))


def pooled(pictures: Sequence[Measured]) -> Statistics:
    """The statistics of the latents of all pictures together."""
    counts = np.array([one.places for one in pictures])
    means = np.array([one.mean for one in pictures])
    mean = counts @ means / counts.sum()
    spread = np.einsum("n,ni,nj->ij", counts, means - mean, means - mean)
    for one in pictures:
        half = np.zeros((len(mean), len(mean)))
        half[np.triu_indices(len(mean))] = one.covariance
        spread += (one.places - 1) * (half + half.T - np.diag(half.diagonal()))
    return Statistics(mean, spread / (counts.sum() - 1))


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


class Measurements:
    """What is known already, by key. Raises UserError if the file is none of ours."""

    def __init__(self, path: Path):
        self._path, self._saved = path, time.monotonic()
        self.tables: list[dict] = []
        self._pictures: dict[str, Measured] = {}
        if not path.exists():
            return
        try:
            stored = json.loads(path.read_text())["pictures"]
            self._pictures = {key: Measured(*figures) for key, figures in stored.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: no file of a board ({error}); remove it, or name another with --json"
            ) from error

    def __contains__(self, key: str) -> bool:
        return key in self._pictures

    def __getitem__(self, key: str) -> Measured:
        return self._pictures[key]

    def add(self, key: str, figures: Measured) -> None:
        """Keep the figures; they are on the disk after a few seconds, or after :meth:`save`."""
        self._pictures[key] = figures
        if time.monotonic() - self._saved > EVERY:
            self.save()

    def save(self) -> None:
        """Write the file whole."""
        with whole_file(self._path) as part:
            part.write_text(json.dumps({"tables": self.tables, "pictures": self._pictures}))
        self._saved = time.monotonic()
