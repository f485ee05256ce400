"""All devices at once: the only file that says ``pmap``.

The state carries no device axis (``in_axes=None``), so ``int(state.step)`` and saving need no
unreplicating; batches are cut into one piece a device on the host.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from elir_jax.errors import UserError
from elir_jax.training.state import TrainState
from elir_jax.training.step import Metrics
from elir_jax.types import Batch

AXIS = "devices"


def check_batch(batch_size: int, accumulate: int) -> None:
    """Raise UserError unless devices and accumulation divide the global batch."""
    devices = jax.device_count()
    if batch_size < 1 or batch_size % (devices * accumulate):
        parts = f"{devices} device(s)" + (f" x accumulate={accumulate}" if accumulate > 1 else "")
        raise UserError(
            f"--config.batch_size={batch_size}: must be a positive multiple of {parts}; "
            f"the nearest larger one is {_round_up(max(batch_size, 1), devices * accumulate)}"
        )


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def replicate(tree: Any) -> Any:
    """Put a tree on every device; without this, the first steps would be traced twice."""
    return jax.device_put(tree, _everywhere())


def replicated_like(shapes: Any) -> Any:
    """A tree of shapes with the placement that :func:`replicate` gives."""
    place = _everywhere()
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes)


def _everywhere() -> NamedSharding:
    return NamedSharding(Mesh(np.asarray(jax.local_devices()), (AXIS,)), PartitionSpec())


def _shard(tree: Any) -> Any:
    devices = jax.local_device_count()
    return jax.tree.map(lambda a: a.reshape(devices, a.shape[0] // devices, *a.shape[1:]), tree)


def parallel_step(
    step: Callable[..., tuple[TrainState, Metrics]],
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """``step(state, batch, axis_name=...)`` over all devices; the given state is donated."""
    mapped = jax.pmap(
        functools.partial(step, axis_name=AXIS),
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        donate_argnums=0,
    )
    return lambda state, batch: mapped(state, _shard(batch))


def parallel_map(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn(shared, batched)`` with the second argument's leading axis spread over the devices.

    The batch is padded to the devices by repeating its last row; the padding is cut off again.
    """
    mapped = jax.pmap(fn, axis_name=AXIS, in_axes=(None, 0))

    def call(shared, batched):
        rows = jax.tree.leaves(batched)[0].shape[0]
        extra = _round_up(rows, jax.local_device_count()) - rows
        padded = jax.tree.map(
            lambda a: np.concatenate([a, np.repeat(a[-1:], extra, axis=0)]) if extra else a, batched
        )
        result = jax.device_get(mapped(shared, _shard(padded)))
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:rows], result)

    return call
