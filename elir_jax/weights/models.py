"""A model: one safetensors file that restores by itself, with its configuration inside.

Tensors carry the names of our parameter tree, joined by ``/``, as 16-bit floats. The metadata hold
the configuration as JSON and a line on where the weights are from. ``photo`` and ``denoising`` ship
with the package (docs/models).
"""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError, safe_open

from elir_jax.errors import UserError
from elir_jax.types import Params
from elir_jax.weights.files import SAFETENSORS, read_tensors, write_tensors
from elir_jax.weights.own import flatten, unflatten

CONFIG, TITLE = "elir_jax.config", "elir_jax.title"  # keys of the metadata


class Model(NamedTuple):
    """What a file of this kind holds."""

    title: str
    config: dict  # as JSON
    params: Params  # float32


def is_model(path: Path) -> bool:
    """Whether the file is a safetensors file that brings a configuration of ours."""
    return path.suffix.lower() == SAFETENSORS and path.is_file() and CONFIG in _metadata(path)


def write_model(path: Path, model: Model) -> None:
    """Write the file whole or not at all.

    Raises UserError if it cannot be written, or if a weight is too large for 16 bits.
    """
    with np.errstate(over="ignore"):  # told below
        half = jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float16), model.params)
    for name, leaf in flatten(half).items():
        if not np.isfinite(leaf).all():
            raise UserError(f"{path}: {name} does not fit 16-bit floats")
    metadata = {CONFIG: json.dumps(model.config), TITLE: model.title}
    write_tensors(path, flatten(half), metadata)


def read_model(path: Path) -> Model:
    """The weights and the configuration of a model. Raises UserError if the file is damaged."""
    metadata = _metadata(path)
    params = unflatten(read_tensors(path))
    try:
        config = json.loads(metadata[CONFIG])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: its configuration cannot be read; get the file anew") from error
    return Model(metadata.get(TITLE, path.stem), config, params)


def _metadata(path: Path) -> dict[str, str]:
    """The file's strings by name; none for a file that is no safetensors file."""
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}
