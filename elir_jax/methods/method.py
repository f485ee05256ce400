"""What a method consists of, and what all of them share. Other rooms know a method by this type."""

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from elir_jax.data.pairs import Extra, no_extra
from elir_jax.fields import Config, choose
from elir_jax.inference.parts import Part, multiple_of
from elir_jax.training.step import Fold, Objective
from elir_jax.types import Params

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
PRECISIONS = {name: name for name in ("highest", "high", "default")}
ENCODER = "encoder"


@runtime_checkable
class Start(Protocol):
    """Gives the weights that the networks of a section of the configuration start from.

    ``init`` draws untrained parameters, by top-level name; the result has their names and shapes.
    """

    def __call__(self, section: str, init: Callable[[], Params]) -> Params: ...


def untrained(section: str, init: Callable[[], Params]) -> Params:
    """Start untrained, without reading a file; this is enough to get shapes."""
    return init()


def trained_encoder(start: Start, frozen: Params) -> Params:
    """``{"encoder": ...}`` to train, for a method whose ``frozen`` parameters hold another.

    ``config.encoder.weights`` names it; ``autoencoder`` is a copy of the frozen one. If the field
    is empty, it is the one that the estimator's weights were trained with, or a copy if they hold
    none.
    """
    return start(ENCODER, lambda: {ENCODER: jax.tree.map(jnp.copy, frozen[ENCODER])})


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
    # Averaged and frozen -> the autoencoder that a run leaves in a file of its own; None: no file
    autoencoder: Callable[[Params], Params] | None = None
    # Averaged and frozen -> (configuration, parameters) of another method that restores the same;
    # None: the method itself is what restores
    alone: Callable[[Params], tuple[dict, Params]] | None = None

    @property
    def multiple(self) -> int:
        """The number of pixels that must divide the sides of a picture."""
        return multiple_of(self.parts)


def dtype_of(config: Config) -> DTypeLike:
    """The type that the networks compute in. Raises UserError for another name."""
    return choose(DTYPES, "dtype", config.dtype)


def with_precision(config: Config, method: Method) -> Method:
    """The method with its objective and its parts traced at the precision of the configuration.

    ``highest`` is float32; ``high`` is TF32 on a GPU and three bfloat16 products on a TPU, as
    PyTorch's ``high``; ``default`` is the device's fastest, one bfloat16 product on a TPU. A CPU
    computes all three in float32. Raises UserError for another name.
    """
    precision = choose(PRECISIONS, "precision", config.precision)

    def at(fn: Callable) -> Callable:
        @functools.wraps(fn)
        def traced(*args, **kwargs):
            with jax.default_matmul_precision(precision):
                return fn(*args, **kwargs)

        return traced

    def part_at(part):
        return part._replace(apply=at(part.apply))

    return method._replace(
        objective=at(method.objective),
        parts=tuple(map(part_at, method.parts)),
        reconstruction=tuple(map(part_at, method.reconstruction)),
        target=None if method.target is None else part_at(method.target),
    )
