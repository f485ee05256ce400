"""Equal blocks one after another: for a TPU a loop over one block, elsewhere written out.

Each convolution of a TPU's program is hundreds of kilobytes of code and seconds of compilation. The
parameters stay as they are, a tree for each block; the loop stacks them.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from elir_jax.networks.target import target


def repeat(
    parent: nn.Module, make: Callable[..., nn.Module], names: Sequence[str], x: jax.Array, *given
) -> jax.Array:
    """``x`` through the blocks ``make(name=...)`` of ``parent``, which also see ``given``.

    All of them have parameters of the same shapes and give what they get: the shape of ``x``.
    """
    if target() != "tpu" or parent.is_initializing() or len(names) < 2:
        for name in names:
            x = make(name=name)(x, *given)
        return x
    params = parent.variables["params"]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(params[name] for name in names))
    block = make(parent=None)

    def one(x, params):
        return block.apply({"params": params}, x, *given), None

    return jax.lax.scan(one, x, stacked)[0]
