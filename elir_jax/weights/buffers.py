"""Buffers: tensors that a PyTorch module stores with its parameters, and that we compute.

When a file is read, its buffers must equal those that we compute; then they are left out. A written
file gets them back, because otherwise the module refuses it.
"""

import numpy as np

from elir_jax.errors import UserError
from elir_jax.weights.files import Tensors
from elir_jax.weights.layouts import Source, listed

TOLERANCE = 1e-5  # relative; they are recorded in float32


def without_buffers(source: Source, buffers: Tensors) -> Source:
    """``source`` without its buffers. Raises UserError if one is missing or different."""
    tensors = dict(source.tensors)
    if missing := buffers.keys() - tensors.keys():
        names = listed(map(source.original, missing))
        raise UserError(f"{source.path}: {len(missing)} tensor(s) missing: {names}")
    for name, ours in buffers.items():
        theirs = tensors.pop(name)
        if theirs.shape != ours.shape or not np.allclose(theirs, ours, TOLERANCE, atol=0):
            raise UserError(
                f"{source.path}: tensor {source.original(name)} differs from what this network "
                f"computes: the file belongs to another network"
            )
    return source._replace(tensors=tensors)


def shape_of(source: Source, name: str) -> tuple[int, ...]:
    """Shape of a tensor. Raises UserError if it is missing."""
    if name not in source.tensors:
        raise UserError(f"{source.path}: 1 tensor(s) missing: {source.original(name)}")
    return source.tensors[name].shape


def count_of(source: Source, prefix: str) -> int:
    """The number of different numbers after ``prefix`` and a dot."""
    rest = [n.removeprefix(f"{prefix}.") for n in source.tensors if n.startswith(f"{prefix}.")]
    return len({name.partition(".")[0] for name in rest})


def in_order(tensors: Tensors, words: str) -> Tensors:
    """The same tensors in the module's order: by number, and by its own order of ``words``.

    Raises KeyError for a word that is not among them.
    """
    rank = {word: place for place, word in enumerate(words.split())}

    def place(name: str) -> list[int]:
        return [int(part) if part.isdigit() else rank[part] for part in name.split(".")]

    return {name: tensors[name] for name in sorted(tensors, key=place)}
