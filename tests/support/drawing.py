"""Generators, and what their draws must obey, for the tests of degradations."""

import numpy as np


def rng(seed=0):
    return np.random.default_rng(seed)


def within_four_errors(counts, probabilities):
    """Counts of a multinomial, each within four standard errors of its expectation."""
    p, n = np.asarray(probabilities), sum(counts)
    return np.all(np.abs(np.asarray(counts) / n - p) <= 4 * np.sqrt(p * (1 - p) / n))
