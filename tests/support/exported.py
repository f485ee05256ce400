"""A small ELIR with random weights: as a folder, and exported as ONNX in each format."""

import functools
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest

from elir_jax.commands.exporting import content_of
from elir_jax.compose import METHODS
from elir_jax.compose.exporting import describe, exportable
from elir_jax.configurations import read_config
from elir_jax.methods.method import untrained
from elir_jax.networks.layers import collapse
from elir_jax.weights.own import write_weights

# Test modules import this one before onnx.
pytest.importorskip("onnx", reason="requirements-edge.txt is not installed")
pytest.importorskip("onnxruntime", reason="requirements-edge.txt is not installed")


@functools.cache
def config():
    """The tiny configuration with a U-Net of two scales."""
    found = read_config("configs/quickstart.py:tiny")
    found.velocity.channel_multipliers = (1, 2)
    found.sampler.num_steps = 2
    return found


@functools.cache
def folder() -> Path:
    """A folder of converted weights of that configuration; it lives as long as the tests."""
    rng = np.random.default_rng(0)

    def drawn(path, leaf):
        if path[-1].key in ("bias", "scale"):
            return rng.normal(path[-1].key == "scale", 0.1, leaf.shape).astype(np.float32)
        limit = np.sqrt(3 / np.prod(leaf.shape[:-1]))
        return rng.uniform(-limit, limit, leaf.shape).astype(np.float32)

    init = METHODS["elir"](config()).init
    params, frozen = jax.eval_shape(lambda: init(jax.random.key(0), untrained))
    like = jax.eval_shape(collapse, params)
    place = Path(_kept().name) / "weights"
    write_weights(place, jax.tree.map_with_path(drawn, frozen | like))
    return place


@functools.cache
def _kept() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="exported")


@functools.cache
def found():
    """The weights and the method in plain form."""
    return exportable(folder(), config())


@functools.cache
def content(form: str = "float32") -> bytes:
    """The ONNX file."""
    return content_of(found(), form, describe(found(), "small", "MIT"))


def write(place: Path, form: str = "float32") -> Path:
    """The ONNX file in a folder; returns its path."""
    path = place / f"{form}.onnx"
    path.write_bytes(content(form))
    return path
