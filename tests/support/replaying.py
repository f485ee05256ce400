"""Generators that tell a host degradation what to draw, or write down what it drew."""

import numpy as np


class Replay(np.random.Generator):
    """Gives ``values`` in the order in which they are asked for, and noise made elsewhere.

    ``normal``: for each call, an array whose corner is given; ``poisson``: for each call, a
    function of the expected numbers.
    """

    def __init__(self, values=(), normal=(), poisson=()):
        super().__init__(np.random.PCG64(0))
        self.values, self.normal, self.poissons = list(values), list(normal), list(poisson)

    def _next(self, *arguments, **options):
        return self.values.pop(0)

    random = uniform = integers = choice = permutation = _next

    def standard_normal(self, shape, dtype):
        return np.asarray(self.normal.pop(0))[tuple(slice(n) for n in shape)].astype(dtype)

    def poisson(self, expected):
        return self.poissons.pop(0)(expected)

    def finished(self):
        return not self.values and not self.normal and not self.poissons


class Record(np.random.Generator):
    """Draws as any generator, and keeps the results of ``uniform`` and ``integers`` in order."""

    def __init__(self, seed):
        super().__init__(np.random.PCG64(seed))
        self.drawn = []

    def uniform(self, *arguments):
        return self._kept(super().uniform(*arguments))

    def integers(self, *arguments):
        return self._kept(super().integers(*arguments))

    def _kept(self, value):
        self.drawn.append(value)
        return value
