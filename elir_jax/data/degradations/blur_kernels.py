"""Random blur kernels of Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833, sections 3.1 and 3.4).

Gaussian-like kernels depend on a pixel's offset (x, y) from the centre only through
``q = (x, y) C^-1 (x, y)^T``, where C has standard deviations ``sigma_x`` and ``sigma_y`` along
axes turned by ``theta``: the generalized Gaussian is ``exp(-q**beta / 2)`` (a Gaussian at
beta = 1), the plateau ``1 / (1 + q**beta)``. The sinc kernel is the ideal circular low-pass
filter, cut to a square; it rings as over-sharpened photographs do. Every kernel sums to 1.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from scipy.special import j1

Kernel = Float32[np.ndarray, "size size"]
SizedKernel = Float32[np.ndarray, "{size} {size}"]


class Shape(NamedTuple):
    """A family of Gaussian-like kernels, and the range that its ``beta`` is drawn from."""

    isotropic: bool
    plateau: bool
    beta: tuple[float, float]


# Real-ESRGAN's published settings, which ELIR's release keeps.
SHAPES = {
    "iso": Shape(True, False, (1.0, 1.0)),
    "aniso": Shape(False, False, (1.0, 1.0)),
    "generalized_iso": Shape(True, False, (0.5, 4.0)),
    "generalized_aniso": Shape(False, False, (0.5, 4.0)),
    "plateau_iso": Shape(True, True, (1.0, 2.0)),
    "plateau_aniso": Shape(False, True, (1.0, 2.0)),
}
SIZES = tuple(range(7, 22, 2))
# Radians per pixel. Strong filters have long tails, so only kernels from WIDE up use them.
LOWEST_CUTOFF, LOWEST_CUTOFF_WIDE, WIDE = math.pi / 3, math.pi / 5, 13


def gaussian_kernel(
    size: int,
    sigma_x: float,
    sigma_y: float,
    theta: float = 0.0,
    beta: float = 1.0,
    plateau: bool = False,
) -> SizedKernel:
    """The kernel above; ``theta`` in radians turns the x axis (columns) towards y (rows).

    ``sigma_x`` and ``sigma_y`` are in pixels and positive.
    """
    y, x = _offsets(size)
    along = x * math.cos(theta) + y * math.sin(theta)
    across = y * math.cos(theta) - x * math.sin(theta)
    power = ((along / sigma_x) ** 2 + (across / sigma_y) ** 2) ** beta
    return _normalised(1 / (1 + power) if plateau else np.exp(-power / 2))


def sinc_kernel(size: int, cutoff: float) -> SizedKernel:
    """``cutoff J1(cutoff r) / (2 pi r)`` at distance r; ``cutoff`` in (0, pi] radians per pixel."""
    r = np.hypot(*_offsets(size))
    centre = r == 0
    r = np.where(centre, 1.0, r)
    limit = cutoff**2 / (4 * math.pi)  # as r -> 0, J1(cutoff r) -> cutoff r / 2
    return _normalised(np.where(centre, limit, cutoff * j1(cutoff * r) / (2 * math.pi * r)))


def choose_kind(
    rng: np.random.Generator, sinc_probability: float, shape_probabilities: tuple[float, ...]
) -> str:
    """``"sinc"``, or else one of ``SHAPES`` with the probabilities given, in that order."""
    if rng.random() < sinc_probability:
        return "sinc"
    return list(SHAPES)[rng.choice(len(SHAPES), p=shape_probabilities)]


def draw_beta(rng: np.random.Generator, low: float, high: float) -> float:
    """Half of the draws from [low, 1], half from [1, high]: sharp and flat tops equally often."""
    return rng.uniform(low, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, high)


def random_kernel(
    rng: np.random.Generator,
    sigma: tuple[float, float],
    sinc_probability: float,
    shape_probabilities: tuple[float, ...],
) -> Kernel:
    """A kernel of random size, kind and parameters; ``sigma`` is a range in pixels."""
    size = int(rng.choice(SIZES))
    kind = choose_kind(rng, sinc_probability, shape_probabilities)
    if kind == "sinc":
        lowest = LOWEST_CUTOFF if size < WIDE else LOWEST_CUTOFF_WIDE
        return sinc_kernel(size, rng.uniform(lowest, math.pi))
    shape = SHAPES[kind]
    sigma_x = sigma_y = rng.uniform(*sigma)
    theta = 0.0
    if not shape.isotropic:
        sigma_y, theta = rng.uniform(*sigma), rng.uniform(-math.pi, math.pi)
    beta = draw_beta(rng, *shape.beta)
    return gaussian_kernel(size, sigma_x, sigma_y, theta, beta, shape.plateau)


def random_sinc_kernel(rng: np.random.Generator) -> Kernel:
    """A sinc kernel of random size and cutoff: the last filter of the degradation."""
    return sinc_kernel(int(rng.choice(SIZES)), rng.uniform(LOWEST_CUTOFF, math.pi))


def _offsets(size: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) from the centre of a ``size`` x ``size`` kernel."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size of a kernel must be odd and positive, got {size}")
    y, x = np.indices((size, size), np.float64) - size // 2
    return y, x


def _normalised(kernel: np.ndarray) -> np.ndarray:
    return (kernel / kernel.sum()).astype(np.float32)
