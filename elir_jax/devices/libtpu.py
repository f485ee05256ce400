"""The settings of libtpu, the TPU's compiler and driver; they must be made before it is loaded.

XLA cuts the images of a small batch into strips, which it treats as more images. Each of our
convolutions then copies its whole input and output to cut, to pad and to join them. Both flags
together keep it from that: a residual block of the encoder, four images of 512x512, moves a quarter
of the bytes (docs/performance.md).
"""

import importlib.metadata
import os

WHOLE_IMAGES = (
    "--xla_tpu_run_space_to_batch=false --xla_tpu_run_space_to_batch_on_new_platforms=false"
)
TRIED = "0.0.42."  # the libtpu of our jax; another may not know the flags and end the process


def keep_images_whole() -> None:
    """Add the flags to ``LIBTPU_INIT_ARGS``; what the user has set there comes later, and wins."""
    given = os.environ.get("LIBTPU_INIT_ARGS", "")
    try:
        known = importlib.metadata.version("libtpu").startswith(TRIED)
    except importlib.metadata.PackageNotFoundError:
        return
    if known and WHOLE_IMAGES not in given:
        os.environ["LIBTPU_INIT_ARGS"] = f"{WHOLE_IMAGES} {given}".strip()
