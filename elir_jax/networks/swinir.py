"""SwinIR: degraded picture -> estimate of its posterior mean, in pixels.

Liang et al., 2021 (https://arxiv.org/abs/2108.10257), in the form that DifFace trained and PMRF
uses: pixels are unshuffled by 8, groups of Swin blocks work at 1/8 of the picture's sides, and
three doublings restore the size. Blocks attend within windows of 8x8 tokens. In every second block
the windows are shifted cyclically by half a window; tokens from opposite edges do not mix.

In training, blocks are skipped at random (stochastic depth), later ones more often.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from elir_jax.networks.layers import conv
from elir_jax.types import Image, SampleKeys

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K's pixels, as SwinIR subtracts it
SHUFFLE, WINDOW = 8, 8
FACTOR = SHUFFLE * WINDOW  # sides of a picture are multiples of it: windows are whole
DOUBLINGS = int(math.log2(SHUFFLE))
EXPANSION = 2  # hidden width of a block's feed-forward half, in widths
DROP_PATH = 0.1  # probability that the last block is skipped
SEPARATE = -100.0  # added to the logits of tokens that must not mix

Tokens = Float[Array, "b h w c"]


class SwinIR(nn.Module):
    """RGB in [0, 1] -> the same shape, float32, not clipped; sides are multiples of 64.

    With ``keys``, one a sample, blocks are left out at random, as in training.

    Attributes:
        width: channels of the tokens.
        depths: blocks of each group.
        heads: attention heads of each block.
        features: channels on the way back to pixels.

    Raises ValueError for sides and sizes that do not fit.
    """

    width: int = 180
    depths: tuple[int, ...] = (6,) * 8
    heads: int = 6
    features: int = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Image, keys: SampleKeys | None = None) -> Image:
        if x.shape[1] % FACTOR or x.shape[2] % FACTOR:
            raise ValueError(f"SwinIR: sides must be multiples of {FACTOR}, got {x.shape[1:3]}")
        if self.width % self.heads:
            raise ValueError(f"SwinIR: width {self.width} is no multiple of {self.heads} heads")
        mean = jnp.asarray(MEAN).reshape(1, 1, 1, -1)
        shallow = self._conv(unshuffle((x - mean).astype(self.dtype)), self.width, "conv_first")
        h = layer_norm(shallow, self.dtype, "first_norm")
        rates = np.linspace(0, DROP_PATH, sum(self.depths))
        kept = iter([None] * len(rates) if keys is None else drop_path(keys, rates))
        for g, depth in enumerate(self.depths):
            skip = h
            for i in range(depth):
                block = SwinBlock(self.heads, i % 2 == 1, self.dtype, name=f"group{g}_block{i}")
                h = block(h, next(kept))
            h = self._conv(h, self.width, f"group{g}_conv") + skip
        h = layer_norm(h, self.dtype, "last_norm")
        h = self._conv(h, self.width, "conv_body") + shallow
        # This slope is PyTorch's default, the others are SwinIR's.
        h = nn.leaky_relu(self._conv(h, self.features, "conv_features"), 0.01)
        for i in range(DOUBLINGS):
            h = jnp.repeat(jnp.repeat(h, 2, axis=1), 2, axis=2)
            h = nn.leaky_relu(self._conv(h, self.features, f"conv_up{i}"), 0.2)
        h = nn.leaky_relu(self._conv(h, self.features, "conv_hr"), 0.2)
        return self._conv(h, x.shape[-1], "conv_last").astype(jnp.float32) + mean

    def _conv(self, x, features, name):
        return conv(x, features, dtype=self.dtype, name=name)


class SwinBlock(nn.Module):
    """Attention within windows, then feed-forward, each residual.

    ``kept`` multiplies both, sample by sample: see :func:`drop_path`.
    """

    heads: int
    shifted: bool
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Tokens, kept: Float[Array, "2 b"] | None = None) -> Tokens:
        channels = x.shape[-1]
        h = layer_norm(x, self.dtype, "norm1")
        q, k, v = jnp.split(self._linear(h, 3 * channels, "qkv"), 3, axis=-1)
        h = self._linear(self._attend(q, k, v), channels, "proj")
        x = x + _weighted(h, kept, 0)
        h = layer_norm(x, self.dtype, "norm2")
        h = jax.nn.gelu(self._linear(h, EXPANSION * channels, "fc1"), approximate=False)
        return x + _weighted(self._linear(h, channels, "fc2"), kept, 1)

    def _attend(self, q, k, v):
        batch, height, width, channels = q.shape
        windows = (height // WINDOW) * (width // WINDOW)
        table = self.param("bias_table", _NEAR_ZERO, ((2 * WINDOW - 1) ** 2, self.heads))
        bias = jnp.moveaxis(table[relative_places()], -1, 0)[None]  # (1, heads, q, k)
        shift = WINDOW // 2 if self.shifted else 0
        if shift:
            bias = bias[None] + shift_mask(height, width)[:, None, None]

        def cut(x):
            x = jnp.roll(x, (-shift, -shift), (1, 2))
            x = x.reshape(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, -1)
            return x.swapaxes(2, 3).reshape(batch, windows, WINDOW**2, self.heads, -1)

        attend = jax.vmap(
            lambda q, k, v, bias: jax.nn.dot_product_attention(q, k, v, bias=bias),
            in_axes=(1, 1, 1, 0 if shift else None),
            out_axes=1,
        )
        h = attend(cut(q), cut(k), cut(v), bias)
        h = h.reshape(batch, height // WINDOW, width // WINDOW, WINDOW, WINDOW, channels)
        return jnp.roll(h.swapaxes(2, 3).reshape(q.shape), (shift, shift), (1, 2))

    def _linear(self, x, features, name):
        return nn.Dense(features, dtype=self.dtype, kernel_init=_NEAR_ZERO, name=name)(x)


# The release truncates this normal distribution at +-2, a hundred of its deviations.
_NEAR_ZERO = nn.initializers.normal(0.02)


def drop_path(keys: SampleKeys, rates: Float[np.ndarray, " blocks"]) -> Float[Array, "blocks 2 b"]:
    """Weights of each block's two halves: 0 if left out, else such that the mean stays.

    A sample's follow from its own key alone.
    """
    chance = jnp.asarray(1 - rates, jnp.float32)[:, None]
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, chance, (len(rates), 2)), out_axes=-1)
    return kept(keys) / chance[..., None]


def _weighted(h: Tokens, kept: Float[Array, "2 b"] | None, half: int) -> Tokens:
    return h if kept is None else h * kept[half].astype(h.dtype)[:, None, None, None]


def layer_norm(x: Tokens, dtype: DTypeLike, name: str) -> Tokens:
    """Norm of each token's channels, in float32; a submodule of the caller."""
    return nn.LayerNorm(epsilon=1e-5, dtype=dtype, use_fast_variance=False, name=name)(x)


