"""A light U-Net of convolutions: degraded picture -> estimate of its posterior mean, in pixels.

It works at 1/2, 1/4 and 1/8 of the picture's sides, with residual blocks of two 3x3 convolutions,
ReLU and no normalisation, and adds what it finds to the picture itself. The last layer starts at
zero, so an untrained network returns its input. The release's estimator works on latents, which
keep some 28 dB of a photograph; this one keeps whatever needs no repair.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from elir_jax.networks.layers import conv
from elir_jax.networks.repeating import repeat
from elir_jax.networks.unet import Upsample
from elir_jax.types import Image, SampleKeys

FACTOR = 8  # the sides of a picture are multiples of it


class Residual(nn.Module):
    """``x + conv(relu(conv(x)))``."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        h = nn.relu(conv(x, x.shape[-1], dtype=self.dtype, name="conv0"))
        return x + conv(h, x.shape[-1], dtype=self.dtype, name="conv1")


class PixelUNet(nn.Module):
    """RGB in [0, 1] -> the same shape, float32, not clipped; sides are multiples of 8.

    Attributes:
        widths: channels at 1/2, 1/4 and 1/8 of the sides.
        blocks: residual blocks on the way down at 1/2 and 1/4, and in all at 1/8. The way up has
            as many.

    ``keys`` change nothing: the network has no randomness. Raises ValueError for sides that do not
    fit.
    """

    widths: tuple[int, int, int] = (48, 80, 96)
    blocks: tuple[int, int, int] = (2, 1, 2)
    dtype: DTypeLike = jnp.float32

    @property
    def halo(self) -> int:
        """How far the network sees around a square of 8x8 pixels, in such squares."""
        half, quarter, eighth = self.blocks
        # A convolution sees one element of its resolution to each side, an enlargement one of the
        # coarser one. A block has two convolutions, on the way down and on the way up.
        pixels = 1 + 2 * (4 * half + 2) + 4 * (4 * quarter + 2) + 8 * (2 * eighth + 1)
        return -(-pixels // FACTOR)

    @nn.compact
    def __call__(self, x: Image, keys: SampleKeys | None = None) -> Image:
        if x.shape[1] % FACTOR or x.shape[2] % FACTOR:
            raise ValueError(f"sides must be multiples of {FACTOR}, got {x.shape[1:3]}")
        block = functools.partial(Residual, self.dtype)

        def blocks(h, name, count):
            return repeat(self, block, [f"{name}_block{i}" for i in range(count)], h)

        def up(h, features, name):
            return Upsample(features, self.dtype, name=name)(h)

        half, quarter, eighth = self.widths
        h = x.astype(self.dtype)
        h = conv(h, half, stride=2, dtype=self.dtype, name="conv_in")
        h = at_half = blocks(h, "down0", self.blocks[0])
        h = conv(h, quarter, stride=2, dtype=self.dtype, name="shrink0")
        h = at_quarter = blocks(h, "down1", self.blocks[1])
        h = conv(h, eighth, stride=2, dtype=self.dtype, name="shrink1")
        h = blocks(h, "middle", self.blocks[2])
        h = blocks(up(h, quarter, "enlarge1") + at_quarter, "up1", self.blocks[1])
        h = blocks(up(h, half, "enlarge0") + at_half, "up0", self.blocks[0])
        zeros = nn.initializers.zeros_init()
        change = Upsample(x.shape[-1], self.dtype, zeros, name="conv_out")(h)
        return x + change.astype(jnp.float32)
