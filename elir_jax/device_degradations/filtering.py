"""Correlate each sample with its own kernel.

A convolution of one channel would not use matrix units well. Instead, for each row of the kernel,
the picture is cut into blocks of columns, and each block with its margin is multiplied by a small
banded matrix. The products of all rows together are one convolution along the height, of 52
channels to 32.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float32

from elir_jax.device_degradations.canvas import Canvas, mirrored

KernelWeights = Float32[Array, "taps taps"]
WIDTH = 32  # columns of a block


def filter_picture(canvas: Canvas, kernel: KernelWeights) -> Canvas:
    """Correlate each channel with ``kernel``, whose side is odd.

    The picture is mirrored at its edges, without repeating the edge pixels.
    """
    height, width = canvas.pixels.shape[:2]
    taps = kernel.shape[0]
    margin, blocks = taps // 2, -(-width // WIDTH)
    rows = mirrored(jnp.arange(height + 2 * margin) - margin, canvas.height)
    columns = jnp.arange(blocks)[:, None] * WIDTH + jnp.arange(WIDTH + 2 * margin)[None] - margin
    columns = mirrored(columns, canvas.width)
    tall = jnp.take(canvas.pixels, rows, axis=0, mode="clip")
    wide = jnp.take(tall, columns, axis=1, mode="clip")  # rows, blocks, columns of each, channels
    wide = wide.transpose(1, 3, 2, 0).reshape(blocks * 3, WIDTH + 2 * margin, -1)
    results = lax.conv_general_dilated(
        wide,
        _bands(kernel),
        window_strides=(1,),
        padding="VALID",
        dimension_numbers=("NCH", "OIH", "NCH"),
        precision=lax.Precision.HIGHEST,
    )
    pixels = results.reshape(blocks, 3, WIDTH, height).transpose(3, 0, 2, 1)
    return canvas._replace(pixels=pixels.reshape(height, blocks * WIDTH, 3)[:, :width])


def _bands(kernel: KernelWeights) -> Float32[Array, "columns seen taps"]:
    """For each row of the kernel, the weights of a block's columns in the columns they see."""
    taps = kernel.shape[0]
    offset = jnp.arange(WIDTH + taps - 1)[None] - jnp.arange(WIDTH)[:, None]
    weights = jnp.take(kernel, jnp.clip(offset, 0, taps - 1), axis=1)  # taps, columns, seen
    within = (offset >= 0) & (offset < taps)
    return jnp.where(within[..., None], weights.transpose(1, 2, 0), 0.0)
