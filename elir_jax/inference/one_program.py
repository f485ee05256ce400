"""Restore whole pictures of one size in one program."""

from collections.abc import Sequence

import jax
from jaxtyping import Array, Float, Key

from elir_jax.inference.parts import Part
from elir_jax.types import Params

Elements = Float[Array, "b h w c"]


def run_parts(
    parts: Sequence[Part], params: Params, frozen: Params, x: Elements, key: Key[Array, ""]
) -> Elements:
    """The restorations of ``x``; ``key`` gives the noise."""
    outputs = {}
    for part in parts:
        eps = jax.random.normal(key, x.shape) if part.noisy else None
        given = (x, outputs[part.also]) if part.also else x
        x = outputs[part.name] = part.apply(params, frozen, given, eps)[-1]
    return x
