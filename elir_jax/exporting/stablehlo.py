"""A restorer as StableHLO programs, which any later JAX runs without this package.

The file is a zip archive: ``about.json``, the weights as ``weights.npz``, and the whole and each
part as ``NAME.jax`` (``jax.export.deserialize``) and as ``NAME.mlirbc`` (portable StableHLO, for
XLA and IREE). Programs take the weights as a list, in the order of ``weights.npz``, so that all
share one copy; then their input; then the output of an earlier part, if they take it; then, if they
draw, unit noise in the shape of that input. The whole takes an image and the noise. Height, width
and batch are free unless a shape is fixed.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from elir_jax.inference.parts import Part, Window, multiple_of
from elir_jax.types import Params

PLATFORMS = ("cpu", "cuda", "tpu")
Shape = jax.ShapeDtypeStruct
Weights = tuple[Params, Params]


class Program(NamedTuple):
    """A function of (weights, inputs) and the shapes of its inputs."""

    name: str
    apply: Callable
    inputs: tuple[Shape, ...]


def archive(
    parts: Sequence[Part],
    weights: Weights,
    about: Mapping[str, Any],
    shape: tuple[int, int, int] | None,
) -> bytes:
    """The file; ``shape`` fixes batch, height and width."""
    leaves, tree = jax.tree.flatten(weights)
    names = [jax.tree_util.keystr(path, simple=True, separator="/")
             for path, _ in jax.tree_util.tree_leaves_with_path(weights)]  # fmt: skip
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        arrays = io.BytesIO()
        found = dict(zip(names, map(np.asarray, leaves), strict=True))
        np.savez(arrays, allow_pickle=False, **found)
        file.writestr("weights.npz", arrays.getvalue())
        programs = _programs(parts, weights, shape)
        for program in programs:
            exported = _exported(program, tree, leaves)
            file.writestr(f"{program.name}.jax", bytes(exported.serialize()))
            file.writestr(f"{program.name}.mlirbc", exported.mlir_module_serialized)
        described = dict(about) | {"format": "stablehlo", "jax": jax.__version__, "shape": shape,
                                   "programs": [program.name for program in programs]}  # fmt: skip
        file.writestr("about.json", json.dumps(described, indent=1))
    return content.getvalue()


def _exported(program: Program, tree, leaves) -> export.Exported:
    def call(leaves, *inputs):
        return program.apply(jax.tree.unflatten(tree, leaves), *inputs)

    like = [Shape(leaf.shape, leaf.dtype) for leaf in leaves]
    return export.export(jax.jit(call), platforms=PLATFORMS)(like, *program.inputs)


def _programs(parts: Sequence[Part], weights: Weights, shape) -> list[Program]:
    """The parts, each on the output of the one before, then the whole."""
    image = Shape((*_sides(parts, shape), 3), jnp.float32)
    like = jax.tree.map(lambda leaf: Shape(leaf.shape, leaf.dtype), weights)
    found, x, drawn, made = [], image, (), {}
    for part in parts:
        inputs = (x, *([made[part.also]] if part.also else []), *([x] if part.noisy else []))
        drawn = drawn or ((x,) if part.noisy else ())
        found.append(Program(part.name, _apply(part), inputs))
        result = jax.eval_shape(_apply(part), like, *inputs)
        x = made[part.name] = Shape(result.shape, result.dtype)

    def restore(weights, x, *eps):
        outputs = {}
        for part in parts:
            also = [outputs[part.also]] if part.also else []
            x = _apply(part)(weights, x, *also, *(eps if part.noisy else ()))
            outputs[part.name] = x
        return x

    return [*found, Program("restore", restore, (image, *drawn))]


def _apply(part: Part) -> Callable:
    def apply(weights, x, *others):
        eps = others[-1] if part.noisy else None
        return part.apply(*weights, (x, others[0]) if part.also else x, eps)[-1]

    return apply


def _sides(parts: Sequence[Part], shape) -> tuple:
    """Batch, height and width of the image: fixed, the size of windows, or free."""
    if shape is not None:
        return shape
    at, sizes = Fraction(1), set()
    for part in parts:
        if isinstance(part.reach, Window):
            sizes.add(int(part.reach.size / at))
        at *= part.scale
    if sizes:
        return (*export.symbolic_shape("batch"), max(sizes), max(sizes))
    multiple = multiple_of(parts)
    return export.symbolic_shape(f"batch, {multiple}*rows, {multiple}*columns")
