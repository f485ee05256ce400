"""Poisson numbers as a function of standard normal ones: no loop whose length is drawn.

A number is the inverse of Poisson's distribution function at the normal number's own probability.
Small means sum that function up. Large ones take its expansion in 1/sqrt(mean) to the order 1/mean
(M. B. Giles, Algorithm 955, ACM Transactions on Mathematical Software 42(1), 2016). Probabilities
of single numbers are wrong by less than 5e-4 in all.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

Numbers = Float32[Array, "*shape"]
LARGE = 8.0  # the least mean that is expanded
TERMS = 28  # of the sum; the next number has the probability 6e-8 at ``LARGE``


def poisson(z: Numbers, mean: Numbers) -> Numbers:
    """Whole numbers of Poisson's distribution with each ``mean`` >= 0, rising with normal ``z``."""
    return jnp.where(mean < LARGE, _summed(z, mean), _expanded(z, jnp.maximum(mean, LARGE)))


def _summed(z: Numbers, mean: Numbers) -> Numbers:
    share = jax.scipy.special.ndtr(z)
    mass = below = jnp.exp(-mean)
    number = (share > below).astype(jnp.float32)
    for k in range(1, TERMS):
        mass = mass * mean / k
        below = below + mass
        number = number + (share > below)
    return number


def _expanded(z: Numbers, mean: Numbers) -> Numbers:
    root, square = jnp.sqrt(mean), z * z
    place = mean + root * z + (2 + square) / 6
    place = place - z * (2 + square) / (72 * root)
    place = place + (square * (9 * square + 21) - 48) / (2430 * mean)
    return jnp.maximum(jnp.floor(place), 0)
