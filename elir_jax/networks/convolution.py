"""3x3 convolutions of large images with a weight gradient that a CPU computes fast.

The weight gradient is itself a convolution, with the whole image as its kernel. If image and
gradient do not fit the caches, XLA's CPU backend computes it slowly, and more slowly still for
several images. The sum over images and bands of rows is the same gradient, and faster:
``python benchmarks/layers.py`` shows both. On other devices nothing changes.
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.networks.target import target

BAND = 16384  # pixels of a band, and of the smallest image that is cut into bands
MOST_BANDS = 64  # in one gradient, because each is compiled separately
LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv3x3(
    x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c c2"], stride: int = 1
) -> Float[Array, "b h2 w2 c2"]:
    """Convolution padded by 1 on every side."""
    # The gradient is traced later, when the caller's default no longer applies.
    return _conv3x3(x, kernel, stride, jax.config.jax_default_matmul_precision)


def _plain(x, kernel, stride, precision):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(1, 1)] * 2, dimension_numbers=LAYOUT, precision=precision
    )


_conv3x3 = jax.custom_vjp(_plain, nondiff_argnums=(2, 3))


def _forward(x, kernel, stride, precision):
    return _plain(x, kernel, stride, precision), (x, kernel)


def _backward(stride, precision, kept, dy):
    x, kernel = kept
    # Not with platform_dependent, which traces every branch: for a GPU or a TPU up to 64
    # convolutions of each layer would be traced and then dropped.
    on_cpu = target() == "cpu"
    gradient = banded_weight_gradient if on_cpu else weight_gradient
    dkernel = gradient(x, dy, stride=stride, precision=precision)
    (dx,) = jax.linear_transpose(lambda x: _plain(x, kernel, stride, precision), x)(dy)
    return dx, dkernel


_conv3x3.defvjp(_forward, _backward)


def weight_gradient(
    x: Float[Array, "b h w c"],
    dy: Float[Array, "b h2 w2 c2"],
    *,
    stride: int = 1,
    precision=None,
    pad_rows: int = 1,
) -> Float[Array, "3 3 c c2"]:
    """Gradient of the kernel; ``dy`` is the gradient of the output.

    If ``pad_rows=0``, ``x`` contains the rows around ``dy`` itself.
    """
    return jax.lax.conv_general_dilated(
        x,
        dy,
        (1, 1),
        # With a stride of 2, no output sees the last row or column of an even side.
        [(pad_rows, pad_rows - _unseen(x, dy, stride, 1, pad_rows)),
         (1, 1 - _unseen(x, dy, stride, 2, 1))],
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        precision=precision,
    )  # fmt: skip


def _unseen(x, dy, stride, axis, pad):
    """Rows (or columns) of the padded ``x`` that no output sees."""
    return x.shape[axis] + 2 * pad - (stride * (dy.shape[axis] - 1) + 3)


def banded_weight_gradient(
    x: Float[Array, "b h w c"], dy: Float[Array, "b h2 w2 c2"], *, stride: int = 1, precision=None
) -> Float[Array, "3 3 c c2"]:
    """The same as a sum over images and bands of rows, in float32."""
    if stride == 1 and dy.shape[3] < x.shape[3]:  # faster if the wider one is the kernel
        turned = banded_weight_gradient(dy, x, precision=precision)
        return jnp.flip(turned, (0, 1)).swapaxes(2, 3)
    pixels, height = x.shape[1] * x.shape[2], dy.shape[1]
    if pixels < BAND:
        return weight_gradient(x, dy, stride=stride, precision=precision)
    bands = max(1, min(pixels // BAND, MOST_BANDS // x.shape[0], height))
    cuts = [height * i // bands for i in range(bands + 1)]
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    total = jnp.zeros((), jnp.float32)
    for i in range(x.shape[0]):
        for top, bottom in itertools.pairwise(cuts):
            band = padded[i : i + 1, stride * top : stride * (bottom - 1) + 3]
            seen = dy[i : i + 1, top:bottom]
            total += weight_gradient(
                band, seen, stride=stride, precision=precision, pad_rows=0
            ).astype(jnp.float32)
    return total.astype(x.dtype)
