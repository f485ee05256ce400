"""Tensors that a PyTorch module keeps beside its parameters, and that ours computes.

A file that is read must hold them as we compute them; then they are left out. A file that is
written gets them back, or the module refuses it.
"""

import numpy as np

from elir_jax.errors import UserError
from elir_jax.weights.files import Tensors
from elir_jax.weights.layouts import Source, listed

TOLERANCE = 1e-5  # relative; they are recorded in float32


def without_buffers(source: Source, buffers: Tensors) -> Source:
    """``source`` without its buffers. Raises UserError where one is missing or is another."""
    tensors = dict(source.tensors)
    if missing := buffers.keys() - tensors.keys():
        names = listed(map(source.original, missing))
        raise UserError(f"{source.path}: {len(missing)} tensor(s) missing: {names}")
    for name, ours in buffers.items():
        theirs = tensors.pop(name)
        if theirs.shape != ours.shape or not np.allclose(theirs, ours, TOLERANCE, atol=0):
            raise UserError(
                f"{source.path}: tensor {source.original(name)} is not what this network computes: "
                f"the file is another network's"
            )
    return source._replace(tensors=tensors)


def shape_of(source: Source, name: str) -> tuple[int, ...]:
    """Shape of a tensor. Raises UserError where it is missing."""
    if name not in source.tensors:
        raise UserError(f"{source.path}: 1 tensor(s) missing: {source.original(name)}")
    return source.tensors[name].shape


def count_of(source: Source, prefix: str) -> int:
    """How many numbers follow ``prefix`` and a dot."""
    rest = [n.removeprefix(f"{prefix}.") for n in source.tensors if n.startswith(f"{prefix}.")]
    return len({name.partition(".")[0] for name in rest})


def in_order(tensors: Tensors, words: str) -> Tensors:
    """The same, sorted as the module lists them: by number, and by its own order of ``words``.

    Raises KeyError for a word that is not among them.
    """
    rank = {word: place for place, word in enumerate(words.split())}

    def place(name: str) -> list[int]:
        return [int(part) if part.isdigit() else rank[part] for part in name.split(".")]

    return {name: tensors[name] for name in sorted(tensors, key=place)}
