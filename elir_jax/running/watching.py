"""What a training's figures are worth a word about: leaving their running range."""

import math
from collections.abc import Mapping

WATCHED = ("loss", "grad_norm")
MEMORY = 100  # steps over which the range is averaged
LEAST = 50  # steps before anything is said
FAR = 6.0  # standard deviations of the logarithm
FACTOR = 2.0  # besides: a steady figure's deviation is next to nothing


class Watch:
    """Warns if the loss or the gradient's norm rises far above its running range.

    The range is a mean and a standard deviation of the logarithm, averaged over some hundred steps.
    A figure outside it does not widen it. After a warning, a figure is not named again for as many
    steps. Nothing is kept over a restart.
    """

    def __init__(self) -> None:
        self._ranges: dict[str, _Range] = {}

    def look(self, step: int, values: Mapping[str, float]) -> list[str]:
        """Record the figures of a step; a line for each that is out of its range."""
        said = []
        for name in WATCHED:
            value = values.get(name, 0.0)
            if not 0 < value < math.inf:
                continue
            usual = self._ranges.setdefault(name, _Range()).add(step, value)
            if usual is not None:
                said.append(f"step {step}: {name} is {value:.4g}, usually below {usual:.4g}")
        return said


class _Range:
    def __init__(self) -> None:
        self.count, self.mean, self.variance, self.said = 0, 0.0, 0.0, -MEMORY

    def add(self, step: int, value: float) -> float | None:
        """The end of the range, if the value lies above it and this is worth a warning."""
        x = math.log(value)
        end = self.mean + max(FAR * math.sqrt(self.variance), math.log(FACTOR))
        if self.count >= LEAST and x > end:
            if step - self.said < MEMORY:
                return None
            self.said = step
            return math.exp(end)
        self.count += 1
        share = 1 / min(self.count, MEMORY)
        off = x - self.mean
        self.mean += share * off
        self.variance = (1 - share) * (self.variance + share * off * off)
        return None
