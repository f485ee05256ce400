"""TAESD-style autoencoder: images to 1/8-size latents and back (section 7.1; madebyollin/taesd).

Plain 3x3 convolutions and ReLU, no normalisation. Width 64 and 16 latent channels are TAESD3's;
both are free here, so that a narrower autoencoder can ship with the project.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from elir_jax.networks.layers import conv
from elir_jax.networks.pairs import LANES, double_pairs, pair, paired_conv, unpair
from elir_jax.networks.repeating import repeat
from elir_jax.networks.target import target
from elir_jax.types import Image, Latent

FACTOR = 8  # pixels per latent, along each side
STAGES = 3
BLOCKS = 3  # residual blocks in each stage
CLAMP = 3.0  # the decoder limits its input to (-3, 3)
# How far either network sees around a pixel: each convolution adds one pixel of its resolution.
SEES = 4 + sum(2**s + 3 * BLOCKS * 2 ** (s + 1) for s in range(STAGES)) + FACTOR  # 145 pixels
HALO = -(-SEES // FACTOR)  # the same in whole latents


class ResidualBlock(nn.Module):
    """Three convolutions and an identity shortcut, ReLU after the sum."""

    dtype: DTypeLike = jnp.float32
    paired: bool = False  # whether x has pairs of columns

    @nn.compact
    def __call__(self, x):
        width, conv = x.shape[-1] // (1 + self.paired), _conv(self.paired)
        h = nn.relu(conv(x, width, dtype=self.dtype, name="conv0"))
        h = nn.relu(conv(h, width, dtype=self.dtype, name="conv1"))
        h = conv(h, width, dtype=self.dtype, name="conv2")
        return nn.relu(h + x)


def _conv(paired: bool) -> Callable[..., Array]:
    """The convolution of columns or of pairs of them."""
    return paired_conv if paired else conv


def _pairs(x: Array, factor: int, width: int) -> bool:
    """Whether to compute with pairs of columns; ``factor`` is columns of ``x`` to one latent."""
    return target() == "tpu" and 2 * width <= LANES and x.shape[2] % (2 * factor) == 0


def _block(rematerialize: bool) -> type[nn.Module]:
    """The residual block; if ``rematerialize``, it keeps only its input for the backward pass."""
    return nn.remat(ResidualBlock) if rematerialize else ResidualBlock


def check_sides(x: Image) -> None:
    """Raise ValueError unless height and width are multiples of 8."""
    if x.shape[1] % FACTOR or x.shape[2] % FACTOR:
        raise ValueError(
            f"encoder: height and width must be multiples of {FACTOR}, got {x.shape[1:3]}"
        )


def bend(z: Latent) -> Latent:
    """The decoder's clamp: ``3 tanh(z / 3)``."""
    return jnp.tanh(z / CLAMP) * CLAMP


def double(h: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Nearest-neighbour enlargement by two."""
    return h.repeat(2, axis=1).repeat(2, axis=2)


class Encoder(nn.Module):
    """Image (b, h, w, 3) in [0, 1] -> latent (b, h/8, w/8, latent_channels), about unit variance.

    Raises ValueError unless h and w are multiples of 8.
    """

    latent_channels: int = 16
    width: int = 64
    dtype: DTypeLike = jnp.float32
    rematerialize: bool = False

    @nn.compact
    def __call__(self, x: Image) -> Latent:
        check_sides(x)
        paired = _pairs(x, FACTOR, self.width)
        conv = _conv(paired)
        block = functools.partial(_block(self.rematerialize), self.dtype, paired)
        h = (pair(x) if paired else x).astype(self.dtype)
        h = conv(h, self.width, dtype=self.dtype, name="conv_in")
        h = block(name="block")(h)
        for s in range(STAGES):
            h = conv(h, self.width, stride=2, use_bias=False, dtype=self.dtype, name=f"down{s}")
            h = repeat(self, block, [f"stage{s}_block{b}" for b in range(BLOCKS)], h)
        z = conv(h, self.latent_channels, dtype=self.dtype, name="conv_out")
        return (unpair(z) if paired else z).astype(jnp.float32)


class Decoder(nn.Module):
    """Latent (b, lh, lw, c) -> image (b, 8 lh, 8 lw, 3), about [0, 1], not clipped."""

    width: int = 64
    dtype: DTypeLike = jnp.float32
    rematerialize: bool = False

    @nn.compact
    def __call__(self, z: Latent) -> Image:
        paired = _pairs(z, 1, self.width)
        conv, enlarge = _conv(paired), double_pairs if paired else double
        block = functools.partial(_block(self.rematerialize), self.dtype, paired)
        z = bend(z)
        h = (pair(z) if paired else z).astype(self.dtype)
        h = nn.relu(conv(h, self.width, dtype=self.dtype, name="conv_in"))
        for s in range(STAGES):
            h = repeat(self, block, [f"stage{s}_block{b}" for b in range(BLOCKS)], h)
            h = conv(enlarge(h), self.width, use_bias=False, dtype=self.dtype, name=f"up{s}")
        h = block(name="block")(h)
        x = conv(h, 3, dtype=self.dtype, name="conv_out")
        return (unpair(x) if paired else x).astype(jnp.float32)
