"""Pieces of HDiT: norms, attention and gated feed-forward blocks, the mapping network.

Crowson et al., 2024 (https://arxiv.org/abs/2401.11605). Blocks are residual; each normalises its
input by its root mean square, with a gain that the condition sets. Norms, rotations, softmax and
everything that acts on the condition are computed in float32. The condition is one vector for each
sample.
"""

import dataclasses
import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from elir_jax.networks.attention import global_attention, neighbourhood_attention
from elir_jax.networks.layers import uniform_fan_in
from elir_jax.networks.rope import angles, rotate

EXPANSION = 3  # hidden width of a feed-forward block, in widths
EPS = 1e-6
SCALE = 10.0  # of cosine similarities, at the start

Tokens = Float[Array, "b h w c"]
Condition = Float[Array, "b d"]


@dataclasses.dataclass(frozen=True)
class Style:
    """The differences between two published transformers of this family.

    Attributes:
        scaling: logits are cosine similarities times a learned factor for each head, or ``q . k /
            sqrt(head_dim)``.
        gate: which half of a block's widened channels is the gate.
        depthwise: whether a 3x3 depth-wise convolution follows each widening map.
        biases: whether the maps of a block have biases (widening ones: their convolutions).
        zero_out: whether the last map of each block, and of the network, starts at zero.
        hidden_multiple: hidden widths are rounded to a multiple of it.
        resize: squares of tokens are merged and split by linear maps, or by 3x3 convolutions.
        augmentation: whether the condition has the constant that remains of HDiT's second input.
        out_eps: eps of the network's last norm.
    """

    scaling: Literal["cosine", "plain"] = "cosine"
    gate: Literal["first", "second"] = "second"
    depthwise: bool = False
    biases: bool = False
    zero_out: bool = True
    hidden_multiple: int = 1
    resize: Literal["patch", "conv"] = "patch"
    augmentation: bool = True
    out_eps: float = EPS

    def hidden(self, width: int) -> int:
        """Hidden width of a feed-forward block; a half is rounded down."""
        step = self.hidden_multiple
        return (EXPANSION * width + (step - 1) // 2) // step * step


PIXEL = Style()  # HDiT, as PMRF has it
LATENT = Style(  # Latent-PMRF's
    scaling="plain",
    gate="first",
    depthwise=True,
    biases=True,
    zero_out=False,
    hidden_multiple=64,
    resize="conv",
    augmentation=False,
    out_eps=float(jnp.finfo(jnp.float32).eps),
)


def linear(
    x: Float[Array, "*any c"],
    features: int,
    *,
    use_bias: bool = False,
    zero: bool = False,
    dtype: DTypeLike = jnp.float32,
    name: str,
) -> Float[Array, "*any c2"]:
    """Linear map of the channels; a submodule of the caller. ``zero`` starts it at zero."""
    init = nn.initializers.zeros if zero else uniform_fan_in(x.shape[-1])
    return nn.Dense(
        features, use_bias=use_bias, dtype=dtype, kernel_init=init, bias_init=init, name=name
    )(x)


def rms_norm(
    x: Float[Array, "*any c"], gain: Float[Array, "..."], eps: float = EPS
) -> Float[Array, "*any c"]:
    """``x * gain / rms(x)`` over the channels."""
    mean_square = jnp.mean(jnp.square(x.astype(jnp.float32)), axis=-1, keepdims=True)
    return x * (gain * jax.lax.rsqrt(mean_square + eps)).astype(x.dtype)


class RMSNorm(nn.Module):
    """Root-mean-square norm with a learned gain."""

    eps: float = EPS

    @nn.compact
    def __call__(self, x: Float[Array, "*any c"]) -> Float[Array, "*any c"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        return rms_norm(x, scale.reshape((1,) * (x.ndim - 1) + (-1,)), self.eps)


def adaptive_norm(x: Tokens, condition: Condition, style: Style, name: str) -> Tokens:
    """Norm with gain ``1 + linear(condition)``, initially 1; a submodule of the caller."""
    gain = 1 + linear(condition, x.shape[-1], use_bias=style.biases, zero=True, name=name)
    return rms_norm(x, gain[:, None, None])


def widen(
    x: Tokens, features: int, style: Style, dtype: DTypeLike, name: str
) -> Float[Array, "b h w c2"]:
    """The map into queries, keys and values, or into a gate's halves; submodules of the caller."""
    x = linear(x, features, dtype=dtype, name=name)
    return Depthwise(style.biases, dtype, name=f"{name}_depthwise")(x) if style.depthwise else x


def geglu(x: Float[Array, "*any c"], gate: str) -> Float[Array, "*any c2"]:
    """One half of the channels times GELU (the exact one) of the other, the ``gate``."""
    first, second = jnp.split(x, 2, axis=-1)
    values, gates = (first, second) if gate == "second" else (second, first)
    return values * jax.nn.gelu(gates, approximate=False)


class Depthwise(nn.Module):
    """3x3 convolution of each channel separately, padded by 1."""

    use_bias: bool
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        height, width, channels = x.shape[1:]
        init = uniform_fan_in(9)
        kernel = self.param("kernel", init, (3, 3, channels)).astype(self.dtype)
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        # Nine shifted products: for a convolution with so many groups, and for its gradient, XLA's
        # CPU backend takes ten times as long.
        y = sum(
            padded[:, i : i + height, j : j + width] * kernel[i, j].reshape(1, 1, 1, -1)
            for i in range(3)
            for j in range(3)
        )
        if self.use_bias:
            y += self.param("bias", init, (channels,)).astype(self.dtype).reshape(1, 1, 1, -1)
        return y


class SelfAttention(nn.Module):
    """``x + out(attention(x))``; ``kernel`` is the neighbourhood's side, or 0 for all tokens."""

    head_dim: int
    kernel: int
    style: Style
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Tokens, condition: Condition) -> Tokens:
        height, width, channels = x.shape[1:]
        heads = channels // self.head_dim
        h = adaptive_norm(x, condition, self.style, "norm")
        h = widen(h, 3 * channels, self.style, self.dtype, "qkv")
        q, k, v = jnp.moveaxis(h.reshape(*h.shape[:3], 3, heads, self.head_dim), 3, 0)
        scale = 1 / math.sqrt(self.head_dim)
        if self.style.scaling == "cosine":
            scale = 1.0
            factor = self.param("scale", nn.initializers.constant(SCALE), (heads,))
            root = jnp.sqrt(factor).reshape(1, 1, 1, -1, 1)
            q, k = (x * (root * _inverse_norm(x)).astype(x.dtype) for x in (q, k))
        theta = angles(height, width, heads, self.head_dim)
        q, k = rotate(q, theta), rotate(k, theta)
        if self.kernel:
            h = neighbourhood_attention(q, k, v, self.kernel, scale)
        else:
            h = global_attention(q, k, v, scale)
        return x + _out(h.reshape(x.shape), channels, self.style, self.dtype, "out")


class FeedForward(nn.Module):
    """``x + down(geglu(up(x)))``."""

    style: Style
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Tokens, condition: Condition) -> Tokens:
        channels = x.shape[-1]
        h = adaptive_norm(x, condition, self.style, "norm")
        h = widen(h, 2 * self.style.hidden(channels), self.style, self.dtype, "up")
        h = geglu(h, self.style.gate)
        return x + _out(h, channels, self.style, self.dtype, "down")


