"""Write our autoencoder in TAESD's names, into one file."""

from pathlib import Path

from elir_jax.types import Params
from elir_jax.weights.files import write_tensors
from elir_jax.weights.layouts import ONE_FILE
from elir_jax.weights.release import to_release


def write_autoencoder(path: Path, params: Params, metadata: dict[str, str]) -> None:
    """Write both parts into one float32 safetensors file, in TAESD's numbering."""
    tensors = {ONE_FILE.from_release(name): value for name, value in to_release(params).items()}
    write_tensors(path, tensors, metadata)
