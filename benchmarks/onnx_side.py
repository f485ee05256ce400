"""The onnxruntime side of the speed benchmark: our networks as an exported graph."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from elir_jax.compose.exporting import Exportable, describe, onnx_model
from elir_jax.edge import layout
from elir_jax.edge.cutting import metadata
from elir_jax.edge.file import Exported, session
from elir_jax.networks.layers import collapse
from elir_jax.types import Params


def installed() -> bool:
    """Whether the packages of requirements-edge.txt are."""
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


class OnnxSide:
    """A configuration's whole restorer; a callable that restores once."""

    def __init__(self, config, method, params: Params, frozen: Params):
        found = Exportable("untrained", config, method, collapse(params), frozen)
        model = onnx_model(found, "float32", describe(found, "untrained", "MIT"))
        content = model.SerializeToString()
        about = json.loads(metadata(content)[layout.METADATA])
        file = Exported(Path("untrained.onnx"), content, about)
        self._channels = config.autoencoder.latent_channels
        self._run = session(file, (layout.IMAGE, layout.NOISE), layout.RESTORED)

    def restorer(self, x: np.ndarray) -> Callable:
        """A call that restores the images."""
        rows, height, width, _ = x.shape
        eps = np.random.default_rng(1).normal(size=(rows, height // 8, width // 8, self._channels))
        eps = eps.astype(np.float32)
        return lambda: self._run(x, eps)
