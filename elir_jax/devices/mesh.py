"""Run functions on all devices at once: the only file that uses ``pmap``.

The state has no device axis (``in_axes=None``), so ``int(state.step)`` and saving need no
unreplicating; the host cuts batches into one piece for each device.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from elir_jax.devices.programs import Programs
from elir_jax.errors import UserError
from elir_jax.networks.applying import forget_traces
from elir_jax.training.state import TrainState
from elir_jax.training.step import AXIS, Metrics, StepRequest, Verdict
from elir_jax.types import Sent


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
    """Put a tree on every device; otherwise the step would be traced twice."""
    return jax.device_put(tree, _everywhere())


def _everywhere() -> NamedSharding:
    return NamedSharding(Mesh(np.asarray(jax.local_devices()), (AXIS,)), PartitionSpec())


def _shard(tree: Any) -> Any:
    devices = jax.local_device_count()
    return jax.tree.map(lambda a: a.reshape(devices, a.shape[0] // devices, *a.shape[1:]), tree)


StepFn = Callable[[TrainState, Sent, StepRequest], tuple[TrainState, Metrics, Verdict]]


def parallel_step(step: Callable[..., tuple[TrainState, Metrics, Verdict]]) -> StepFn:
    """``step(state, batch, request, axis_name=...)`` over all devices of all hosts.

    The given state is donated; each host gives its own batch and request.
    """
    mapped = _mapped(step)
    return lambda state, batch, request: mapped(state, _shard(batch), _for_each_device(request))


def compiled_step(
    step: Callable[..., tuple[TrainState, Metrics, Verdict]], state: TrainState, batch: Sent
) -> jax.stages.Compiled:
    """The program that :func:`parallel_step` runs on one host; shapes suffice as arguments."""
    shards = jax.eval_shape(_shard, batch)
    return _mapped(step).lower(state, shards, _for_each_device(StepRequest(0))).compile()


def _mapped(step: Callable[..., tuple[TrainState, Metrics, Verdict]]):
    return jax.pmap(
        functools.partial(step, axis_name=AXIS),
        axis_name=AXIS,
        in_axes=(None, 0, 0),
        out_axes=(None, None, None),
        donate_argnums=0,
    )


def _for_each_device(request: StepRequest) -> StepRequest:
    devices = jax.local_device_count()
    return StepRequest(
        np.full(devices, request.after, np.int32),
        np.full(devices, request.stop, np.float32),
        np.full(devices, request.empty, np.float32),
    )


def parallel_map(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn(shared, batched)`` with the leading axis of ``batched`` spread over this host's devices.

    If the number of rows is no multiple of the number of devices, the last row is repeated, and the
    surplus results are cut off again. Each host works alone: nothing is sent between them. Few
    programs are loaded at a time (:mod:`elir_jax.devices.programs`).
    """
    everywhere = _everywhere()
    spread = NamedSharding(everywhere.mesh, PartitionSpec(AXIS))

    def build(shared, batched):
        # A function of its own for each program, for jax keeps what it traced with the function.
        # Not pmap's: its cache would hold the program for ever.
        mapped = jax.jit(
            jax.shard_map(
                functools.partial(fn),
                mesh=everywhere.mesh,
                in_specs=(PartitionSpec(), spread.spec),
                out_specs=spread.spec,
                check_vma=False,  # nothing is sent between devices
            ),
            in_shardings=(everywhere, spread),
            out_shardings=spread,
        )
        compiled = mapped.lower(shared, batched).compile()
        mapped.clear_cache()
        forget_traces()
        return compiled

    programs = Programs(build)

    def call(shared, batched):
        rows = jax.tree.leaves(batched)[0].shape[0]
        extra = _round_up(rows, jax.local_device_count()) - rows
        padded = jax.tree.map(
            lambda a: np.concatenate([a, np.repeat(a[-1:], extra, axis=0)]) if extra else a, batched
        )
        # With several processes, a program takes an array of the host only in place on its devices.
        results = jax.device_get(programs(shared, jax.device_put(padded, spread)))
        return jax.tree.map(lambda a: a[:rows], results)

    return call
