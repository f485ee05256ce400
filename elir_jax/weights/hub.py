"""Pretrained weights from the Hugging Face hub."""

import logging
from pathlib import Path

from elir_jax.errors import UserError

FILE = "diffusion_pytorch_model.safetensors"  # the name of the weights of every model in diffusers


def download(repository: str, file: str = FILE) -> Path:
    """Path of ``file`` of ``repository`` (``madebyollin/taesd3``), downloaded or cached.

    Prints a line before a download. Raises UserError if they cannot be downloaded.
    """
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
    except ImportError as error:
        raise UserError(
            f"hub:{repository}: huggingface_hub is not installed; pip install huggingface_hub, or "
            f"give a file (weights=FILE)"
        ) from error
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        if not isinstance(try_to_load_from_cache(repository, file), str):
            print(f"downloading {file} of {repository} from the Hugging Face hub", flush=True)
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # the client's errors share no base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"hub:{repository}: cannot be downloaded ({reason}); connect to the network, or give a "
            f"file (weights=FILE)"
        ) from error
