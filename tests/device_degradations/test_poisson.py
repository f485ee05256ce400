"""Poisson numbers against scipy's probabilities and quantiles."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from elir_jax.device_degradations.poisson import LARGE, TERMS, poisson

MEANS = (0.0, 1e-3, 0.3, 1.0, 3.7, 7.9, 8.0, 9.5, 20.0, 64.0, 256.0)


def numbers(z, mean):
    return np.asarray(poisson(jnp.float32(z), jnp.full(len(z), mean, jnp.float32)))


@pytest.mark.parametrize("mean", MEANS)
def test_all_probabilities_together_are_wrong_by_less_than_5e_4(mean):
    """Half of the sum of all errors, by the share of finely and evenly spaced probabilities."""
    share = (np.arange(400_000) + 0.5) / 400_000
    found = np.bincount(numbers(special.ndtri(share), mean).astype(int), minlength=500) / len(share)
    assert np.abs(found - stats.poisson.pmf(np.arange(len(found)), mean)).sum() / 2 < 5e-4


@pytest.mark.parametrize("mean", MEANS)
def test_numbers_rise_with_the_normal_ones_and_are_quantiles(mean):
    z = np.linspace(-5, 5, 2001)
    found = numbers(z, mean)
    assert (np.diff(found) >= 0).all() and found[0] >= 0
    apart = np.abs(found - stats.poisson.ppf(special.ndtr(z), mean))
    assert apart.max() <= 1 and (apart > 0).mean() < 0.02


def test_the_sum_ends_where_nothing_is_left():
    assert stats.poisson.sf(TERMS - 1, LARGE) < 1e-7
