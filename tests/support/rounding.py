"""How far two runs come apart that add the same numbers in another order.

Over another number of devices the same terms are summed in other groups: in the weight gradients
and in the losses over the batch, and in the all-reduce, whose order even depends on which thread
comes first. Rounding errors are random, so those of a sum of n terms grow as the root of n (Higham
and Mary, 2019); n is at most the number of values in a batch.

What an optimizer makes of that depends on its division. AdamW moves a parameter by
``lr m / (sqrt(v) + eps)``. Where eps is far below the gradients, an entry that is nothing but
rounding is divided by itself: its sign alone decides, and parameters come apart by two whole steps.
So the runs that are compared have an eps that is large. Then a gradient that is off by d moves the
parameters by at most ``2 lr d / eps`` (m and sqrt(v) are both off by d at most), each step adds as
much again, and a loss changes by that times its gradient. A large eps also shows a gradient that is
twice as large as it should be, which AdamW otherwise hides.
"""

import math

import jax
import numpy as np

UNIT = 2.0**-24  # largest relative error of one float32 operation


def reordered(terms: int) -> float:
    """Relative error of a sum of so many terms, summed in another order."""
    return math.sqrt(terms) * UNIT


def parameters_apart(steps, rate, eps, gradient_norm, error):
    """Norm of what parameters may differ by; ``error`` is that of a gradient, of its norm."""
    return steps * 2 * rate / eps * error * gradient_norm


def norm_of_difference(a, b):
    """Of two trees."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    squares = [np.sum((np.float64(x) - np.float64(y)) ** 2) for x, y in leaves]
    return math.sqrt(sum(squares))


def first_moments(state):
    """Adam's, by the parameters' names: after one step a tenth of the gradient."""
    return {name: adam.mu for name, (adam, *_) in state.opt_state.adam.items()}
