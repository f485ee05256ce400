"""The whole restorer as one ONNX graph: functions, the weights they share, and metadata.

``image`` (b, h, w, 3) and unit ``noise`` (b, h/8, w/8, c) -> ``restored`` (b, h, w, 3), all of them
float32; b, h and w are free unless a shape is fixed. The graph calls a function for each network,
and one for each Euler step. The names of the values between them are those of
``elir_jax.edge.layout``; the metadata of each part say between which values a runner cuts it out.
If there is no flow, there is no ``noise``.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

from elir_jax.edge import layout
from elir_jax.exporting.body import DOMAIN, IMPORTS
from elir_jax.exporting.networks import Built
from elir_jax.exporting.storing import Weight, store
from elir_jax.networks.taesd import FACTOR

Axes = tuple[int | str, ...]  # batch, height and width: numbers, or names of what is free
IR_VERSION = 8  # the first with functions; runtimes since 2022 read it


class Flow(NamedTuple):
    """How the graph solves the flow: M steps, the noise before the first, and the fidelity."""

    steps: int
    sigma_s: float
    noise: bool
    fidelity: float = 1.0


class Functions(NamedTuple):
    """The functions of the networks; ``in_pixels``: the estimator sees and gives pixels."""

    encode: Built
    estimate: Built
    flow_step: Built
    decode: Built
    in_pixels: bool = False


class Cut(NamedTuple):
    """A part of the graph: the values that lead into it, and the one that it gives."""

    inputs: tuple[str, ...]
    output: str


class Plan(NamedTuple):
    """The nodes of the graph in order, its networks, and its parts by name."""

    nodes: list[NodeProto]
    used: tuple[int, ...]  # the networks, as places in ``Functions``
    cuts: dict[str, Cut]


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
    plan = _plan(functions, flow)
    weights = _weights(functions, plan.used, form)
    nodes = [node for weight in weights.values() for node in weight.nodes]
    tensors = {name: a for weight in weights.values() for name, a in weight.tensors.items()}
    digests = layout.digests(tensors)
    found = tensors | _constants(flow)
    noise = [_value(layout.NOISE, latents, channels)] if flow.fidelity else []
    graph = helper.make_graph(
        [*nodes, *plan.nodes],
        "restore",
        [_value(layout.IMAGE, pixels, 3), *noise],
        [_value(layout.RESTORED, pixels, 3)],
        [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in found.items()],
        value_info=_between(plan, pixels, latents, channels),
    )
    model = helper.make_model(
        graph, opset_imports=IMPORTS, functions=[functions[n][0] for n in plan.used],
        ir_version=IR_VERSION, producer_name=DOMAIN,
    )  # fmt: skip
    parts = [part | plan.cuts[part["name"]]._asdict() for part in description.get("parts", ())]
    whole = dict(description) | {"format": form, "weights": digests, "parts": parts}
    whole["digest"] = layout.digest_of(digests)
    helper.set_model_props(model, {layout.METADATA: json.dumps(whole)})
    checker.check_model(model)
    return model


def _weights(functions: Functions, used: tuple[int, ...], form: str) -> dict[str, Weight]:
    return {
        name: store(name, array, form)
        for number in used
        for path, array in functions[number][1].items()
        for name in [f"{layout.NETWORKS[number]}/{path}"]
    }


def _constants(flow: Flow) -> dict[str, np.ndarray]:
    step = np.float32(1) / np.float32(flow.steps)
    constants = {layout.STEP: np.array([step]), layout.SIGMA: np.array(flow.sigma_s, np.float32)}
    constants[layout.FIDELITY] = np.array([flow.fidelity], np.float32)
    return constants | {
        layout.time(m): np.array([m / flow.steps], np.float32) for m in range(flow.steps)
    }


class _Graph:
    """Collects the nodes of Algorithm 1 and the cuts of its parts."""

    def __init__(self, functions: Functions, flow: Flow):
        self.functions, self.flow = functions, flow
        self.nodes: list[NodeProto] = []
        self.cuts: dict[str, Cut] = {}
        self.end = layout.state(flow.steps)

    def call(self, number: int, inputs: list[str], output: str, name: str) -> str:
        """Call a network's function with its weights."""
        function, weights = self.functions[number]
        inputs = inputs + [f"{layout.NETWORKS[number]}/{path}" for path in weights]
        node = helper.make_node(function.name, inputs, [output], name=name, domain=DOMAIN)
        self.nodes.append(node)
        return output

    def op(self, kind: str, inputs: list[str], output: str) -> str:
        """One of ONNX's own operations."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output))
        return output

    def part(self, name: str, number: int, source: str, output: str) -> None:
        """A part that is one network."""
        self.cuts[name] = Cut((source,), self.call(number, [source], output, name))

    def flow_from(self, mean: str) -> None:
        """The source noise and the Euler steps."""
        if self.flow.noise:
            scaled = self.op("Mul", [layout.NOISE, layout.SIGMA], "scaled_noise")
            self.op("Add", [mean, scaled], layout.state(0))
        else:
            self.op("Identity", [mean], layout.state(0))
        for m in range(self.flow.steps):
            inputs = [layout.state(m), layout.time(m), layout.STEP]
            self.call(2, inputs, layout.state(m + 1), f"flow_step_{m + 1}")
        inputs = layout.state(0), layout.time(0), layout.STEP
        self.cuts["flow"] = Cut(inputs, layout.state(1))

    def decode_change(self, start: str) -> str:
        """What the flow from ``start`` changes in the picture, times the fidelity."""
        ends = [self.call(3, [z], f"decoded_{z}", f"decode_{z}") for z in (self.end, start)]
        change = self.op("Sub", ends, "whole_change")
        return self.op("Mul", [change, layout.FIDELITY], layout.CHANGE)


def _plan(functions: Functions, flow: Flow) -> Plan:
    """The graph of Algorithm 1, with the estimator's place and the fidelity."""
    graph = _Graph(functions, flow)
    used = (_of_pixels if functions.in_pixels else _of_latents)(graph)
    return Plan(graph.nodes, used, graph.cuts)


