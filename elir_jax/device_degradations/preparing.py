"""The first lines of a train step that degrades: 8-bit originals -> pairs.

Everything random about a pair follows from the bits that came with its original, so devices, hosts
and accumulated parts may share the samples in any way.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float32, Key, UInt8

from elir_jax.device_degradations.tasks import DeviceDegradation, degrade
from elir_jax.pictures.levels import from_levels
from elir_jax.types import Batch, Originals

Picture = Float32[Array, "size size 3"]


def prepare(degradation: DeviceDegradation, size: int, originals: Originals) -> Batch:
    """Degrade each original with the key of its own, and cut the pair of ``size`` out of both."""
    keys = jax.vmap(functools.partial(jax.random.wrap_key_data, impl="threefry2x32"))(
        originals.bits
    )
    pairs = jax.vmap(functools.partial(_pair, degradation, size))(keys, originals.pixels)
    return Batch(*pairs, record=originals.record, slot=originals.slot)


def _pair(
    degradation: DeviceDegradation, size: int, key: Key[Array, ""], pixels: UInt8[Array, "h w 3"]
) -> tuple[Picture, Picture]:
    place_key, degrade_key = jax.random.split(key)
    x_hq = from_levels(pixels)
    x_lq = degrade(degradation, degrade_key, x_hq)
    room = [side - size for side in pixels.shape[:2]]
    if not any(room):
        return x_hq, x_lq
    top, left = jax.random.randint(place_key, (2,), 0, jnp.array(room) + 1)
    return tuple(lax.dynamic_slice(x, (top, left, 0), (size, size, 3)) for x in (x_hq, x_lq))
