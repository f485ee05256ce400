"""Small networks of Latent-PMRF, their weights and inputs, and what the public code made of them.

Weights and inputs follow from names alone; tests/golden/latent_pmrf.npz holds the outputs, as
tests/torch_reference/record_latent_pmrf.py recorded them.
"""

import math

import jax
import numpy as np
from pmrf_golden import HERE, uniform

from elir_jax.networks.hdit import HDiT
from elir_jax.networks.sim_vae import SimVae
from elir_jax.networks.transformer import LATENT
from elir_jax.weights.hdit import FREQUENCIES, hdit_shapes, hdit_tensors
from elir_jax.weights.sim_vae import sim_vae_shapes, sim_vae_tensors

GOLDEN = HERE / "golden" / "latent_pmrf.npz"
CHANNELS = 6
VAE = SimVae((8, 16, 16, 24), layers=1, mid_layers=2, latent_channels=CHANNELS)
HDIT = HDiT(
    (32, 48),
    (2, 1),
    (7, 0),
    head_dim=16,
    patch=1,
    mapping_width=32,
    mapping_depth=1,
    out_channels=CHANNELS,
    style=LATENT,
)


def tensors() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights of both under the public names; those that start at zero or one are drawn, too."""

    def empty(shapes):
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)

    vae = sim_vae_tensors(empty(sim_vae_shapes(VAE)))
    hdit = hdit_tensors(HDIT, empty(hdit_shapes(HDIT, CHANNELS)))
    return (
        {name: _drawn(f"sim_vae.{name}", value) for name, value in vae.items()},
        {name: _drawn(f"latent.{name}", value) for name, value in hdit.items()},
    )


def _drawn(name, value):
    if name.endswith(FREQUENCIES):
        return value
    if name.endswith("time_proj.weight"):
        return uniform(name, value.shape, 2.0)
    if name.endswith((".scale", ".fac", "norm.weight")):
        return 1 + uniform(name, value.shape, 0.3)
    if value.ndim == 1:
        return uniform(name, value.shape, 0.1)
    return uniform(name, value.shape, 1.5 / math.sqrt(math.prod(value.shape[1:])))


def inputs() -> dict[str, np.ndarray]:
    """Pictures, latents and times; not square, and no multiple of a tile."""
    return {
        "x": 0.5 + uniform("latent picture", (2, 40, 56, 3), 0.5),
        "z": uniform("latent state", (2, 14, 22, CHANNELS), 1.5),
        "t": np.float32([0.15, 0.8]),
    }


def outputs(public) -> dict[str, np.ndarray]:
    """What a checkout makes of the inputs."""
    given = inputs()
    moments = public.moments(given["x"])
    mean = np.split(moments, 2, axis=-1)[0]
    return {
        "moments": moments,
        "decoded": public.decoded(mean),
        "velocity": public.velocity(given["z"], given["t"]),
    }