class Block(nn.Module):
    """Attention, then feed-forward."""

    head_dim: int
    kernel: int
    style: Style
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Tokens, condition: Condition) -> Tokens:
        x = SelfAttention(self.head_dim, self.kernel, self.style, self.dtype, name="attention")(
            x, condition
        )
        return FeedForward(self.style, self.dtype, name="feed_forward")(x, condition)


class Mapping(nn.Module):
    """The network of the condition: ``depth`` feed-forward blocks between two norms, float32."""

    depth: int
    style: Style

    @nn.compact
    def __call__(self, condition: Condition) -> Condition:
        width, gate = condition.shape[-1], "second"  # in either style
        x = RMSNorm(name="in_norm")(condition)
        for i in range(self.depth):
            h = RMSNorm(name=f"norm{i}")(x)
            h = geglu(linear(h, 2 * self.style.hidden(width), name=f"up{i}"), gate)
            x = x + linear(h, width, zero=True, name=f"down{i}")
        return RMSNorm(name="out_norm")(x)


def _inverse_norm(x):
    return jax.lax.rsqrt(jnp.sum(jnp.square(x.astype(jnp.float32)), -1, keepdims=True) + EPS)


def _out(x, features, style, dtype, name):
    """The last map of a block."""
    return linear(x, features, use_bias=style.biases, zero=style.zero_out, dtype=dtype, name=name)
