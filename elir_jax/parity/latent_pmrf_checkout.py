"""Run Latent-PMRF's public code on a CPU, from the user's own checkout of its repository.

Its networks (``Encoder``, ``Decoder``, ``LooUFormer``) run unchanged; this project contains none of
them. What they import of diffusers is replaced by the few lines that they use, and NATTEN as for
PMRF's (:mod:`elir_jax.parity.pmrf_checkout`).
"""

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from elir_jax.networks.hdit import HDiT
from elir_jax.networks.sim_vae import SimVae
from elir_jax.parity.pmrf_checkout import na2d
from elir_jax.parity.public_code import PublicCode, replace_module
from elir_jax.weights.files import Tensors


class LatentPmrfCheckout(PublicCode):
    """The public networks of our sizes, with these tensors under their own names.

    Importing the checkout replaces modules of this process. Raises UserError if torch or the
    checkout cannot be imported, or if tensors do not fit.
    """

    def __init__(self, repository: Path, vae: tuple[SimVae, Tensors], hdit: tuple[HDiT, Tensors]):
        super().__init__(repository, "latent_pmrf", "Latent-PMRF's code")
        _replace_modules(repository.resolve())
        with self.building():
            self.encoder, self.decoder, self.model = _networks(vae[0], hdit[0])
            both = {"encoder": self.encoder, "decoder": self.decoder}
            for name, network in both.items():
                prefix = f"{name}."
                self._load(
                    network,
                    {n.removeprefix(prefix): a for n, a in vae[1].items() if n.startswith(prefix)},
                )
            self._load(self.model, hdit[1])

    def moments(self, x: np.ndarray) -> np.ndarray:
        """Mean and log variance (b, h/8, w/8, 2 c) of images (b, h, w, 3) in [0, 1]."""
        with self.torch.no_grad():
            return self.array(self.encoder(self.tensor(2 * x - 1)))

    def decoded(self, z: np.ndarray) -> np.ndarray:
        """The images of latents, about [0, 1]."""
        with self.torch.no_grad():
            return self.array(self.decoder(self.tensor(z))) / 2 + 0.5

    def velocity(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The network's output for ``sigma = t``; it has no sign or time of its own."""
        with self.torch.no_grad():
            return self.array(self.model(self.tensor(z), self.torch.from_numpy(t)))

    def _load(self, network, tensors: Tensors) -> None:
        """Weights; buffers that the network does not store are left as they are."""
        given = {name: self.torch.from_numpy(np.array(a)) for name, a in tensors.items()}
        missing, unknown = network.load_state_dict(given, strict=False)
        if missing or unknown:
            raise RuntimeError(f"missing {missing}, unknown {unknown}")


def _replace_modules(repository: Path) -> None:
    """Make the checkout importable."""
    import torch

    class Projection(torch.nn.Module):
        """diffusers' GaussianFourierProjection as this network asks for it: cosines first."""

        def __init__(self, size, scale, **settings):
            super().__init__()
            self.register_buffer("weight", torch.randn(size) * scale)

        def forward(self, x):
            phase = 2 * math.pi * x[:, None] * self.weight[None]
            return torch.cat([phase.cos(), phase.sin()], dim=-1)

    replace_module("natten", has_fused_na=lambda: True, functional=SimpleNamespace(na2d=na2d))
    replace_module("diffusers")
    replace_module(
        "diffusers.configuration_utils",
        ConfigMixin=type("ConfigMixin", (), {}),
        register_to_config=lambda init: init,
    )
    replace_module("diffusers.models")
    replace_module("diffusers.models.modeling_utils", ModelMixin=torch.nn.Module)
    replace_module("diffusers.models.embeddings", GaussianFourierProjection=Projection)
    replace_module(
        "diffusers.utils", BaseOutput=type("BaseOutput", (), {}), is_torch_version=lambda *_: True
    )
    sys.path.insert(0, str(repository))


def _networks(vae: SimVae, hdit: HDiT) -> tuple[Any, Any, Any]:
    """Encoder, decoder and velocity by the public code, of the sizes of ours."""
    from latent_pmrf.models.autoencoders.vae import Decoder, Encoder
    from latent_pmrf.models.restormer.looformer_unet import LooUFormer

    sizes = {
        "block_out_channels": vae.channels,
        "mid_block_type": "Block2D",
        "mid_block_out_channel": vae.channels[-1],
        "layers_per_block": vae.layers,
        "layers_mid_block": vae.mid_layers,
    }
    levels = len(vae.channels)
    encoder = Encoder(
        out_channels=vae.latent_channels, down_block_types=["EncoderBlock2D"] * levels, **sizes
    )
    decoder = Decoder(
        in_channels=vae.latent_channels,
        up_block_types=["DecoderBlock2D"] * levels,
        upsample_method=vae.upsample,
        **sizes,
    )
    velocity = LooUFormer(
        in_channels=hdit.out_channels,
        out_channels=hdit.out_channels,
        patch_size=[1],
        block_dims=hdit.widths,
        block_layers=hdit.depths,
        block_types=["neighborhood" if kernel else "global" for kernel in hdit.kernels],
        window_sizes=[kernel or 1 for kernel in hdit.kernels],
        head_dims=[hdit.head_dim] * len(hdit.widths),
        time_embed_dim=hdit.mapping_width,
        mapping_layers=hdit.mapping_depth,
    )
    return encoder.eval(), decoder.eval(), velocity.eval()
