"""Modules as pure functions, each traced once.

An objective calls a network several times, and every objective, loss and stage that uses it traces
it again. As a program of its own, a network is traced and lowered once for each shape of its inputs
and called from then on. XLA puts the calls in line, so the compiled program is the same.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from elir_jax.networks import winograd
from elir_jax.networks.target import target


def apply_fn(module: nn.Module, dtype: DTypeLike) -> Callable:
    """The module as a function of (parameters, inputs)."""
    apply = variables_fn(module, dtype)
    return lambda params, *inputs: apply({"params": params}, *inputs)


def variables_fn(module: nn.Module, dtype: DTypeLike) -> Callable:
    """The module as a function of (variables, inputs).

    If the compute type is float32, products are float32 too, unless the caller chose another
    precision (``jax.default_matmul_precision``); otherwise GPUs and TPUs would shorten them.
    """
    exact = jnp.dtype(dtype) == jnp.float32

    def apply(variables, *inputs):
        chosen = jax.config.jax_default_matmul_precision or "highest"
        with jax.default_matmul_precision(chosen if exact else "default"):
            return _apply(module, target(), variables, *inputs)

    return apply


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(module: nn.Module, traced_for: str, variables, *inputs):
    # Layers ask for the target themselves; as an argument it keeps the traces apart.
    return module.apply(variables, *inputs)


def forget_traces() -> None:
    """Free what jax keeps of tracing networks; a compiled program needs it no more."""
    _apply.clear_cache()
    winograd.forget_traces()
