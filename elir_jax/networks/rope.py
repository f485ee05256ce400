"""Axial rotary positions: queries and keys are rotated by the position of their token.

Crowson et al., 2024 (HDiT, https://arxiv.org/abs/2401.11605). A token has a row and a column in
[-1, 1]; every head turns half of its channels by angles ``position * frequency``, half of them by
the row and half by the column. Neighbouring heads have neighbouring frequencies.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LOWEST, HIGHEST = math.pi, 10 * math.pi  # radians a unit of position; the highest is left out


def positions(height: int, width: int) -> Float[np.ndarray, "h w 2"]:
    """(row, column) of the centres of ``height x width`` equal cells.

    The longer side spans [-1, 1], the shorter one less in proportion: cells are square. The mean of
    2x2 cells is a cell of the grid of half the sides, so every level has the positions of its size.
    """
    longer = max(height, width)
    rows = (2 * np.arange(height) + 1 - height) / longer
    columns = (2 * np.arange(width) + 1 - width) / longer
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).astype(np.float32)


def frequencies(heads: int, head_dim: int) -> Float[np.ndarray, "heads f"]:
    """``head_dim / 8`` frequencies for each head; all together range from pi to 10 pi.

    Raises ValueError if ``head_dim`` is no multiple of 8.
    """
    if head_dim % 8:
        raise ValueError(f"head_dim must be a multiple of 8, got {head_dim}")
    count = heads * head_dim // 8
    ratio = math.log(HIGHEST / LOWEST) * np.arange(count) / count
    exponents = (math.log(LOWEST) + ratio).astype(np.float32)  # rounded here, as in the reference
    return np.exp(exponents).reshape(head_dim // 8, heads).T.copy()


def angles(height: int, width: int, heads: int, head_dim: int) -> Float[Array, "h w heads a"]:
    """Angles in radians for each token, ``head_dim / 4`` for each head: rows, then columns."""
    place = jnp.asarray(positions(height, width))[:, :, None]
    frequency = frequencies(heads, head_dim)[None, None]
    return jnp.concatenate([place[..., i : i + 1] * frequency for i in (0, 1)], axis=-1)


def rotate(
    x: Float[Array, "b h w heads e"], theta: Float[Array, "h w heads a"]
) -> Float[Array, "b h w heads e"]:
    """Turn channel ``i`` and ``i + a`` by angle ``i``; channels from ``2 a`` stay. In float32."""
    count = theta.shape[-1]
    first, second, rest = jnp.split(x, (count, 2 * count), axis=-1)
    first, second = first.astype(jnp.float32), second.astype(jnp.float32)
    cos, sin = jnp.cos(theta)[None], jnp.sin(theta)[None]
    turned = [first * cos - second * sin, second * cos + first * sin]
    return jnp.concatenate([*(part.astype(x.dtype) for part in turned), rest], axis=-1)
