"""Run Latent-PMRF's public code on a CPU, from the user's own checkout of its repository.

Its networks (``Encoder``, ``Decoder``, ``LooUFormer``) run unchanged; this project contains none of
them. What they import of diffusers is replaced by the few lines that they use, and NATTEN as for
PMRF's (:mod:`elir_jax.parity.pmrf_checkout`).
"""

import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from elir_jax.errors import UserError
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.sim_vae import SimVae
from elir_jax.parity.pmrf_checkout import na2d
from elir_jax.weights.files import Tensors

PACKAGE = "latent_pmrf"


class LatentPmrfCheckout:
    """The public networks of our sizes, with these tensors under their own names.

    Importing the checkout replaces modules of this process. Raises UserError if torch or the
    checkout cannot be imported, or if tensors do not fit.
    """

    def __init__(self, repository: Path, vae: tuple[SimVae, Tensors], hdit: tuple[HDiT, Tensors]):
        if not (repository / PACKAGE).is_dir():
            raise UserError(
                f"{repository}: has no folder {PACKAGE}; name a checkout of Latent-PMRF's code"
            )
        try:
            import torch
        except ImportError as error:
            raise UserError("comparing with a checkout needs torch; pip install torch") from error
        self.torch = torch
        _replace_modules(repository.resolve())
        try:
            self.encoder, self.decoder, self.model = _networks(vae[0], hdit[0])
            both = {"encoder": self.encoder, "decoder": self.decoder}
            for name, network in both.items():
                prefix = f"{name}."
                self._load(
                    network,
                    {n.removeprefix(prefix): a for n, a in vae[1].items() if n.startswith(prefix)},
                )
            self._load(self.model, hdit[1])
        except ImportError as error:
            raise UserError(
                f"{repository}: cannot be imported ({error}); install its requirements"
            ) from error
        except (AttributeError, TypeError, RuntimeError) as error:
            raise UserError(f"{repository}: its networks cannot be built: {error}") from error

    def moments(self, x: np.ndarray) -> np.ndarray:
        """Mean and log variance (b, h/8, w/8, 2 c) of images (b, h, w, 3) in [0, 1]."""
        with self.torch.no_grad():
            return self._array(self.encoder(self._tensor(2 * x - 1)))

    def decoded(self, z: np.ndarray) -> np.ndarray:
        """The images of latents, about [0, 1]."""
        with self.torch.no_grad():
            return self._array(self.decoder(self._tensor(z))) / 2 + 0.5

    def velocity(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The network's output for ``sigma = t``; it has no sign or time of its own."""
        with self.torch.no_grad():
            return self._array(self.model(self._tensor(z), self.torch.from_numpy(t)))

    def _load(self, network, tensors: Tensors) -> None:
        """Weights; buffers that the network does not store are left as they are."""
        given = {name: self.torch.from_numpy(np.array(a)) for name, a in tensors.items()}
        missing, unknown = network.load_state_dict(given, strict=False)
        if missing or unknown:
            raise RuntimeError(f"missing {missing}, unknown {unknown}")

    def _tensor(self, array: np.ndarray):
        """NHWC -> NCHW."""
        return self.torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))

    def _array(self, value) -> np.ndarray:
        """NCHW -> NHWC."""
        return value.numpy().transpose(0, 2, 3, 1)


def _replace_modules(repository: Path) -> None:
    """Make the checkout importable."""
    import torch

    def module(name, **members):
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(members)

    class Projection(torch.nn.Module):
        """diffusers' GaussianFourierProjection as this network asks for it: cosines first."""

        def __init__(self, size, scale, **settings):
            super().__init__()
            self.register_buffer("weight", torch.randn(size) * scale)

        def forward(self, x):
            phase = 2 * math.pi * x[:, None] * self.weight[None]
            return torch.cat([phase.cos(), phase.sin()], dim=-1)

    module("natten", has_fused_na=lambda: True, functional=SimpleNamespace(na2d=na2d))
    module("diffusers")
    module(
        "diffusers.configuration_utils",
        ConfigMixin=type("ConfigMixin", (), {}),
        register_to_config=lambda init: init,
    )
    module("diffusers.models")
    module("diffusers.models.modeling_utils", ModelMixin=torch.nn.Module)
    module("diffusers.models.embeddings", GaussianFourierProjection=Projection)
    module(
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
