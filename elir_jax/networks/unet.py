"""Velocity network: a U-Net of convolutions only (section 7.1.2), as the release builds it.

Strided convolutions shrink, 4x4 transposed ones enlarge, and every residual block has a 1x1
shortcut. ``channel_multipliers=(1, 2, 1, 2)`` is the release's; a multiplier of 1 keeps the
resolution.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from elir_jax.networks.layers import (
    CollapsibleConv,
    conv,
    dense,
    time_embedding,
    uniform_fan_in,
)
from elir_jax.networks.repeating import repeat
from elir_jax.types import Latent, Time

GROUPS = 32
EPSILON = 1e-5
TIME_EXPANSION = 4  # width of the time features, in embedding dimensions


class NormActConv(nn.Module):
    """GroupNorm, SiLU, collapsible 3x3 convolution."""

    features: int
    form: str = "plain"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        # The two-pass variance: the fast one loses digits if the mean of a group is large.
        h = nn.GroupNorm(
            GROUPS, epsilon=EPSILON, use_fast_variance=False, dtype=self.dtype, name="norm"
        )(x)
        return CollapsibleConv(self.features, self.form, self.dtype, name="conv")(nn.silu(h))


class ResidualBlock(nn.Module):
    """Two NormActConv with the time added between them, and a 1x1 shortcut."""

    features: int
    form: str = "plain"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x, time):
        h = NormActConv(self.features, self.form, self.dtype, name="block0")(x)
        shift = dense(nn.silu(time), self.features, dtype=self.dtype, name="time")
        h = h + shift[:, None, None, :]
        h = NormActConv(self.features, self.form, self.dtype, name="block1")(h)
        return h + conv(x, self.features, kernel_size=1, dtype=self.dtype, name="shortcut")


class Upsample(nn.Module):
    """4x4 transposed convolution of stride 2 that doubles height and width.

    Each output row sees two input rows through every other row of the kernel, and so do columns:
    four 2x2 convolutions, one for each parity of row and column, run as one matrix product. XLA's
    own form spreads the input with zeros, and its weight gradient is ten times slower on a CPU.
    """

    features: int
    dtype: DTypeLike = jnp.float32
    kernel_init: nn.initializers.Initializer | None = None

    @nn.compact
    def __call__(self, x):
        # PyTorch counts the fan-in of a transposed convolution over its output channels.
        init = self.kernel_init or uniform_fan_in(16 * self.features)
        return _Transposed(self.features, self.dtype, init, name="conv")(x)


class _Transposed(nn.Module):
    """The parameters of flax's ``ConvTranspose``, and its output."""

    features: int
    dtype: DTypeLike
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape
        kernel = self.param("kernel", self.kernel_init, (4, 4, c, self.features))
        bias = self.param("bias", self.kernel_init, (self.features,))
        # (row of the 2x2, parity, column, parity, in, out) -> parities beside the outputs
        taps = kernel.reshape(2, 2, 2, 2, c, self.features).transpose(0, 2, 4, 1, 3, 5)
        padded = jnp.pad(x.astype(self.dtype), ((0, 0), (1, 1), (1, 1), (0, 0)))
        seen = [padded[:, r : r + h + 1, s : s + w + 1] for r in range(2) for s in range(2)]
        y = jnp.concatenate(seen, -1) @ taps.reshape(4 * c, -1).astype(self.dtype)
        y = y.reshape(b, h + 1, w + 1, 2, 2, self.features)
        # An odd row begins one input row later than an even one.
        rows = [[y[:, r : r + h, s : s + w, r, s] for s in range(2)] for r in range(2)]
        y = jnp.stack([jnp.stack(row, axis=3) for row in rows], axis=2)
        return y.reshape(b, 2 * h, 2 * w, -1) + bias.astype(self.dtype).reshape(1, 1, 1, -1)


def contract(net, z: Latent, t: Time, token: Float[Array, "b d"] | None):
    """The U-Net's way down: (middle, time features, skips), as submodules of the caller.

    ``net`` is a module with the fields of :class:`UNet`. The ``token`` is added to the time
    features, which every block sees.
    """
    dtype = net.dtype
    time = time_embedding(t, net.time_dim).astype(dtype)
    wide = TIME_EXPANSION * net.time_dim
    time = dense(time, wide, dtype=dtype, name="time_in")
    time = dense(nn.silu(time), wide, dtype=dtype, name="time_out")
    if token is not None:
        time = time + token.astype(dtype)
    h = conv(z.astype(dtype), net.hidden, kernel_size=1, dtype=dtype, name="conv_in")
    skips = []
    for i, multiplier in enumerate(net.channel_multipliers):
        h = ResidualBlock(h.shape[-1], net.form, dtype, name=f"down{i}")(h, time)
        skips.append(h)
        if multiplier != 1:
            h = conv(h, multiplier * h.shape[-1], stride=2, dtype=dtype, name=f"downsample{i}")
    block = functools.partial(ResidualBlock, h.shape[-1], net.form, dtype)
    h = repeat(net, block, [f"mid{i}" for i in range(net.num_mid_blocks)], h, time)
    return h, time, skips


class UNet(nn.Module):
    """Latent ``z_t`` (b, lh, lw, c) and time ``t`` (b,) -> velocity of the same shape.

    Raises ValueError unless lh and lw are multiples of 2 to the number of multipliers other than 1,
    and every width is a multiple of 32 (the groups of its normalisation).

    A student of the flow may give more: a ``token``, added to the time features, and ``residuals``,
    added to the skips in their order and to the middle behind them.
    """

    hidden: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 1, 2)
    num_mid_blocks: int = 3
    time_dim: int = 160
    form: str = "plain"
    dtype: DTypeLike = jnp.float32

    @property
    def factor(self) -> int:
        """The number that must divide the height and width of the latents."""
        return 2 ** sum(m != 1 for m in self.channel_multipliers)

    def _check(self, z: Latent) -> None:
        if z.shape[1] % self.factor or z.shape[2] % self.factor:
            raise ValueError(
                f"U-Net: latent height and width must be multiples of {self.factor} (pixels: of "
                f"{8 * self.factor}), got latents of {z.shape[1:3]}"
            )
        if self.hidden % GROUPS:
            raise ValueError(f"U-Net: hidden must be a multiple of {GROUPS}, got {self.hidden}")

    @nn.compact
    def __call__(
        self,
        z: Latent,
        t: Time,
        token: Float[Array, "b d"] | None = None,
        residuals: Sequence[Float[Array, "_ _ _ _"]] | None = None,
    ) -> Latent:
        self._check(z)
        dtype = self.dtype
        h, time, skips = contract(self, z, t, token)
        if residuals is not None:
            *added, middle = residuals
            skips = [skip + one for skip, one in zip(skips, added, strict=True)]
            h = h + middle
        for i, multiplier in enumerate(reversed(self.channel_multipliers)):
            if multiplier != 1:
                h = Upsample(h.shape[-1] // multiplier, dtype, name=f"upsample{i}")(h)
            joined = jnp.concatenate([h, skips.pop()], axis=-1)
            h = ResidualBlock(h.shape[-1], self.form, dtype, name=f"up{i}")(joined, time)
        h = NormActConv(h.shape[-1], self.form, dtype, name="final")(h)
        v = conv(h, z.shape[-1], kernel_size=1, dtype=dtype, name="conv_out")
        return v.astype(jnp.float32)
