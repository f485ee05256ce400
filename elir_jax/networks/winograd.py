"""3x3 convolution by Winograd's F(2x2, 3x3): 16 products for 4 outputs instead of 36.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), section 4.1. It is
faster if the products take longer than the transforms: with many channels and an image that fits
the caches, as in the latent networks on a CPU. Kernels are transformed once, beforehand. The result
differs from the direct one by float32 rounding.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from elir_jax.types import Params

FEWEST_CHANNELS = 64  # in and out; with fewer, the transforms cost what the products save
LARGEST = 128 * 128  # pixels at a time; with more, 4 times the input does not fit the caches

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)


def is_wide(channels: int, features: int) -> bool:
    """Whether a convolution has enough channels."""
    return min(channels, features) >= FEWEST_CHANNELS


def transform_kernel(kernel: Float[Array, "3 3 c c2"]) -> Float[Array, "4 4 c c2"]:
    """``G k G^T`` for every pair of channels."""
    return jnp.einsum("ai,bj,ijcd->abcd", G, G, kernel, precision=jax.lax.Precision.HIGHEST)


def original_kernel(u: Float[Array, "4 4 c c2"]) -> Float[Array, "3 3 c c2"]:
    """The inverse of :func:`transform_kernel`, to rounding."""
    rows = jnp.stack([u[0], u[1] - u[2], u[3]])
    return jnp.stack([rows[:, 0], rows[:, 1] - rows[:, 2], rows[:, 3]], axis=1)


def transform_kernels(params: Params) -> Params:
    """The parameters, with the kernels of every wide :class:`CollapsibleConv` transformed."""

    def one(name: str, child):
        if not isinstance(child, dict):
            return child
        shape = child["kernel"].shape if "kernel" in child else ()
        if name.startswith("conv") and shape[:2] == (3, 3) and is_wide(*shape[2:]):
            return child | {"kernel": transform_kernel(jnp.asarray(child["kernel"]))}
        return transform_kernels(child)

    return {name: one(name, child) for name, child in params.items()}


def winograd_conv3x3(
    x: Float[Array, "b h w c"], u: Float[Array, "4 4 c c2"]
) -> Float[Array, "b h w c2"]:
    """Convolution of stride 1, padded by 1, with a transformed kernel."""
    b, height, width, c = x.shape
    at_once = min(b, LARGEST // (height * width))  # images
    if at_once == 0:
        return jax.lax.conv_general_dilated(
            x,
            original_kernel(u),
            (1, 1),
            [(1, 1)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    groups = x.reshape(-1, math.gcd(b, at_once), height, width, c)
    if len(groups) == 1:
        return _convolve(x, u)
    return jax.lax.map(lambda images: _convolve(images, u), groups).reshape(b, height, width, -1)


# As a program of its own it is traced once for many layers; XLA puts the calls in line.
@jax.jit
def _convolve(x: Float[Array, "b h w c"], u: Float[Array, "4 4 c c2"]) -> Float[Array, "b h w c2"]:
    b, height, width, c = x.shape
    h, w = -(-height // 2), -(-width // 2)  # tiles of 2x2 outputs
    padded = jnp.pad(x, ((0, 0), (1, 1 + height % 2), (1, 1 + width % 2), (0, 0)))
    pairs = padded.reshape(b, h + 1, 2, w + 1, 2, c)
    rows = _input(pairs[:, :h, 0], pairs[:, :h, 1], pairs[:, 1:, 0], pairs[:, 1:, 1])
    tiles = [
        tile.reshape(b * h * w, c)
        for row in rows
        for tile in _input(row[:, :, :w, 0], row[:, :, :w, 1], row[:, :, 1:, 0], row[:, :, 1:, 1])
    ]
    products = jnp.matmul(jnp.stack(tiles), u.reshape(16, c, -1)).reshape(4, 4, b, h, w, -1)
    columns = [_output(*products[:, j]) for j in range(4)]
    y = [_output(*(columns[j][i] for j in range(4))) for i in range(2)]
    y = jnp.stack([jnp.stack(row, axis=3) for row in y], axis=2)
    return y.reshape(b, 2 * h, 2 * w, -1)[:, :height, :width]


def forget_traces() -> None:
    """Free what jax keeps of tracing these convolutions, for each shape."""
    _convolve.clear_cache()


def _input(d0, d1, d2, d3):
    """``B^T d``."""
    return d0 - d2, d1 + d2, d2 - d1, d1 - d3


def _output(m0, m1, m2, m3):
    """``A^T m``."""
    return m0 + m1 + m2, m1 - m2 - m3
