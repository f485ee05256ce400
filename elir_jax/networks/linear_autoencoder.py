"""A linear autoencoder of TAESD's shape, and the TAESD of twice its width that computes the same.

Without its residual blocks and ReLUs, TAESD is a chain of convolutions. A training step of that
chain costs a twentieth, and it learns colours and edges in minutes. A ReLU network computes the
same if it has each number ``v`` as the pair ``(relu(v), relu(-v))`` and if its residual blocks add
nothing. So training can continue from there instead of starting from noise.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.networks.autoencoder import Autoencoder, init_parts
from elir_jax.networks.layers import conv
from elir_jax.networks.taesd import STAGES, bend, check_sides, double
from elir_jax.types import Image, Latent, Params


class LinearEncoder(nn.Module):
    """Image (b, h, w, 3) -> latent (b, h/8, w/8, latent_channels); affine."""

    latent_channels: int = 16
    width: int = 16

    @nn.compact
    def __call__(self, x: Image) -> Latent:
        check_sides(x)
        h = conv(x, self.width, name="conv_in")
        for s in range(STAGES):
            h = conv(h, self.width, stride=2, use_bias=False, name=f"down{s}")
        return conv(h, self.latent_channels, name="conv_out")


class LinearDecoder(nn.Module):
    """Latent (b, lh, lw, c) -> image (b, 8 lh, 8 lw, 3); affine after the decoder's clamp."""

    width: int = 16

    @nn.compact
    def __call__(self, z: Latent) -> Image:
        h = conv(bend(z), self.width, name="conv_in")
        for s in range(STAGES):
            h = conv(double(h), self.width, use_bias=False, name=f"up{s}")
        return conv(h, 3, name="conv_out")


@dataclasses.dataclass(frozen=True)
class LinearAutoencoder:
    """The linear networks of half the width of ``full``."""

    full: Autoencoder

    @property
    def encoder(self) -> LinearEncoder:
        return LinearEncoder(self.full.latent_channels, self.full.width // 2)

    @property
    def decoder(self) -> LinearDecoder:
        return LinearDecoder(self.full.width // 2)

    def init(self, key: jax.Array) -> Params:
        """Untrained ``{"encoder": ..., "decoder": ...}``; each layer keeps its input's variance.

        The networks' own start, uniform in +-1/sqrt(fan_in), divides it by 3 in each layer.
        """
        params = init_parts(self.encoder, self.decoder, self.full.latent_channels, key)
        return jax.tree.map(lambda a: a * math.sqrt(3) if a.ndim == 4 else a, params)


def embed(linear: Params, fresh: Params) -> Params:
    """TAESD's parameters that compute what the linear networks of half the width compute.

    ``linear`` and ``fresh`` hold ``encoder`` and ``decoder``. ``fresh`` gives the residual blocks'
    first two convolutions; the last one of each block becomes zero.
    """
    return {part: _embed_part(linear[part], fresh[part]) for part in fresh}


def _embed_part(linear: Params, fresh: Params) -> Params:
    embedded = {}
    for name, layer in fresh.items():
        if name not in linear:
            embedded[name] = layer | {"conv2": jax.tree.map(jnp.zeros_like, layer["conv2"])}
            continue
        kernel, wanted = linear[name]["kernel"], layer["kernel"].shape
        if wanted[3] == 2 * kernel.shape[3]:
            kernel = _pairs(kernel)
        if wanted[2] == 2 * kernel.shape[2]:
            kernel = _pairs(kernel.swapaxes(2, 3)).swapaxes(2, 3)
        embedded[name] = {"kernel": kernel}
        if "bias" in layer:
            bias = linear[name]["bias"]
            embedded[name]["bias"] = _pairs(bias) if layer["bias"].size > bias.size else bias
    return embedded


def _pairs(array: Float[Array, "*rest c"]) -> Float[Array, "*rest c2"]:
    """Each number beside its negative."""
    return jnp.concatenate([array, -array], axis=-1)
