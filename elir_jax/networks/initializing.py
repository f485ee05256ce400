"""Untrained parameters of a module, without applying its layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from elir_jax.types import Params


def initialize(module: nn.Module, key: jax.Array, *shapes: tuple[int, ...]) -> Params:
    """The collections that ``module.init`` gives for float32 inputs of these shapes.

    Only what depends on no input is computed and compiled: parameters, and what is made of them
    alone, such as collapsed kernels.
    """
    inputs = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    return module.lazy_init(key, *inputs)
