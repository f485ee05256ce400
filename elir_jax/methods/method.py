"""What one way of training and restoring is made of; other rooms know methods by this alone."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import jax

from elir_jax.data.pairs import Extra, no_extra
from elir_jax.inference.parts import Part, multiple_of
from elir_jax.training.step import Fold, Objective
from elir_jax.types import Params


@runtime_checkable
class Start(Protocol):
    """What the networks of a section of the configuration start from.

    ``init`` draws untrained parameters, by top-level name; the result has their names and shapes.
    """

    def __call__(self, section: str, init: Callable[[], Params]) -> Params: ...


def untrained(section: str, init: Callable[[], Params]) -> Params:
    """No file is read; enough for shapes."""
    return init()


def as_trained(params: Params, frozen: Params) -> Params:
    """Nothing is folded: training and restoring compute with the trained parameters."""
    return params


class Method(NamedTuple):
    """What distinguishes one way of training and restoring from another."""

    init: Callable[[jax.Array, Start], tuple[Params, Params]]  # (trained, frozen) parameters
    objective: Objective  # of ``fold(params, frozen)``
    parts: tuple[Part, ...]  # of the restoration, in order
    fold: Fold = as_trained
    for_inference: Fold = as_trained  # (trained, frozen) -> those that the parts compute with
    target: Part | None = None  # original -> where the flow should end; None if nothing flows
    extra: Extra = no_extra  # what training data bring besides the pair
    shows_input: bool = True  # whether the degraded picture differs from the original
    export: Callable[[Params, Path], list[Path]] = lambda params, workdir: []  # averaged weights

    @property
    def multiple(self) -> int:
        """What must divide the sides of a picture, in pixels."""
        return multiple_of(self.parts)
