"""The weights that ship with the package; README.md beside them says where they are from."""

from pathlib import Path

from elir_jax.errors import UserError

FOLDER = Path(__file__).parent
AUTOENCODER = FOLDER / "autoencoder.safetensors"
# The first is what restores if nothing else is asked for.
MODELS = ("photo", "denoising", "denoising-1step")


def model(name: str) -> Path:
    """The file of a model that ships. Raises UserError for another name."""
    if name not in MODELS:
        raise UserError(f"{name}: no such model; one of: {', '.join(MODELS)}")
    return FOLDER / f"{name}.safetensors"
