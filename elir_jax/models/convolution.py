"""3x3 convolution of large images with a weight gradient that a CPU computes at a good rate.

The weight gradient is itself a convolution, with the whole image as its kernel. XLA's CPU backend
loses two thirds of the machine's rate there once image and gradient no longer fit its caches, and
more with several images. Taken by image and by bands of rows, and summed, it is the same gradient:
``python benchmarks/layers.py`` shows both. Elsewhere nothing changes.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BAND = 16384  # pixels a band, and of the smallest image that is cut
MOST_BANDS = 64  # in one gradient: each is compiled by itself
LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv3x3(
    x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c c2"]
) -> Float[Array, "b h w c2"]:
    """Convolution of stride 1, padded by 1 on every side."""
    # The gradient is traced later, out of the reach of the caller's default.
    return _conv3x3(x, kernel, jax.config.jax_default_matmul_precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv3x3(x, kernel, precision):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=LAYOUT, precision=precision
    )


def _forward(x, kernel, precision):
    return _conv3x3(x, kernel, precision), (x, kernel)


def _backward(precision, kept, dy):
    x, kernel = kept
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    dx = _conv3x3(dy, turned, precision)
    whole = functools.partial(weight_gradient, precision=precision)
    dkernel = jax.lax.platform_dependent(
        x, dy, cpu=functools.partial(banded_weight_gradient, precision=precision), default=whole
    )
    return dx, dkernel.astype(kernel.dtype)


_conv3x3.defvjp(_forward, _backward)


def weight_gradient(
    x: Float[Array, "b h w c"], dy: Float[Array, "b h2 w c2"], *, precision=None
) -> Float[Array, "3 3 c c2"]:
    """Gradient of the kernel, where ``dy`` is that of the output.

    ``dy`` is as high as ``x``, or two rows less where ``x`` brings the rows around it.
    """
    pad = (dy.shape[1] - x.shape[1] + 2) // 2
    return jax.lax.conv_general_dilated(
        x,
        dy,
        (1, 1),
        [(pad, pad), (1, 1)],
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        precision=precision,
    )


def banded_weight_gradient(
    x: Float[Array, "b h w c"], dy: Float[Array, "b h w c2"], *, precision=None
) -> Float[Array, "3 3 c c2"]:
    """The same as a sum over images and bands of rows, added up in float32."""
    rows, height, width, channels = x.shape
    if dy.shape[3] < channels:  # the wider one had better be the kernel
        turned = banded_weight_gradient(dy, x, precision=precision)
        return jnp.flip(turned, (0, 1)).swapaxes(2, 3)
    if height * width < BAND:
        return weight_gradient(x, dy, precision=precision)
    bands = max(1, min(height * width // BAND, MOST_BANDS // rows, height))
    cuts = [height * i // bands for i in range(bands + 1)]
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    total = jnp.zeros((), jnp.float32)
    for i in range(rows):
        for top, bottom in itertools.pairwise(cuts):
            band, seen = padded[i : i + 1, top : bottom + 2], dy[i : i + 1, top:bottom]
            total += weight_gradient(band, seen, precision=precision).astype(jnp.float32)
    return total.astype(x.dtype)
