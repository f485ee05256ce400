"""How a file stores its weights: as float32, as float16, or as 8-bit integers with scales.

8-bit kernels are symmetric, ``w = scale * q`` with ``q`` in [-127, 127] and one scale for each
output channel. The graph itself makes floats of them, by a cast and a product, which runtimes
compute once at the start. Biases and the parameters of normalisations stay float32.
"""

from typing import NamedTuple

import numpy as np
from onnx import NodeProto, TensorProto, helper

FORMATS = ("float32", "float16", "int8")
SCALE, STORED = ".scale", ".int8"  # endings of the names of a kernel's scales and integers
LEVELS = 127


class Weight(NamedTuple):
    """One weight of the file."""

    tensors: dict[str, np.ndarray]  # name -> what is stored
    nodes: tuple[NodeProto, ...] = ()  # that make the weight of it


def store(name: str, array: np.ndarray, form: str) -> Weight:
    """The weight ``name`` in one of ``FORMATS``. Raises ValueError if it does not fit float16."""
    array = np.ascontiguousarray(array, np.float32)
    if form == "float16":
        with np.errstate(over="ignore"):  # told below
            half = array.astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(f"{name} does not fit 16-bit floats")
        return Weight({name: half})
    axis = output_axis(name, array)
    if form == "float32" or axis is None:
        return Weight({name: array})
    scale, levels = quantize(array, axis)
    nodes = (
        helper.make_node("Cast", [name + STORED], [f"{name}.cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.cast", name + SCALE], [name]),
    )
    return Weight({name + STORED: levels, name + SCALE: scale}, nodes)


def output_axis(name: str, array: np.ndarray) -> int | None:
    """The axis of a kernel's output channels; None for what is no kernel."""
    if not name.endswith("/kernel"):
        return None
    transposed = "/upsample" in name  # ONNX's transposed convolutions are IOHW
    return 1 if array.ndim == 2 or transposed else 0


def quantize(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """(scales in the shape that multiplies, int8 levels) of a kernel."""
    others = tuple(i for i in range(array.ndim) if i != axis)
    largest = np.abs(array).max(others, keepdims=True)
    scale = np.where(largest > 0, largest / LEVELS, 1).astype(np.float32)
    return scale, np.round(array / scale).astype(np.int8)
