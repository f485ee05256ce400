"""The Fréchet distance between two sets of features, each described by a normal distribution.

``d = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``; on Inception's features it is the Fréchet
inception distance, FID (Heusel et al., 2017). It shrinks with the number of images, so compare only
figures of equally many images.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from elir_jax.errors import UserError


class Statistics(NamedTuple):
    """Mean and covariance of a set of features."""

    mean: Float[np.ndarray, " f"]
    covariance: Float[np.ndarray, "f f"]


def describe(features: Float[np.ndarray, "n f"]) -> Statistics:
    """Statistics of the features of ``n`` images. Raises ValueError if there are fewer than two."""
    if len(features) < 2:
        raise ValueError(f"a covariance needs at least 2 images, got {len(features)}")
    features = np.asarray(features, np.float64)
    return Statistics(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def read_statistics(path: Path) -> Statistics:
    """Statistics from an ``.npz`` file with ``mu`` and ``sigma``, as in clean-fid and pyiqa.

    Raises a UserError that names the file if it holds anything else.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            mean, covariance = (np.float64(arrays[name]) for name in ("mu", "sigma"))
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not an .npz file with arrays mu and sigma ({error})") from error
    if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
        raise UserError(f"{path}: mu {mean.shape} and sigma {covariance.shape} do not fit together")
    return Statistics(mean, covariance)


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """The squared distance; zero for equal statistics. Raises ValueError if sizes differ."""
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"{len(a.mean)} features and {len(b.mean)} cannot be compared")
    # C1 C2 has the eigenvalues of R C2 R with R = C1^(1/2), which is symmetric: real and stable,
    # even if there are fewer images than features.
    root = _root(a.covariance)
    eigenvalues = np.linalg.eigvalsh(root @ b.covariance @ root)
    cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return float(np.sum((a.mean - b.mean) ** 2) + traces - 2 * cross)


def _root(covariance: Float[np.ndarray, "f f"]) -> Float[np.ndarray, "f f"]:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
