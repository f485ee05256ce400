"""An encoder with its decoder."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from elir_jax.networks.initializing import initialize
from elir_jax.networks.taesd import FACTOR, Decoder, Encoder
from elir_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Autoencoder:
    """Encoder and decoder of one size, in one compute type (parameters are always float32).

    If ``rematerialize``, the backward pass computes the inside of residual blocks again instead of
    keeping it in memory.
    """

    width: int = 64
    latent_channels: int = 16
    dtype: DTypeLike = jnp.float32
    rematerialize: bool = False

    @property
    def encoder(self) -> Encoder:
        return Encoder(self.latent_channels, self.width, self.dtype, self.rematerialize)

    @property
    def decoder(self) -> Decoder:
        return Decoder(self.width, self.dtype, self.rematerialize)

    def init(self, key: jax.Array) -> Params:
        """Untrained ``{"encoder": ..., "decoder": ...}``."""
        return init_parts(self.encoder, self.decoder, self.latent_channels, key)


def init_parts(
    encoder: nn.Module, decoder: nn.Module, latent_channels: int, key: jax.Array
) -> Params:
    """Untrained parameters of both parts, by name."""
    first, second = jax.random.split(key)
    return {
        "encoder": initialize(encoder, first, (1, FACTOR, FACTOR, 3))["params"],
        "decoder": initialize(decoder, second, (1, 1, 1, latent_channels))["params"],
    }
