"""A small ELIR with random weights: as a folder, and exported as ONNX in each format.

``kind`` is where its estimator works and the fidelity: "latents", "latents 0.5", "pixels 0.5", ...
"""

import functools
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from elir_jax.commands.exporting import content_of
from elir_jax.compose import METHODS
from elir_jax.compose.exporting import describe, exportable
from elir_jax.configurations import read_config
from elir_jax.edge.file import Exported
from elir_jax.methods.method import untrained
from elir_jax.networks.layers import collapse
from elir_jax.weights.own import write_weights

# Test modules import this one before onnx.
pytest.importorskip("onnx", reason="requirements-edge.txt is not installed")
pytest.importorskip("onnxruntime", reason="requirements-edge.txt is not installed")


LATENTS = "latents 1"
KINDS = (LATENTS, "latents 0.5", "latents 0", "pixels 1", "pixels 0")


@functools.cache
def config(kind: str = LATENTS):
    """The tiny configuration with a U-Net of two scales."""
    found = read_config("configs/quickstart.py:tiny")
    found.velocity.channel_multipliers = (1, 2)
    found.sampler.num_steps = 2
    space, fidelity = kind.split()
    found.sampler.fidelity = float(fidelity)
    if space == "pixels":
        sizes = {"kind": "pixel_unet", "weights": "", "widths": (4, 6, 8), "blocks": (1, 1, 1)}
        with found.unlocked():
            found.estimator = ConfigDict(sizes)
        found.autoencoder.trainable_encoder = False
    return found


def folder(kind: str = LATENTS) -> Path:
    """The weights; fidelities share them."""
    return _folder(f"{kind.split()[0]} 1")


@functools.cache
def _folder(kind: str) -> Path:
    """A folder of converted weights of that configuration; it lives as long as the tests."""
    rng = np.random.default_rng(0)

    def drawn(path, leaf):
        if path[-1].key in ("bias", "scale"):
            return rng.normal(path[-1].key == "scale", 0.1, leaf.shape).astype(np.float32)
        limit = np.sqrt(3 / np.prod(leaf.shape[:-1]))
        return rng.uniform(-limit, limit, leaf.shape).astype(np.float32)

    init = METHODS["elir"](config(kind)).init
    params, frozen = jax.eval_shape(lambda: init(jax.random.key(0), untrained))
    like = jax.eval_shape(collapse, params)
    place = Path(_kept().name) / kind
    write_weights(place, jax.tree.map_with_path(drawn, frozen | like))
    return place


@functools.cache
def _kept() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="exported")


@functools.cache
def found(kind: str = LATENTS):
    """The weights and the method in plain form."""
    return exportable(folder(kind), config(kind))


@functools.cache
def content(form: str = "float32", kind: str = LATENTS) -> bytes:
    """The ONNX file."""
    return content_of(found(kind), form, describe(found(kind), "small", "MIT"))


def write(place: Path, form: str = "float32", kind: str = LATENTS) -> Path:
    """The ONNX file in a folder; returns its path."""
    path = place / f"{form} {kind}.onnx"
    path.write_bytes(content(form, kind))
    return path


def cut_of(file: Exported, part: str) -> tuple[list[str], str]:
    """The inputs and the output of a part, as the file says."""
    (said,) = (said for said in file.about["parts"] if said["name"] == part)
    return said["inputs"], said["output"]
