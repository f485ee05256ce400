"""The layout of an exported file: the names of its values, and what its metadata say."""

import hashlib
from collections.abc import Mapping

import numpy as np

VERSION = 2  # of this layout
METADATA = "elir_jax"  # the key of the metadata: a JSON object

NETWORKS = ("encoder", "estimator", "velocity", "decoder")  # first words of the weights' names
IMAGE, NOISE, RESTORED = "image", "noise", "restored"  # inputs and output of the whole
LATENT, MEAN = "latent", "mean"
MEAN_IMAGE, CHANGE = "mean_image", "change"  # of an estimator of pixels
STEP, SIGMA, FIDELITY = "step", "sigma_s", "fidelity"
IMAGE_AXES = ("batch", "height", "width")
LATENT_AXES = ("batch", "latent_height", "latent_width")


def state(step: int) -> str:
    """The flow's state after that many steps."""
    return f"state_{step}"


def time(step: int) -> str:
    """The time at which that step begins."""
    return f"time_{step}"


def digests(tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """A digest of each stored tensor: type, shape and values."""
    return {
        name: digest_of_tensor(a.dtype.name, a.shape, np.ascontiguousarray(a).data)
        for name, a in tensors.items()
    }


def digest_of(digests: Mapping[str, str]) -> str:
    """One digest of all weights."""
    said = "\n".join(f"{name} {digest}" for name, digest in sorted(digests.items()))
    return hashlib.sha256(said.encode()).hexdigest()


def digest_of_tensor(dtype: str, shape: tuple[int, ...], content: memoryview) -> str:
    """The digest of one tensor, from NumPy's name of its type and its values' bytes."""
    digest = hashlib.blake2b(f"{dtype} {shape}".encode(), digest_size=8)
    digest.update(content)
    return digest.hexdigest()


def is_weight(name: str) -> bool:
    """Whether a tensor is a weight of a network, rather than a constant of the flow."""
    return name.split("/")[0] in NETWORKS
