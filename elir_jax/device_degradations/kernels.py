"""Random blur kernels of Real-ESRGAN, as ``data/blur_kernels.py`` defines them, on the device.

A kernel of any size lies in the middle of 21x21 weights, with zeros around it. ``draw_kernel``
draws its parameters and ``kernel`` computes its weights, so that the host can make the same one.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, Key

from elir_jax.data.degradations.blur_kernels import (
    LOWEST_CUTOFF,
    LOWEST_CUTOFF_WIDE,
    SHAPES,
    SIZES,
    WIDE,
)
from elir_jax.device_degradations.bessel import bessel_j1
from elir_jax.device_degradations.filtering import KernelWeights

LARGEST = max(SIZES)
ISOTROPIC = np.array([shape.isotropic for shape in SHAPES.values()])
PLATEAU = np.array([shape.plateau for shape in SHAPES.values()])
BETA = np.array([shape.beta for shape in SHAPES.values()], np.float32)


class KernelParameters(NamedTuple):
    """``size`` an odd number of pixels; ``sinc`` with ``cutoff``, otherwise the other fields."""

    size: Int32[Array, ""]
    sinc: Bool[Array, ""]
    cutoff: Float32[Array, ""]  # radians a pixel
    shape: Int32[Array, ""]  # a place in data.blur_kernels.SHAPES
    sigma_x: Float32[Array, ""]  # pixels
    sigma_y: Float32[Array, ""]
    theta: Float32[Array, ""]  # radians
    beta: Float32[Array, ""]


def draw_kernel(
    key: Key[Array, ""],
    sigma: tuple[float, float],
    sinc_probability: float,
    shape_probabilities: tuple[float, ...],
) -> KernelParameters:
    """A kernel of random size, kind and parameters; ``sigma`` is a range in pixels."""
    keys = iter(jax.random.split(key, 9))
    size = _draw_size(next(keys))
    sinc = jax.random.bernoulli(next(keys), sinc_probability)
    lowest = jnp.where(size < WIDE, LOWEST_CUTOFF, LOWEST_CUTOFF_WIDE)
    cutoff = uniform(next(keys), lowest, math.pi)
    shape = choice(next(keys), shape_probabilities)
    sigma_x, sigma_y = uniform(next(keys), *sigma), uniform(next(keys), *sigma)
    theta = uniform(next(keys), -math.pi, math.pi)
    isotropic = jnp.asarray(ISOTROPIC)[shape]
    low, high = jnp.asarray(BETA)[shape]
    # Half of the draws are at most 1, half at least 1: sharp and flat tops equally often.
    sharp = jax.random.bernoulli(next(keys))
    beta = uniform(next(keys), jnp.where(sharp, low, 1.0), jnp.where(sharp, 1.0, high))
    return KernelParameters(
        size=size,
        sinc=sinc,
        cutoff=cutoff,
        shape=shape,
        sigma_x=sigma_x,
        sigma_y=jnp.where(isotropic, sigma_x, sigma_y),
        theta=jnp.where(isotropic, 0.0, theta),
        beta=beta,
    )


def draw_sinc_kernel(key: Key[Array, ""]) -> KernelParameters:
    """A sinc kernel of random size and cutoff: the last filter of the degradation."""
    size_key, cutoff_key = jax.random.split(key)
    one = jnp.float32(1.0)
    return KernelParameters(
        size=_draw_size(size_key),
        sinc=jnp.bool_(True),
        cutoff=uniform(cutoff_key, LOWEST_CUTOFF, math.pi),
        shape=jnp.int32(0),
        sigma_x=one,
        sigma_y=one,
        theta=jnp.float32(0.0),
        beta=one,
    )


def kernel(parameters: KernelParameters) -> KernelWeights:
    """21x21 weights that sum to 1; rows are y."""
    y, x = (jnp.asarray(o, jnp.float32) for o in np.indices((LARGEST, LARGEST)) - LARGEST // 2)
    weights = jnp.where(parameters.sinc, _sinc(parameters, y, x), _gaussian(parameters, y, x))
    within = jnp.maximum(jnp.abs(y), jnp.abs(x)) <= parameters.size // 2
    weights = jnp.where(within, weights, 0.0)
    return weights / weights.sum()


def identity_kernel() -> KernelWeights:
    """The 21x21 weights that change nothing."""
    return jnp.zeros((LARGEST, LARGEST)).at[LARGEST // 2, LARGEST // 2].set(1.0)


def uniform(key: Key[Array, ""], low, high) -> Float32[Array, ""]:
    """A uniform random number in [``low``, ``high``]."""
    return jax.random.uniform(key, (), jnp.float32, low, high)


def choice(key: Key[Array, ""], probabilities: tuple[float, ...]) -> Int32[Array, ""]:
    """A random index into ``probabilities``, each with its probability."""
    number = len(probabilities)
    return jax.random.choice(key, number, p=jnp.array(probabilities)).astype(jnp.int32)


def _draw_size(key: Key[Array, ""]) -> Int32[Array, ""]:
    return jnp.array(SIZES, jnp.int32)[jax.random.randint(key, (), 0, len(SIZES))]


def _gaussian(p: KernelParameters, y: KernelWeights, x: KernelWeights) -> KernelWeights:
    along = x * jnp.cos(p.theta) + y * jnp.sin(p.theta)
    across = y * jnp.cos(p.theta) - x * jnp.sin(p.theta)
    power = ((along / p.sigma_x) ** 2 + (across / p.sigma_y) ** 2) ** p.beta
    return jnp.where(jnp.asarray(PLATEAU)[p.shape], 1 / (1 + power), jnp.exp(-power / 2))


def _sinc(p: KernelParameters, y: KernelWeights, x: KernelWeights) -> KernelWeights:
    r = jnp.hypot(y, x)
    limit = p.cutoff**2 / (4 * math.pi)  # as r -> 0, J1(cutoff r) -> cutoff r / 2
    r_safe = jnp.where(r == 0, 1.0, r)
    wave = p.cutoff * bessel_j1(p.cutoff * r_safe) / (2 * math.pi * r_safe)
    return jnp.where(r == 0, limit, wave)
