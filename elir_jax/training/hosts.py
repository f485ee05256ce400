"""Many hosts: joining them, and what only the first one does or decides.

The first process owns the run's folder: it reads and writes checkpoints, logs and draws. What it
decides, and why it refuses, the others are told. Each process holds the whole state.
"""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from elir_jax.errors import UserError


def join(
    distributed: bool, coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Join the other processes, as the command line says; alone where it says nothing.

    ``distributed``: JAX finds them itself (TPU pods, Slurm, GKE, Open MPI). Raises UserError.
    """
    given = [coordinator is not None, num_processes is not None, process_id is not None]
    if not distributed and not any(given):
        return
    if any(given) and not all(given):
        raise UserError(
            "--coordinator HOST:PORT, --num-processes N and --process-id I go together; on a TPU "
            "pod, Slurm, GKE or Open MPI give --distributed instead"
        )
    if all(given) and not 0 <= process_id < num_processes:
        raise UserError(f"--process-id={process_id}: must lie in 0..{num_processes - 1}")
    # Signals are ours to answer (elir_jax.training.stopping): JAX's own service would take them.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
        multihost_utils.sync_global_devices("start")
    except (RuntimeError, ValueError) as error:
        text = str(error).partition("\n")[0]
        raise UserError(f"the processes did not find each other: {text}") from error


def is_first() -> bool:
    """Whether this process owns the run's folder."""
    return jax.process_index() == 0


def alone() -> bool:
    """Whether there is no other process."""
    return jax.process_count() == 1


def decided_by_first(decide: Callable[[], Any]) -> Any:
    """``decide()`` of the first process, a JSON value, on all; its UserError is raised on all."""
    if alone():
        return decide()
    answer: dict[str, Any] = {}
    if is_first():
        try:
            answer = {"value": decide()}
        except UserError as error:
            answer = {"error": str(error)}
    text = np.frombuffer(json.dumps(answer).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    text = text if is_first() else np.zeros(length, np.uint8)
    answer = json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(text), np.uint8)))
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["value"]


def tree_from_first(tree: Any, like: Any) -> Any:
    """The first process's arrays on all, bit for bit; the others give their shapes by ``like``."""
    if alone():
        return tree

    def send(shape, leaf):
        # As bytes: a sum with zeros, which is how they travel, would change the sign of -0.
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
