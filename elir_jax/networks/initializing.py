"""Untrained parameters of a module, without computing with it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from elir_jax.types import Params


def initialize(module: nn.Module, key: jax.Array, *shapes: tuple[int, ...]) -> Params:
    """The collections that ``module.init`` gives for float32 inputs of these shapes.

    Only what does not depend on the inputs is computed, and so nothing else is compiled.
    """
    inputs = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    return module.lazy_init(key, *inputs)
