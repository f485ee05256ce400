"""The body of an ONNX function: nodes in order, and the weights that it takes as inputs.

A function cannot hold weights, so each weight is an input of the function, under its path in our
parameter tree. Whoever calls the function passes the file's initializers. So several calls share
one copy, as the Euler steps of a flow do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import FunctionProto, NodeProto, helper, numpy_helper

OPSET = 17  # of ONNX's own operations; functions need IR version 8
DOMAIN = "elir_jax"  # of our functions
IMPORTS = (helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1))


class Body:
    """Collects the nodes of one function. Values are named by number, in order."""

    def __init__(self, name: str, inputs: Sequence[str]):
        self.name, self.inputs = name, tuple(inputs)
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}  # path -> in ONNX's layout
        self._constants: dict[tuple, str] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """A small constant, each only once."""
        array = np.asarray(value, dtype)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            self._constants[key] = self.op("Constant", value=numpy_helper.from_array(array))
        return self._constants[key]

    def weight(self, path: str, array: np.ndarray) -> str:
        """The name of a weight, which becomes an input of the function."""
        self.weights[path] = array
        return path

    def function(self, output: str) -> FunctionProto:
        """The function, whose result is the value ``output``."""
        nodes = [*self.nodes, helper.make_node("Identity", [output], ["result"])]
        inputs = [*self.inputs, *self.weights]
        return helper.make_function(DOMAIN, self.name, inputs, ["result"], nodes, IMPORTS)
