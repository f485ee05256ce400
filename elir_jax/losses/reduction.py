"""Mean errors that refuse silent broadcasting."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.types import Scalar

FLOOR = 1 / 255  # a grey level: keeps the root's gradient bounded


def squared_error_per_sample(
    a: Float[Array, "b h w c"], b: Float[Array, "b2 h2 w2 c2"]
) -> Float[Array, " b"]:
    """Mean over each sample of the squared difference. Raises ValueError if shapes differ."""
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    return jnp.mean(jnp.square(a - b), axis=(1, 2, 3))


def mean_squared_error(a: Float[Array, "b h w c"], b: Float[Array, "b2 h2 w2 c2"]) -> Scalar:
    """Mean over all elements of the squared difference."""
    return jnp.mean(squared_error_per_sample(a, b))


def mean_absolute_error(a: Float[Array, "b h w c"], b: Float[Array, "b2 h2 w2 c2"]) -> Scalar:
    """Mean over all elements of the absolute difference. Raises ValueError if shapes differ."""
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    return jnp.mean(jnp.abs(a - b))


def mean_root_squared_error(a: Float[Array, "b h w c"], b: Float[Array, "b2 h2 w2 c2"]) -> Scalar:
    """Mean over the samples of the root of their mean squared difference, at least ``FLOOR``.

    A mean of squares is dominated by the samples that are degraded most; this one weighs each by
    its own error. Raises ValueError if shapes differ.
    """
    return jnp.mean(jnp.sqrt(squared_error_per_sample(a, b) + FLOOR**2))
