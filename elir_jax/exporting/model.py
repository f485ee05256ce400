"""The whole restorer as one ONNX graph: functions, the weights they share, and metadata.

``image`` (b, h, w, 3) and unit ``noise`` (b, h/8, w/8, c) -> ``restored`` (b, h, w, 3), all of them
float32; b, h and w are free unless a shape is fixed. The graph calls a function for each part, and
one for each Euler step. The names of the values between them are those of
``elir_jax.edge.layout``, by which a runner cuts out a part.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

from elir_jax.edge import layout
from elir_jax.exporting.body import DOMAIN, IMPORTS
from elir_jax.exporting.networks import Built
from elir_jax.exporting.storing import Weight, store
from elir_jax.networks.taesd import FACTOR

Axes = tuple[int | str, ...]  # batch, height and width: numbers, or names of what is free
IR_VERSION = 8  # the first with functions; runtimes since 2022 read it


class Flow(NamedTuple):
    """How the graph solves the flow: M steps, and the noise before the first."""

    steps: int
    sigma_s: float
    noise: bool


class Functions(NamedTuple):
    """The functions of the four networks."""

    encode: Built
    estimate: Built
    flow_step: Built
    decode: Built


def build_model(
    functions: Functions,
    flow: Flow,
    channels: int,
    form: str,
    description: Mapping[str, Any],
    shape: tuple[int, int, int] | None = None,
) -> ModelProto:
    """The model in one of :data:`elir_jax.exporting.storing.FORMATS`.

    ``description`` becomes the metadata, with the digests of the weights. ``shape`` fixes batch,
    height and width. Raises ValueError if a weight does not fit the format.
    """
    pixels: Axes = shape or layout.IMAGE_AXES
    latents = (shape[0], *(n // FACTOR for n in shape[1:])) if shape else layout.LATENT_AXES
    weights = _weights(functions, form)
    nodes = [node for weight in weights.values() for node in weight.nodes]
    tensors = {name: a for weight in weights.values() for name, a in weight.tensors.items()}
    digests = layout.digests(tensors)
    constants, calls = _calls(functions, flow)
    found = tensors | constants
    graph = helper.make_graph(
        [*nodes, *calls],
        "restore",
        [_value(layout.IMAGE, pixels, 3), _value(layout.NOISE, latents, channels)],
        [_value(layout.RESTORED, pixels, 3)],
        [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in found.items()],
        value_info=_between(flow, latents, channels),
    )
    model = helper.make_model(
        graph, opset_imports=IMPORTS, functions=[built[0] for built in functions],
        ir_version=IR_VERSION, producer_name=DOMAIN,
    )  # fmt: skip
    whole = dict(description) | {"format": form, "weights": digests}
    whole["digest"] = layout.digest_of(digests)
    helper.set_model_props(model, {layout.METADATA: json.dumps(whole)})
    checker.check_model(model)
    return model


def _weights(functions: Functions, form: str) -> dict[str, Weight]:
    return {
        name: store(name, array, form)
        for part, built in zip(layout.NETWORKS, functions, strict=True)
        for path, array in built[1].items()
        for name in [f"{part}/{path}"]
    }


def _calls(functions: Functions, flow: Flow):
    """(small constants, the calls of the functions)."""
    step = np.float32(1) / np.float32(flow.steps)
    constants = {layout.STEP: np.array([step]), layout.SIGMA: np.array(flow.sigma_s, np.float32)}
    constants |= {layout.time(m): np.array([m / flow.steps], np.float32) for m in range(flow.steps)}

    def call(number: int, inputs: list[str], output: str, name: str):
        function, weights = functions[number]
        inputs = inputs + [f"{layout.NETWORKS[number]}/{path}" for path in weights]
        return helper.make_node(function.name, inputs, [output], name=name, domain=DOMAIN)

    source = (
        [
            helper.make_node("Mul", [layout.NOISE, layout.SIGMA], ["scaled_noise"], "scale_noise"),
            helper.make_node("Add", [layout.MEAN, "scaled_noise"], [layout.state(0)], "source"),
        ]
        if flow.noise
        else [helper.make_node("Identity", [layout.MEAN], [layout.state(0)], "source")]
    )
    calls = [
        call(0, [layout.IMAGE], layout.LATENT, "encode"),
        call(1, [layout.LATENT], layout.MEAN, "posterior_mean"),
        *source,
        *(
            call(2, [layout.state(m), layout.time(m), layout.STEP], layout.state(m + 1),
                 f"flow_step_{m + 1}")
            for m in range(flow.steps)
        ),
        call(3, [layout.state(flow.steps)], layout.RESTORED, "decode"),
    ]  # fmt: skip
    return constants, calls


def _between(flow: Flow, axes: Axes, channels: int) -> list[ValueInfoProto]:
    """The types of the values at which a part may be cut out."""
    names = [layout.LATENT, layout.MEAN, *map(layout.state, range(flow.steps + 1))]
    scalars = [layout.STEP, layout.time(0)]
    return [
        *(_value(name, axes, channels) for name in names),
        *(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in scalars),
    ]


def _value(name: str, axes: Axes, channels: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [*axes, channels])