def unshuffle(x: Float[Array, "b h w c"]) -> Float[Array, "b h8 w8 c64"]:
    """8x8 pixels into the channels of one token: channel, then row, then column."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // SHUFFLE, SHUFFLE, width // SHUFFLE, SHUFFLE, channels)
    x = x.transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(batch, height // SHUFFLE, width // SHUFFLE, -1)


def relative_places() -> Int[np.ndarray, "q k"]:
    """Row of the bias table for each pair of a query and a key of one window."""
    row, column = np.divmod(np.arange(WINDOW**2), WINDOW)
    down, right = (place[:, None] - place[None] + WINDOW - 1 for place in (row, column))
    return (2 * WINDOW - 1) * down + right


def shift_mask(height: int, width: int) -> Float[Array, "windows q k"]:
    """-100 between tokens of shifted windows that come from opposite edges of the picture."""

    def region(length):
        """The region of each position: inside, or first or second half of the last window."""
        place = np.arange(length)
        return (place >= length - WINDOW).astype(int) + (place >= length - WINDOW // 2)

    regions = 3 * region(height)[:, None] + region(width)[None]
    shape = (height // WINDOW, WINDOW, width // WINDOW, WINDOW)
    regions = jnp.asarray(regions.reshape(shape).swapaxes(1, 2).reshape(-1, WINDOW**2))
    return jnp.where(regions[:, :, None] != regions[:, None], SEPARATE, 0.0)
