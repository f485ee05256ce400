"""3x3 convolutions of pairs of columns, for a TPU: no lane is empty.

A TPU holds channels in lanes of 128. Of an image of 64 channels half the lanes are padding, in
memory, in each transfer, and twice over (in and out) in the matrix unit. Two neighbouring columns
side by side, (b, h, w, c) as (b, h, w/2, 2c), fill the lanes. A 3x3 kernel becomes one over three
pairs whose other half is zeros: the same sums, in another order.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from elir_jax.networks.layers import uniform_fan_in

LANES = 128


def pair(x: Float[Array, "b h w c"]) -> Float[Array, "b h w2 c2"]:
    """Two neighbouring columns become one, with the channels of the left one first."""
    return x.reshape(*x.shape[:2], x.shape[2] // 2, 2 * x.shape[3])


def unpair(x: Float[Array, "b h w2 c2"]) -> Float[Array, "b h w c"]:
    """The inverse of :func:`pair`."""
    return x.reshape(*x.shape[:2], 2 * x.shape[2], x.shape[3] // 2)


def double_pairs(x: Float[Array, "b h w2 c2"]) -> Float[Array, "b h4 w c2"]:
    """Nearest-neighbour enlargement by two: each column becomes a pair of itself."""
    columns = unpair(x)
    return jnp.concatenate([columns, columns], -1).repeat(2, axis=1)


def pair_kernel(kernel: Float[Array, "3 3 c c2"], stride: int) -> Float[Array, "3 3 two_c two_c2"]:
    """The kernel that gives pairs from pairs what ``kernel`` gives columns from columns."""
    # Of the six columns of three pairs, the left result sees those around the third, the right one
    # those ``stride`` further on.
    shifts = [(1 + stride * right, 2 - stride * right) for right in range(2)]
    both = [jnp.pad(kernel, ((0, 0), shift, (0, 0), (0, 0))) for shift in shifts]
    return jnp.concatenate(both, -1).reshape(3, 3, 2 * kernel.shape[2], -1)


class _PairedConv(nn.Module):
    """As flax's ``Conv`` of 3x3, with its parameters, padded by 1; from pairs to pairs.

    With a stride of 2, the number of pairs must be even.
    """

    features: int
    stride: int = 1
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        channels = x.shape[-1] // 2
        init = uniform_fan_in(9 * channels)
        kernel = self.param("kernel", init, (3, 3, channels, self.features))
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            pair_kernel(kernel, self.stride).astype(self.dtype),
            (self.stride, self.stride),
            [(1, 1), (1, 2 - self.stride)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        if not self.use_bias:
            return y
        bias = self.param("bias", init, (self.features,))
        return y + jnp.tile(bias.astype(self.dtype), 2).reshape(1, 1, 1, -1)


def paired_conv(
    x: Float[Array, "b h w c"],
    features: int,
    *,
    stride: int = 1,
    use_bias: bool = True,
    dtype: DTypeLike = jnp.float32,
    name: str,
) -> Float[Array, "b h2 w2 c2"]:
    """As :func:`elir_jax.networks.layers.conv`, of pairs; ``features`` are those of a column."""
    return _PairedConv(features, stride, use_bias, dtype, name=name)(x)
