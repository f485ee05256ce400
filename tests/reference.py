"""The PyTorch reference's golden arrays, where they are; tests that use them skip elsewhere."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.interop.release import from_release
from elir_jax.models.latent_flow import Autoencoder, init_latent_flow, latent_flow
from elir_jax.models.rrdb import RRDBNet
from elir_jax.models.unet import UNet

SHARED = Path(__file__).resolve().parents[2] / "shared"
GOLDEN = SHARED / "reference" / "golden_k3.npz"
KINDS = {"over": "overparametrized", "flat": "collapsed"}


def load_golden() -> dict[str, np.ndarray]:
    """All golden arrays; skips the test where the file is absent."""
    if not GOLDEN.is_file():
        pytest.skip(f"golden arrays of the PyTorch reference are absent ({GOLDEN.name})")
    with np.load(GOLDEN) as arrays:
        return {name: arrays[name] for name in arrays.files}


def load_state_dict(kind: str) -> dict[str, np.ndarray]:
    """The reference's weights, ``over`` (expanded) or ``flat``; skips without the file or torch."""
    path = GOLDEN.with_name(f"golden_k3_{KINDS[kind]}.pth")
    if not path.is_file():
        pytest.skip(f"weights of the PyTorch reference are absent ({path.name})")
    torch = pytest.importorskip("torch", reason="reading the reference's .pth needs torch")
    tensors = torch.load(path, weights_only=True, map_location="cpu")
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def networks_for(config: dict, kind: str, form: str):
    """(networks, empty parameters) of the golden configuration."""
    unet, mmse = config["unet"], config["mmse"]
    autoencoder = Autoencoder(width=64, latent_channels=unet["in_channels"])
    estimator = RRDBNet(mmse["c_hid"], mmse["n_rrdb"], form)
    velocity = UNet(
        unet["hid_channels"],
        tuple(unet["ch_mult"]),
        unet["n_mid_blocks"],
        unet["t_emb_dim"],
        form,
    )

    def shapes(key):
        parts = init_latent_flow(key, unet["in_channels"], estimator, velocity)
        return parts | autoencoder.init(key)

    like = jax.eval_shape(shapes, jax.random.key(0))
    return latent_flow(autoencoder, estimator, velocity), like


class Reference:
    """Golden arrays with our networks and the reference's weights in our layout."""

    def __init__(self, kind: str, form: str):
        self.arrays = load_golden()
        self.config = json.loads(str(self.arrays["config"]))
        self.kind = kind
        self.networks, like = networks_for(self.config, kind, form)
        self.params = jax.tree.map(jnp.asarray, from_release(load_state_dict(kind), like))

    def __getitem__(self, name: str) -> jax.Array:
        """Array ``name``, of this kind of network where there are two."""
        return jnp.asarray(self.arrays.get(f"{name}_{self.kind}", self.arrays.get(name)))
