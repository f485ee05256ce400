"""Attention over all tokens, or over each token's neighbourhood (Hassani et al., 2023).

A token attends to a window of ``kernel x kernel`` tokens around it. At a border the window is
shifted, never padded: on a side of length L the window of token i starts at
``clip(i - kernel // 2, 0, L - kernel)``, so every token sees ``kernel ** 2`` tokens. Two forms of
this one function:

- dense: all tokens against all, with a mask. It is the definition, and fastest for small pictures.
- tiled: the tokens are cut into square tiles of side ``kernel + 1``. The windows of one tile lie
  within ``2 kernel`` rows and columns, which slices alone can gather. It computes 4 times as many
  products of queries and keys as the windows have (more if a side is no multiple of the tile), and
  gathered keys take ``(2 kernel / (kernel + 1)) ** 2`` times their size: 3.06 for a kernel of 7.

Products have the type of the inputs; softmax is in float32.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

Heads = Float[Array, "b h w heads e"]


def global_attention(q: Heads, k: Heads, v: Heads, scale: float) -> Heads:
    """Softmax of ``scale * q . k`` over all tokens, for each head."""
    return _over_tokens(q, k, v, scale, None)


def neighbourhood_attention(q: Heads, k: Heads, v: Heads, kernel: int, scale: float) -> Heads:
    """The same over each token's ``kernel x kernel`` window, in the form with fewer products.

    Raises ValueError if the kernel is even or larger than the picture.
    """
    height, width = q.shape[1:3]
    if kernel % 2 == 0 or min(height, width) < kernel:
        raise ValueError(
            f"neighbourhood attention: the kernel must be odd and fit into {height}x{width} "
            f"tokens, got {kernel}"
        )
    tiled = tiled_products(height, width, kernel) < (height * width) ** 2
    form = tiled_neighbourhood if tiled else dense_neighbourhood
    return form(q, k, v, kernel, scale)


def dense_neighbourhood(q: Heads, k: Heads, v: Heads, kernel: int, scale: float) -> Heads:
    """The dense form, for any size of at least ``kernel``."""
    sides = [np.arange(n) for n in q.shape[1:3]]
    rows, columns = (jnp.asarray(_visible(side, side, len(side), kernel)) for side in sides)
    tokens = len(rows) * len(columns)
    mask = rows[:, None, :, None] & columns[None, :, None, :]
    return _over_tokens(q, k, v, scale, mask.reshape(1, 1, tokens, tokens))


def tiled_neighbourhood(q: Heads, k: Heads, v: Heads, kernel: int, scale: float) -> Heads:
    """The tiled form, for any size of at least ``kernel``."""
    batch, height, width, heads, channels = q.shape
    tile, reach = kernel + 1, 2 * kernel
    rows, columns = (jnp.asarray(_tile_mask(n, kernel)) for n in (height, width))
    mask = rows[:, None, :, None, :, None] & columns[None, :, None, :, None, :]
    tiles = len(rows) * len(columns)

    def cut(x, halo):
        """(tiles of all pictures, tokens of a tile, heads, e); ``halo``: tiles with their halo."""
        x = _cut(_cut(x, 1, kernel, halo), 3, kernel, halo)  # b, rows, in row, columns, in column
        return x.swapaxes(2, 3).reshape(batch * tiles, -1, heads, channels)

    masks = (batch, tiles, 1, tile**2, reach**2)
    mask = jnp.broadcast_to(mask.reshape(1, *masks[1:]), masks).reshape(-1, *masks[2:])
    out = _attend(cut(q, False), cut(k, True), cut(v, True), scale, mask)
    out = out.reshape(batch, len(rows), len(columns), tile, tile, heads, channels).swapaxes(2, 3)
    out = out.reshape(batch, len(rows) * tile, len(columns) * tile, heads, channels)
    top, left = (_padding(n, tile)[0] for n in (height, width))
    return out[:, top : top + height, left : left + width]


def tiled_products(height: int, width: int, kernel: int) -> int:
    """The number of query-key products in the tiled form, for each head and picture."""
    tiles = -(-height // (kernel + 1)) * -(-width // (kernel + 1))
    return tiles * (kernel + 1) ** 2 * (2 * kernel) ** 2


def _over_tokens(q, k, v, scale, mask):
    """Attention among all tokens of a picture; each head has its own."""
    batch, height, width, heads, channels = q.shape

    def by_head(x):
        x = jnp.moveaxis(x, 3, 1)
        return x.reshape(batch * heads, height * width, 1, channels)

    out = _attend(*map(by_head, (q, k, v)), scale, mask)
    return jnp.moveaxis(out.reshape(batch, heads, height, width, channels), 1, 3)


def _attend(q, k, v, scale, mask):
    """Many small attentions (n, tokens, heads, e); ``mask`` is None or has n or 1 entries.

    On a CPU they run one after the other, because XLA's batched matrix products are slower there.
    Both ways give the same.
    """

    def together(q, k, v, mask):
        return jax.nn.dot_product_attention(q, k, v, mask=mask, scale=scale)

    def by_turns(q, k, v, mask):
        if mask is None or mask.shape[0] == 1:
            return jax.lax.map(lambda x: together(*x, mask), (q, k, v))
        return jax.lax.map(lambda x: together(*x[:3], x[3][None]), (q, k, v, mask))

    return jax.lax.platform_dependent(q, k, v, mask, cpu=by_turns, default=together)


def _visible(queries, keys, length: int, kernel: int) -> Bool[np.ndarray, "q k"]:
    """Which positions of a side are in the window of each query.

    Queries in the padding use the window of the nearest end: they need some key, because a softmax
    over none is not a number.
    """
    start = np.clip(np.clip(queries, 0, length - 1) - kernel // 2, 0, length - kernel)[:, None]
    return (start <= keys) & (keys < start + kernel)


def _padding(length: int, tile: int) -> tuple[int, int]:
    """The padding before and after a side that completes its tiles, half on each end.

    A tile's windows then lie within ``kernel // 2`` of it even at a border: the padding of one
    end is at most half a tile, and a shifted window reaches half a tile further in.
    """
    missing = -length % tile
    return missing // 2, missing - missing // 2


def _tile_mask(length: int, kernel: int) -> Bool[np.ndarray, "tiles q k"]:
    tile = kernel + 1
    before, after = _padding(length, tile)
    first = np.arange(-before, length + after, tile)
    return np.stack(
        [
            _visible(at + np.arange(tile), at - kernel // 2 + np.arange(2 * kernel), length, kernel)
            for at in first
        ]
    )


def _cut(x, axis: int, kernel: int, halo: bool):
    """Turn one axis into (tiles, positions of a tile); if ``halo``, all positions of its windows.

    A tile with its halo is a block of ``kernel + 1`` positions and most of the next block, so that
    the gradient also consists of slices and sums, not of a scatter.
    """
    tile = kernel + 1
    before, after = _padding(x.shape[axis], tile)
    if halo:
        before, after = before + kernel // 2, after + kernel // 2 + 2  # one block more in all
    pad = [(0, 0)] * x.ndim
    pad[axis] = (before, after)
    x = jnp.pad(x, pad)
    x = x.reshape(*x.shape[:axis], -1, tile, *x.shape[axis + 1 :])
    if not halo:
        return x
    here = jax.lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)
    after = jax.lax.slice_in_dim(x, 1, None, axis=axis)
    after = jax.lax.slice_in_dim(after, 0, kernel - 1, axis=axis + 1)
    return jnp.concatenate([here, after], axis=axis + 1)
