"""Weights that restore -> what an exported file holds: a method in plain form, and its ONNX model.

Plain form is that of one kernel for each convolution, whatever the machine that exports.
"""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

import elir_jax
from elir_jax.compose import build_method, for_inference
from elir_jax.compose.finding import find_weights, titled
from elir_jax.compose.restoration import changed_config, naming_fields
from elir_jax.edge.layout import VERSION
from elir_jax.errors import UserError
from elir_jax.fields import plain
from elir_jax.inference.parts import Part
from elir_jax.methods.elir import build_elir, build_sampler, in_pixels, latent_networks
from elir_jax.methods.method import Method, with_precision
from elir_jax.types import Params

PRIVATE = ("data", "training_images")  # sections that name folders of the machine that trained


class Exportable(NamedTuple):
    """A method in plain form, computing in float32, with its weights."""

    title: str
    config: ConfigDict
    method: Method
    params: Params
    frozen: Params


def exportable(
    path: Path, config: ConfigDict | None = None, changes: dict[str, Any] | None = None
) -> Exportable:
    """What :func:`elir_jax.compose.finding.find_weights` finds, in plain form.

    ``changes`` are fields by name. Raises UserError.
    """
    found = find_weights(path, config)
    chosen = changed_config(found.config, found.changes | (changes or {}) | {"dtype": "float32"})
    with naming_fields():
        if chosen.method == "elir":
            method = with_precision(chosen, build_elir(chosen, form="plain"))
        else:
            method = build_method(chosen)
    weights = for_inference(method, found.given, found.place)
    return Exportable(found.title, chosen, method, *weights)


def describe(found: Exportable, source: str, licence: str) -> dict[str, Any]:
    """The metadata of a file: all that a runner needs to know, and where the weights are from."""
    config = {name: value for name, value in plain(found.config).items() if name not in PRIVATE}
    return {
        "version": VERSION,
        "elir_jax": elir_jax.__version__,
        "source": source,
        "title": titled(found.config.method, found.title),
        "licence": licence,
        "seed": found.config.seed,
        "multiple": found.method.multiple,
        "parts": [_described(part) for part in found.method.parts],
        "config": config,
    }


def _described(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "reach": type(part.reach).__name__,
        "sizes": part.reach._asdict(),
        "scale": str(part.scale),
        "noisy": part.noisy,
        "shows": part.shows,
        "through": part.through,
        "also": part.also,
    }


def require_onnx() -> None:
    """Raise UserError unless the package onnx is installed."""
    if importlib.util.find_spec("onnx") is None:
        raise UserError(
            "onnx is not installed; pip install -r requirements-edge.txt, or the package's extra: "
            "elir_jax[edge]"
        )


def onnx_model(found: Exportable, form: str, description: dict[str, Any]):
    """The ONNX model in one of ``elir_jax.exporting.storing.FORMATS``. Raises UserError.

    Only ELIR's networks have an ONNX form.
    """
    require_onnx()
    from elir_jax.exporting import networks
    from elir_jax.exporting.model import Flow, Functions, build_model

    config = found.config
    if config.method != "elir":
        raise UserError(
            f"{config.method}: only networks of the method elir can be written as ONNX; "
            f"--format stablehlo writes those of every method"
        )
    estimator, velocity = latent_networks(config, np.float32)
    sampler, half = build_sampler(config), form == "float16"
    weights = found.frozen | found.params
    estimate = networks.pixel_unet if in_pixels(config) else networks.estimator
    functions = Functions(
        networks.encoder(weights["encoder"], half),
        estimate(estimator, weights["estimator"], half),
        networks.flow_step(velocity, weights["velocity"], half),
        networks.decoder(weights["decoder"], half),
        in_pixels(config),
    )
    flow = Flow(sampler.num_steps, sampler.sigma_s, sampler.noise, sampler.fidelity)
    channels = config.autoencoder.latent_channels
    described = description | {"flow": flow._asdict()}
    try:
        return build_model(functions, flow, channels, form, described, description.get("shape"))
    except ValueError as error:
        raise UserError(f"{found.title}: {error}; export it as float32") from error
