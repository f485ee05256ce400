"""Some networks of a file -> our parameters."""

from pathlib import Path

from elir_jax.errors import UserError
from elir_jax.types import Params
from elir_jax.weights.layouts import PARTS, open_source
from elir_jax.weights.opening import is_of_transformers, open_weights
from elir_jax.weights.own import check_weights
from elir_jax.weights.release import from_release
from elir_jax.weights.vgg import read_vgg


def networks_in(path: Path) -> set[str]:
    """The networks of a file or a folder of two files, by our names; none if it is not known."""
    try:
        if is_of_transformers(path):
            return set(open_weights(path).params)
        return {PARTS[name.partition(".")[0]] for name in open_source(path).tensors}
    except UserError:
        return set()  # read_section says why


def read_section(path: Path, like: Params) -> Params:
    """The networks that ``like`` names, from a file or a folder of two files of a known layout.

    ``like`` also gives the shapes. The file may contain other networks. Raises a UserError that
    names a tensor of these networks if it is missing, unknown or of another shape.
    """
    if like.keys() == {"perceptual"}:
        return read_vgg(path)
    if is_of_transformers(path):
        given = open_weights(path).params
        found = {name: given[name] for name in like if name in given}
        check_weights(path, found, like)
        return found
    source = open_source(path)
    prefixes = tuple(f"{prefix}." for prefix, name in PARTS.items() if name in like)
    if not like.keys() <= set(PARTS.values()):
        raise UserError(f"{path}: {source.title} has no {', '.join(like)}; name a run's folder")
    tensors = {name: t for name, t in source.tensors.items() if name.startswith(prefixes)}
    try:
        return from_release(source._replace(tensors=tensors), like)
    except UserError as error:
        raise UserError(
            f"{error}; the configuration must have the sizes and the form of the file"
        ) from error
