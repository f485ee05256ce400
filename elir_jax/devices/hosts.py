"""Many hosts: how they join, and what only the first process does or decides.

The first process owns the run's folder: it reads and writes checkpoints, writes logs and draws. If
it decides or refuses something, it tells the others. Each process holds the whole state.
"""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from elir_jax.errors import UserError

T = TypeVar("T")


def join(
    distributed: bool, coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Join the other processes that the command line names; without any, do nothing.

    If ``distributed``, JAX finds them itself (TPU pods, Slurm, GKE, Open MPI). Raises UserError.
    """
    given = [coordinator is not None, num_processes is not None, process_id is not None]
    if not distributed and not any(given):
        return
    if any(given) and not all(given):
        raise UserError(
            "give all of --coordinator HOST:PORT, --num-processes N and --process-id I; on a TPU "
            "pod, Slurm, GKE or Open MPI give --distributed instead"
        )
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(f"--coordinator={coordinator}: must be HOST:PORT")
    if all(given) and not 0 <= process_id < num_processes:
        raise UserError(f"--process-id={process_id}: must lie in 0..{num_processes - 1}")
    # We handle signals ourselves (elir_jax.running.stopping); JAX's own service would take them.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        if all(given):  # do not let a cluster manager limit each process to one device
            jax.distributed.initialize(
                coordinator, num_processes, process_id, cluster_detection_method="deactivate"
            )
        else:
            jax.distributed.initialize()
        multihost_utils.sync_global_devices("start")
    except Exception as error:  # from JAX, or from a cluster's own package
        text = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"the processes did not find each other: {text}") from error


def is_first() -> bool:
    """Whether this process owns the run's folder."""
    return jax.process_index() == 0


def devices() -> str:
    """The number and kind of all devices, as text."""
    number, processes = jax.device_count(), jax.process_count()
    kind = jax.devices()[0].device_kind
    return f"{number} x {kind}" + (f" of {processes} processes" if processes > 1 else "")


def alone() -> bool:
    """Whether there is no other process."""
    return jax.process_count() == 1


def decided_by_first(decide: Callable[[], Any]) -> Any:
    """The first process's ``decide()``, a JSON value, on all; its UserError is raised on all."""
    if alone():
        return decide()
    answer: dict[str, Any] = {}
    raised: Exception | None = None
    if is_first():
        try:
            answer = {"value": decide()}
        except Exception as error:  # the others must not wait for a result that will not come
            answer, raised = {"error": str(error)}, error
    text = np.frombuffer(json.dumps(answer).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    text = text if is_first() else np.zeros(length, np.uint8)
    answer = json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(text), np.uint8)))
    if raised is not None:
        raise raised
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["value"]


def agreed(work: Callable[[], T]) -> T:
    """``work()`` on every process; if it fails on one, all raise, the others a UserError."""
    if alone():
        return work()
    value: Any = None
    raised: Exception | None = None
    try:
        value = work()
    except Exception as error:
        raised = error
    failed = gather(np.asarray([raised is not None]))
    if raised is not None:
        raise raised
    if failed.any():
        number = int(failed.ravel().argmax())
        raise UserError(f"process {number} could not continue; its own log gives the reason")
    return value


def any_of(flag: bool) -> bool:
    """Whether ``flag`` is set on any process."""
    return bool(gather(np.asarray([flag])).any())


def check_same(fields: dict[str, Any], what: str) -> None:
    """Raise UserError, on all, unless ``fields`` (JSON values) are the same on every process."""
    text = np.frombuffer(json.dumps(fields, sort_keys=True).encode(), np.uint8)
    lengths = gather(np.asarray(len(text), np.int32))
    room = np.zeros(lengths.max(), np.uint8)
    room[: len(text)] = text
    rows = zip(gather(room), lengths, strict=True)
    first, *others = (json.loads(row[:length].tobytes()) for row, length in rows)
    for number, other in enumerate(others, 1):
        names = [name for name in sorted({*first, *other}) if _at(first, name) != _at(other, name)]
        if names:
            shown = [f"{name}: {_at(first, name)} -> {_at(other, name)}" for name in names[:4]]
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            raise UserError(
                f"process {number} differs from process 0 in its {what}: {'; '.join(shown)}{more}; "
                f"start all with the same"
            )


def _at(fields: dict[str, Any], name: str) -> str:
    return json.dumps(fields[name]) if name in fields else "(absent)"


def leave() -> None:
    """Disconnect from the others before this process ends abruptly."""
    if not alone():
        jax.distributed.shutdown()


def tree_from_first(tree: Any, like: Any) -> Any:
    """The first process's arrays on all, bit for bit; the others give the shapes in ``like``."""
    if alone():
        return tree

    def send(shape, leaf):
        # As bytes: arrays are sent as a sum with zeros, which would change the sign of -0.
        empty = np.zeros(shape.shape, shape.dtype)
        data = np.ascontiguousarray(empty if leaf is None else leaf).reshape(-1).view(np.uint8)
        sent = np.asarray(multihost_utils.broadcast_one_to_all(data), np.uint8)
        return sent.view(shape.dtype).reshape(shape.shape)

    if tree is None:
        return jax.tree.map(lambda shape: send(shape, None), like)
    return jax.tree.map(send, like, tree)


def gather(rows: np.ndarray) -> np.ndarray:
    """Every process's ``rows`` (of one shape), stacked: ``[processes, *rows.shape]``."""
    if alone():
        return rows[None]
    return np.asarray(multihost_utils.process_allgather(rows))


def gather_rows(rows: np.ndarray) -> np.ndarray:
    """Every process's ``rows [n, width]``, one after another, as float32; ``n`` may differ.

    A process without rows does not need to know their width.
    """
    if alone():
        return rows
    shapes = gather(np.asarray(rows.shape, np.int32))
    room = np.zeros(shapes.max(axis=0), np.float32)
    room[: len(rows), : rows.shape[1]] = rows
    parts = zip(gather(room), shapes[:, 0], strict=True)
    return np.concatenate([part[:count] for part, count in parts])
