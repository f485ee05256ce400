"""Write our autoencoder in TAESD's names, into one file."""

from pathlib import Path

import numpy as np

from elir_jax.types import Params
from elir_jax.weights.files import write_tensors
from elir_jax.weights.layouts import ONE_FILE
from elir_jax.weights.release import to_release


def write_autoencoder(path: Path, params: Params, metadata: dict[str, str]) -> None:
    """Write both parts into one safetensors file of 16-bit floats, in TAESD's numbering."""
    tensors = {
        ONE_FILE.from_release(name): np.asarray(value, np.float16)
        for name, value in to_release(params).items()
    }
    write_tensors(path, tensors, metadata)
