"""Weights that follow from a tensor's name and shape alone: the same on any machine, for ever."""

import math
import zlib
from pathlib import Path

import jax
import numpy as np

from elir_jax.networks.layers import collapse
from elir_jax.weights.files import Tensors
from elir_jax.weights.layouts import Source
from elir_jax.weights.release import from_release, to_release
from elir_jax.weights.sizes import Sizes


def uniform(name: str, shape: tuple[int, ...], bound: float) -> np.ndarray:
    """Uniform in [-bound, bound), from the raw bits of a generator whose stream is fixed."""
    bits = np.random.PCG64(zlib.crc32(name.encode())).random_raw(math.prod(shape))
    unit = (bits >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return ((2 * unit - 1) * bound).astype(np.float32).reshape(shape)


def collapsed(tensors: Tensors, sizes: Sizes) -> Tensors:
    """The same function with every expanded block collapsed."""
    params = from_release(Source(Path("weights"), "", tensors, str), sizes.like())
    return to_release(collapse(params))


def tensors_for(sizes: Sizes) -> Tensors:
    """All tensors of the release's layout for networks of these sizes."""
    shapes = jax.tree.map(lambda leaf: np.empty(leaf.shape, np.bool_), sizes.like())
    tensors = {}
    for name, leaf in to_release(shapes).items():
        if ".block.0.weight" in name and leaf.ndim == 1:  # scale of a normalisation
            tensors[name] = 1 + uniform(name, leaf.shape, 0.2)
        else:
            fan_in = math.prod(leaf.shape[1:]) or 1
            gain = 1.7 if name.startswith(("enc.", "dec.")) else 1.0  # latents of order one
            bound = 0.1 if leaf.ndim == 1 else gain / math.sqrt(fan_in)
            tensors[name] = uniform(name, leaf.shape, bound)
    return tensors
