"""The times at which a flow is trained, one a sample, each from the sample's own key."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from elir_jax.types import SampleKeys, Time

TIMES = ("stratified", "uniform", "logit_normal")


def draw_times(kind: str, keys: SampleKeys, slot: Int[Array, " b"], batch_size: int) -> Time:
    """Times in [0, 1].

    ``stratified``: one in each of ``batch_size`` equal strata, ``(slot + u) / batch_size`` with
    the sample's ``slot`` in the global batch, however many devices share it (PMRF's). ``uniform``:
    each by itself. ``logit_normal``: the sigmoid of a normal. Raises ValueError for other kinds.
    """
    if kind == "logit_normal":
        return jax.nn.sigmoid(jax.vmap(jax.random.normal)(keys))
    u = jax.vmap(jax.random.uniform)(keys)
    if kind == "uniform":
        return u
    if kind != "stratified":
        raise ValueError(f"time must be one of {TIMES}, got {kind!r}")
    return stratified(u, slot, batch_size)


def on_grid(t: Time, grid: int) -> Time:
    """The times of [0, 1) rounded down to ``{0, 1, ..., grid - 1} / grid``."""
    return jnp.minimum(jnp.floor(t * grid), grid - 1) / grid


def stratified(u: Time, slot: Int[Array, " b"], batch_size: int) -> Time:
    """``(slot + u) / batch_size``, for ``u`` in [0, 1)."""
    return (slot + u) / batch_size