def _of_pixels(graph: _Graph) -> tuple[int, ...]:
    """The estimator sees and gives pixels; returns the networks that are used."""
    if not graph.flow.fidelity:
        graph.part("posterior_mean", 1, layout.IMAGE, layout.RESTORED)
        return (1,)
    graph.part("posterior_mean", 1, layout.IMAGE, layout.MEAN_IMAGE)
    graph.part("encode", 0, layout.MEAN_IMAGE, layout.LATENT)
    graph.flow_from(layout.LATENT)
    change = graph.decode_change(layout.LATENT)
    graph.cuts["decode"] = Cut((graph.end, layout.LATENT, layout.FIDELITY), change)
    ends = change, layout.MEAN_IMAGE
    graph.cuts["add"] = Cut(ends, graph.op("Add", list(ends), layout.RESTORED))
    return 0, 1, 2, 3


def _of_latents(graph: _Graph) -> tuple[int, ...]:
    """The estimator sees and gives latents; returns the networks that are used."""
    graph.part("encode", 0, layout.IMAGE, layout.LATENT)
    graph.part("posterior_mean", 1, layout.LATENT, layout.MEAN)
    if not graph.flow.fidelity:
        graph.part("decode", 3, layout.MEAN, layout.RESTORED)
        return 0, 1, 3
    graph.flow_from(layout.MEAN)
    if graph.flow.fidelity == 1:
        graph.part("decode", 3, graph.end, layout.RESTORED)
    else:
        change = graph.decode_change(layout.MEAN)
        restored = graph.op("Add", [change, f"decoded_{layout.MEAN}"], layout.RESTORED)
        graph.cuts["decode"] = Cut((graph.end, layout.MEAN, layout.FIDELITY), restored)
    return 0, 1, 2, 3


def _between(plan: Plan, pixels: Axes, latents: Axes, channels: int) -> list[ValueInfoProto]:
    """The types of the values at which a part may be cut out."""
    images = {layout.MEAN_IMAGE, layout.CHANGE}
    whole = {layout.IMAGE, layout.NOISE, layout.RESTORED}
    scalars = {layout.STEP, layout.FIDELITY, layout.time(0)}
    values = {name for cut in plan.cuts.values() for name in (*cut.inputs, cut.output)} - whole
    made = {name for node in plan.nodes for name in node.output if name.startswith("state_")}
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
        if name in scalars
        else _value(name, *((pixels, 3) if name in images else (latents, channels)))
        for name in sorted(values | made)
    ]


def _value(name: str, axes: Axes, channels: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [*axes, channels])
