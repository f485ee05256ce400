"""What ``train.py --compile-for TOPOLOGY`` and ``benchmarks/tpu.py`` compile."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from elir_jax.compose import build_method, build_step, inference_shapes, untrained_shapes
from elir_jax.devices.topologies import (
    Compiled,
    chip_of,
    chips_in,
    compile_alone_for,
    compile_for,
)
from elir_jax.errors import UserError
from elir_jax.inference.whole_pictures import WholePictures, segments
from elir_jax.methods.method import Method
from elir_jax.networks.target import tracing_for
from elir_jax.training.state import create_state
from elir_jax.types import Batch


class Program(NamedTuple):
    """One of a restorer's programs."""

    name: str  # its parts
    calls: int  # for all pictures of a chip
    compiled: Compiled  # of one call


def compile_step_for(topology: str, config: ConfigDict, per_chip: int) -> Compiled:
    """The train step of a configuration, with ``per_chip`` pairs on each chip. Raises UserError."""
    chip_of(topology)
    method = build_method(config)
    optimizer, step = build_step(config, method)
    state = jax.eval_shape(
        lambda *trees: create_state(*trees, optimizer), *untrained_shapes(method)
    )
    size = config.data.size
    levels, image = (
        jax.ShapeDtypeStruct((per_chip, size, size, 3), dtype) for dtype in (jnp.uint8, jnp.float32)
    )
    number = jax.ShapeDtypeStruct((per_chip,), jnp.int32)
    return compile_for(topology, step, state, Batch(levels, image, number, number))


def compile_restorer_for(topology: str, config: ConfigDict, per_chip: int) -> list[Program]:
    """The programs that restore ``per_chip`` pictures of the training's size on each chip.

    Raises UserError.
    """
    chip_of(topology)
    with tracing_for("tpu"):
        method = build_method(config)
        noted = _noted(method, per_chip, config.data.size)
    return [
        Program(
            " + ".join(part.name for part in segment),
            calls,
            compile_alone_for(topology, program, given),
        )
        for segment, (program, given, calls) in zip(segments(method.parts), noted, strict=True)
    ]


def _noted(method: Method, pictures: int, size: int) -> list[list[Any]]:
    """[program, shapes of its arguments, number of calls], in order: nothing is run."""
    noted: list[list[Any]] = []

    def mapped(program):
        one = [program, None, 0]
        noted.append(one)

        def call(*given):
            one[1:] = jax.eval_shape(lambda *trees: trees, *given), one[2] + 1
            out = jax.eval_shape(program, *given)
            return np.zeros(out.shape, out.dtype)

        return call

    def draw(seed, image, shape):
        return np.zeros(shape, np.float32)

    images = [np.zeros((size, size, 3), np.float32)] * pictures
    restorer = WholePictures(method.parts, mapped, 1, draw)
    restorer.restore(inference_shapes(method), images, seed=0, batch=pictures)
    return noted


def share(topology: str, batch_size: int) -> int:
    """How many pairs of a global batch a chip gets. Raises UserError if they do not divide it."""
    chips = chips_in(topology)
    if batch_size % chips:
        raise UserError(
            f"--config.batch_size={batch_size}: must be a multiple of the {chips} chips of "
            f"{topology}"
        )
    return batch_size // chips
