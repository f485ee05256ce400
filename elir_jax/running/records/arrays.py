"""Write and read trees of NumPy arrays with orbax; the only file that uses orbax."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

LIBRARY = f"orbax-checkpoint {ocp.__version__}"


def save_tree(path: Path, tree: Any) -> None:
    """Write ``tree`` as the new folder ``path``."""
    with _handler() as writer:
        writer.save(path.absolute(), args=ocp.args.PyTreeSave(tree))


def load_tree(path: Path) -> dict[str, Any]:
    """The tree in ``path``, as nested dictionaries. Raises any exception of orbax."""
    with _handler() as reader:
        as_numpy = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
            reader.metadata(path.absolute()).item_metadata.tree,
        )
        return reader.restore(path.absolute(), args=ocp.args.PyTreeRestore(restore_args=as_numpy))


def _handler() -> ocp.Checkpointer:
    """Orbax for this process only: the others neither write nor wait."""
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix="checkpoint",
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)
