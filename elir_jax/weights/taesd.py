"""Autoencoder files <-> our parameters: whatever layout is read, TAESD in one file is written."""

from pathlib import Path

from elir_jax.errors import UserError
from elir_jax.types import Params
from elir_jax.weights.files import write_tensors
from elir_jax.weights.layouts import ONE_FILE, open_source
from elir_jax.weights.release import from_release, to_release


def read_autoencoder(path: Path, like: Params) -> Params:
    """Parameters from a file or a folder of two files; ``like`` gives the shapes wanted.

    Raises UserError, naming it, for a tensor that is missing, not known or of another shape.
    """
    try:
        return from_release(open_source(path), like)
    except UserError as error:
        raise UserError(
            f"{error}; --config.autoencoder.weights takes a file in TAESD's layout, and "
            f"--config.autoencoder.width and .latent_channels are to be the file's"
        ) from error


def write_autoencoder(path: Path, params: Params, metadata: dict[str, str]) -> None:
    """Write both parts into one float32 safetensors file, in TAESD's numbering."""
    tensors = {ONE_FILE.from_release(name): value for name, value in to_release(params).items()}
    write_tensors(path, tensors, metadata)
