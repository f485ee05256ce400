"""This project's own file of weights: ``weights.safetensors`` in the folder of a run.

Tensors have the names of our parameter tree, joined by ``/``, and its axes. Training in such a
folder starts from them, and evaluation evaluates them.
"""

from pathlib import Path

import jax
import numpy as np

from elir_jax.errors import UserError
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place
from elir_jax.types import Params
from elir_jax.weights.files import Tensors, read_tensors, unusable, write_tensors
from elir_jax.weights.layouts import listed

FILE = "weights.safetensors"


def flatten(params: Params) -> Tensors:
    """Nested tables -> names joined by ``/``."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


def unflatten(tensors: Tensors) -> Params:
    """The inverse of :func:`flatten`."""
    params: Params = {}
    for name, value in tensors.items():
        *tables, last = name.split("/")
        branch = params
        for table in tables:
            branch = branch.setdefault(table, {})
        branch[last] = value
    return params


def write_weights(folder: Path, params: Params) -> Path:
    """Write ``folder/weights.safetensors``; returns its path."""
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be created ({error.strerror})") from error
    write_tensors(path, flatten(params))
    return path


def has_weights(folder: Place) -> bool:
    """Whether the folder holds such a file."""
    return storage_of(folder).exists(folder / FILE)


def read_weights(folder: Place) -> Params:
    """All parameters of ``folder/weights.safetensors``."""
    with storage_of(folder).fetched_file(folder / FILE) as file:
        return unflatten(read_tensors(file))


def check_weights(path: Place, params: Params, like: Params) -> None:
    """Raise a UserError that names tensors unless the parameters are finite and of these shapes."""
    there, wanted = flatten(params), flatten(jax.tree.map(lambda s: np.empty(s.shape, bool), like))
    said = [
        f"{len(names)} tensor(s) {problem}: {listed(names)}"
        for problem, names in (
            ("missing", wanted.keys() - there.keys()),
            ("unknown", there.keys() - wanted.keys()),
        )
        if names
    ] or [
        f"{name} has shape {there[name].shape}, not {wanted[name].shape}"
        for name in wanted
        if there[name].shape != wanted[name].shape
    ]
    if said:
        raise UserError(
            f"{path}: weights of another network: {'; '.join(said[:2])}; use the options "
            f"that elir_jax.interop.convert printed (sizes, and form=plain for collapsed weights)"
        )
    for name, array in there.items():
        if why := unusable(array):
            raise UserError(f"{path}: {name} {why}")
