"""What a method consists of. Other rooms know a method only by this type."""

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
    """Gives the weights that the networks of a section of the configuration start from.

    ``init`` draws untrained parameters, by top-level name; the result has their names and shapes.
    """

    def __call__(self, section: str, init: Callable[[], Params]) -> Params: ...


def untrained(section: str, init: Callable[[], Params]) -> Params:
    """Start untrained, without reading a file; this is enough to get shapes."""
    return init()


def as_trained(params: Params, frozen: Params) -> Params:
    """Fold nothing: training and restoring compute with the trained parameters themselves."""
    return params


class Method(NamedTuple):
    """One way of training and restoring."""

    init: Callable[[jax.Array, Start], tuple[Params, Params]]  # (trained, frozen) parameters
    objective: Objective  # of ``fold(params, frozen)``
    parts: tuple[Part, ...]  # of the restoration, in order
    fold: Fold = as_trained
    for_inference: Fold = as_trained  # (trained, frozen) -> those that the parts compute with
    target: Part | None = None  # original -> the flow's target; None if there is no flow
    extra: Extra = no_extra  # arrays of the training data besides the pair
    reconstruction: tuple[Part, ...] = ()  # original -> what the autoencoder makes of it, a stage
    shows_input: bool = True  # whether the degraded picture differs from the original
    export: Callable[[Params, Path], list[Path]] = lambda params, workdir: []  # averaged, frozen
    # Averaged and frozen -> (configuration, parameters) of another method that restores the same;
    # None: the method itself is what restores
    alone: Callable[[Params], tuple[dict, Params]] | None = None

    @property
    def multiple(self) -> int:
        """The number of pixels that must divide the sides of a picture."""
        return multiple_of(self.parts)
