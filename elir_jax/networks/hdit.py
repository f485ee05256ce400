"""HDiT, the hourglass diffusion transformer: noisy picture and time -> velocity.

Crowson et al., 2024 (https://arxiv.org/abs/2401.11605), with the time embedded directly, as in PMRF
(Ohayon et al., 2025, https://arxiv.org/abs/2410.00418). Tokens are squares of ``patch`` pixels. On
the way down, a merge of 2x2 tokens into one follows the blocks of each level. On the way up, tokens
are split again and blended with the stored ones of the level: ``skip + fac (split - skip)``. A
level has ``depth`` blocks on each side; the last one has ``depth`` in total.

With ``style=LATENT`` this is the network of Latent-PMRF (https://arxiv.org/abs/2507.00447), which
takes latents: 3x3 convolutions replace patches, merges and splits.

Random frequencies, which embed the time and never change, are in a separate collection,
``constants``; neither optimizer nor average may change them.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from elir_jax.networks.layers import conv
from elir_jax.networks.transformer import PIXEL, Block, Mapping, RMSNorm, Style, Tokens, linear
from elir_jax.types import Time

AUGMENTATIONS = 9  # size of HDiT's second condition, which is zero in PMRF


class HDiT(nn.Module):
    """Pictures (b, h, w, c) and their times (b,) -> (b, h, w, out_channels), float32.

    Sides must be multiples of ``patch * 2 ** (levels - 1)`` and, in a level of neighbourhood
    attention, hold a kernel of tokens.

    Attributes:
        widths: channels of each level.
        depths: blocks of each level, counted on one side.
        kernels: side of each level's neighbourhood; 0 is attention over all tokens.
        patch: side of a token in pixels; 1 if convolutions resize.
        mapping_width: channels of the condition.
        mapping_depth: blocks of the mapping network.

    Raises ValueError for sides and sizes that do not fit.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    head_dim: int = 64
    patch: int = 4
    mapping_width: int = 768
    mapping_depth: int = 2
    out_channels: int = 3
    style: Style = PIXEL
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], t: Time
    ) -> Float[Array, "b h w {self.out_channels}"]:
        self._check(x)
        condition = self._condition(t)
        *upper, lowest = range(len(self.widths))
        h = self._enter(x.astype(self.dtype))
        skips = []
        for level in upper:
            h = self._blocks(h, condition, level, f"down{level}_")
            skips.append(h)
            h = self._merge(h, level)
        h = self._blocks(h, condition, lowest, "mid")
        for level in reversed(upper):
            h = self._split(h, skips[level], level)
            h = self._blocks(h, condition, level, f"up{level}_")
        h = RMSNorm(self.style.out_eps, name="out_norm")(h)
        return self._leave(h).astype(jnp.float32)

    @property
    def factor(self) -> int:
        """What must divide the sides of the input."""
        return self.patch * 2 ** (len(self.widths) - 1)

    @property
    def least(self) -> int:
        """The least side of the input: every neighbourhood must fit."""
        sides = (self.patch * 2**level * k for level, k in enumerate(self.kernels))
        return max(self.factor, *sides)

    def _check(self, x):
        if not len(self.widths) == len(self.depths) == len(self.kernels):
            raise ValueError("HDiT: widths, depths and kernels must have the same length")
        if wrong := [width for width in self.widths if width % self.head_dim]:
            raise ValueError(f"HDiT: widths must be multiples of {self.head_dim}, got {wrong}")
        if self.style.resize == "conv" and self.patch != 1:
            raise ValueError(f"HDiT: patch must be 1 if convolutions resize, got {self.patch}")
        if x.shape[1] % self.factor or x.shape[2] % self.factor:
            raise ValueError(f"HDiT: sides must be multiples of {self.factor}, got {x.shape[1:3]}")

    def _condition(self, t):
        def embedded(inputs, name):
            return fourier_features(inputs, self._frequencies(name, inputs.shape[-1]))

        condition = linear(embedded(t[:, None], "time"), self.mapping_width, name="time_in")
        if self.style.augmentation:
            none = jnp.zeros((1, AUGMENTATIONS))
            condition += linear(embedded(none, "augmentation"), self.mapping_width, name="aug_in")
        return Mapping(self.mapping_depth, self.style, name="mapping")(condition)

    def _frequencies(self, name, inputs):
        """Normal random numbers, drawn once."""
        shape = (self.mapping_width // 2, inputs)
        return self.variable(
            "constants", name, lambda: jax.random.normal(self.make_rng("params"), shape)
        ).value

    def _blocks(self, h, condition, level, prefix):
        for i in range(self.depths[level]):
            sizes = self.head_dim, self.kernels[level], self.style, self.dtype
            h = Block(*sizes, name=f"{prefix}{i}")(h, condition)
        return h

    def _enter(self, x):
        if self.style.resize == "conv":
            return conv(x, self.widths[0], dtype=self.dtype, name="enter")
        return linear(gather(x, self.patch), self.widths[0], dtype=self.dtype, name="enter")

    def _merge(self, h, level):
        how = {"features": self.widths[level + 1], "dtype": self.dtype, "name": f"merge{level}"}
        return (
            conv(h, stride=2, **how) if self.style.resize == "conv" else linear(gather(h, 2), **how)
        )

    def _split(self, h, skip, level):
        width, name = self.widths[level], f"split{level}"
        if self.style.resize == "conv":
            h = jnp.repeat(jnp.repeat(h, 2, axis=1), 2, axis=2)
            h = conv(h, width, dtype=self.dtype, name=name)
        else:
            h = scatter(linear(h, 4 * width, dtype=self.dtype, name=name), 2)
        factor = self.param(f"fac{level}", nn.initializers.constant(0.5), (1,))
        return skip + factor.astype(self.dtype).reshape(1, 1, 1, 1) * (h - skip)

    def _leave(self, h):
        if self.style.resize == "conv":
            return conv(h, self.out_channels, dtype=self.dtype, name="leave")
        features = self.patch**2 * self.out_channels
        h = linear(h, features, zero=self.style.zero_out, dtype=self.dtype, name="leave")
        return scatter(h, self.patch)


def gather(x: Tokens, side: int) -> Float[Array, "b h2 w2 c2"]:
    """``side x side`` tokens into the channels of one: row, then column, then channel."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // side, side, width // side, side, channels)
    return x.swapaxes(2, 3).reshape(batch, height // side, width // side, -1)


def scatter(x: Tokens, side: int) -> Float[Array, "b h2 w2 c2"]:
    """The inverse of :func:`gather`."""
    batch, height, width, _ = x.shape
    x = x.reshape(batch, height, width, side, side, -1).swapaxes(2, 3)
    return x.reshape(batch, side * height, side * width, -1)


def fourier_features(
    inputs: Float[Array, "b n"], frequency: Float[Array, "half n"]
) -> Float[Array, "b full"]:
    """Cosines, then sines, of ``2 pi frequency . input``."""
    exact = jax.lax.Precision.HIGHEST  # a phase of several turns
    phase = 2 * math.pi * jnp.matmul(inputs, frequency.T, precision=exact)
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)
