"""Checkpoints: the whole state, the position in the data and the configuration, by orbax.

Saving is asynchronous and atomic: a run killed while it saves keeps the checkpoint before.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from elir_jax.errors import UserError
from elir_jax.training.state import TrainState
from elir_jax.types import Params


def read_averaged(folder: Path) -> tuple[int, Params, Params]:
    """(step, averaged weights, frozen weights) of the newest checkpoint, whatever its network.

    Arrays are NumPy's. Raises UserError where there is no whole checkpoint.
    """
    checkpoints = Checkpoints(folder)
    step = checkpoints.latest_step()
    checkpoints.close()
    if step is None:
        raise UserError(f"{folder}: no checkpoint here")
    path = folder.absolute() / str(step) / "state"
    try:
        with ocp.PyTreeCheckpointer() as reader:
            leaves = reader.metadata(path).item_metadata.tree
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), leaves)
            state = reader.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"{path}: not a whole checkpoint; remove the folder {step}") from error
    return step, state["ema"], state["frozen"]


def leaf_shapes(tree: Any) -> dict[str, str]:
    """Path of each leaf -> its type and shape, as text."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in leaves
    }


class Checkpoints:
    """The checkpoints of one run, the newest ``keep`` of them."""

    def __init__(self, folder: Path, keep: int = 2):
        self.folder = folder.absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder}: is a file; checkpoints want a folder of this name")
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
            item_names=("state", "run"),
        )

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, data_state: dict, config: dict) -> None:
        """Start saving ``state``; the step's number names it. Does nothing where it is saved."""
        step = int(state.step)
        if self.latest_step() == step:
            return
        run = {"leaves": leaf_shapes(state), "data": data_state, "config": config}
        saved = self._manager.save(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), run=ocp.args.JsonSave(run)),
            force=True,
        )
        if not saved:
            raise UserError(f"{self.folder}: orbax refused to save step {step}; use a new workdir")

    def wait(self) -> None:
        """Wait until what was started is on disk; raises what went wrong there."""
        self._manager.wait_until_finished()
        self._manager.check_for_errors()

    def restore(self, like: TrainState) -> tuple[TrainState, dict]:
        """(newest state, data position); ``like`` has its shapes, types and placement.

        Raises UserError where there is no checkpoint or it belongs to another network.
        """
        step = self.latest_step()
        if step is None:
            raise UserError(
                f"{self.folder}: no checkpoint here; train first, or name its --workdir"
            )
        only_run = ocp.args.Composite(run=ocp.args.JsonRestore())
        try:
            run = self._manager.restore(step, args=only_run)["run"]
        except (KeyError, ValueError, OSError) as error:
            raise UserError(
                f"{self.folder}/{step}: not a whole checkpoint; remove this folder to go on from "
                f"the one before it"
            ) from error
        self._compare(step, run["leaves"], leaf_shapes(like))
        state = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(like))
        )["state"]
        return state, run["data"]

    def close(self) -> None:
        """Finish saving and let go of the folder."""
        self._manager.close()

    def _compare(self, step: int, stored: dict[str, str], wanted: dict[str, str]) -> None:
        for path in [*wanted, *stored]:
            if stored.get(path) != wanted.get(path):
                raise UserError(
                    f"{self.folder}/{step}: the checkpoint belongs to another network: {path} is "
                    f"{stored.get(path, 'absent')} there and {wanted.get(path, 'absent')} in this "
                    f"configuration; use its own configuration or another --workdir"
                )
