"""Where a run begins: at its newest intact checkpoint, or at step 0; the same on every host."""

import json
from typing import Any

import numpy as np

from elir_jax.devices import hosts
from elir_jax.devices.mesh import replicate
from elir_jax.errors import UserError
from elir_jax.running.records.checkpoint import Saved, arrange, read_newest, steps_in
from elir_jax.running.records.workdir import lock
from elir_jax.running.records.writers import FOLDER
from elir_jax.running.run import Run
from elir_jax.storage.place import Place
from elir_jax.training.state import TrainState

# Fields that may change when a run is resumed: they change how long, how often and how fast the run
# works, not its result. The path of the training images may change too: their fingerprint is
# compared.
FREE = {"num_steps", "max_skipped_steps", "accumulate", "rematerialize", "log_every",
        "checkpoint_every", "keep_checkpoints", "keep_every", "evaluate_every", "keep_best",
        "data.path", "data.eval_path", "data.workers", "data.on_error",
        "data.max_bad_share"}  # fmt: skip
# Values of fields that are newer than a checkpoint's configuration, in the order that they came in.
ADDED = {"optimizer.schedule": "constant", "optimizer.warmup_steps": 0, "optimizer.clip_norm": 0.0,
         "autoencoder.linear": False, "ema.ramp": "exponential", "estimator.weights": "",
         "velocity.weights": "", "data.degrade_on": "host", "precision": "highest",
         "optimizer.warmup_from": 0.0, "optimizer.final_share": 0.0, "optimizer.decay_steps": 0,
         "objective.grid": 0, "objective.sample_latents": False,
         "encoder.weights": "", "estimator.kind": "rrdb", "sampler.fidelity": 1.0,
         "degradation.denoising.sigmas": []}  # fmt: skip
FREE_SECTIONS = ("evaluation.", "sampler.")
LOCAL = {"data.path", "data.eval_path"}  # may differ between the processes of a run
NONE = -1  # the process sees no checkpoint


def begin(
    run: Run, workdir: Place, allow_config_change: bool
) -> tuple[TrainState, dict[str, int] | None]:
    """(state, position in the data) to train from; locks the folder for this run.

    The position is None if the run starts at step 0. Raises UserError, on every host, if another
    run uses the folder, if all checkpoints are damaged or belong to another network, if the
    configuration has changed without permission, or if another host sees a newer checkpoint than
    the first.
    """
    like = run.state_like()
    tree: Any = None

    def decide() -> dict | None:
        nonlocal tree
        lock(workdir)
        saved = read_newest(workdir / FOLDER)
        if saved is None:
            tree = run.init_state(workdir)
            return None
        if not allow_config_change:
            _compare(workdir, saved, run.config)
        tree = arrange(saved, like, workdir / FOLDER)
        return saved.data

    check_hosts(run.config | {"held_out": run.about["held_out"]})
    check_newest(workdir)
    position = hosts.decided_by_first(decide)
    state = replicate(hosts.tree_from_first(tree, like))
    return state, position


def check_hosts(config: dict) -> None:
    """Raise UserError, on all, unless all processes have the same configuration and images.

    Also in fields that may change when a run is resumed: what they do together depends on them.
    """
    fields = {field: value for field, value in flatten(config).items() if field not in LOCAL}
    hosts.check_same(fields, "configuration or images")


def check_newest(workdir: Place) -> None:
    """Raise UserError, on all, if another process sees a newer checkpoint than the first.

    Only the first process reads its folder. If the processes changed places or moved to other
    machines, the run would otherwise silently start from the beginning.
    """
    own = hosts.agreed(lambda: max(steps_in(workdir / FOLDER), default=NONE))
    newest = hosts.gather(np.asarray(own, np.int32))
    ahead = int(newest.argmax())
    if newest[ahead] > newest[0]:
        first = f"step {newest[0]}" if newest[0] > NONE else "none"
        raise UserError(
            f"{workdir}: process {ahead} sees a checkpoint of step {newest[ahead]}, process 0 sees "
            f"{first}; put the folder where every host sees it, or copy it to process 0's host"
        )


def how_it_starts(workdir: Place, step: int, resumed: bool, num_steps: int) -> str:
    """A line that says from which step a run trains."""
    if not resumed:
        return f"starting {workdir} at step 0: no checkpoint in it"
    if step > num_steps:
        return (
            f"{workdir} is at step {step} already, beyond --config.num_steps={num_steps}: "
            f"evaluating step {step}"
        )
    return f"resuming {workdir} at step {step}"


def differences(there: dict, here: dict) -> list[str]:
    """The differences that prevent resuming, as ``field: there -> here``."""
    old, new = ADDED | flatten(there), ADDED | flatten(here)
    return [
        f"{field}: {_show(old, field)} -> {_show(new, field)}"
        for field in sorted(old.keys() | new.keys())
        if _show(old, field) != _show(new, field) and not is_free(field, new)
    ]


def is_free(field: str, config: dict[str, Any]) -> bool:
    """Whether a field of a flat configuration may change when a run is resumed."""
    if field.startswith("degradation.") and field != "degradation.name":
        return field.split(".")[1] != config.get("degradation.name")  # of a task not trained here
    if field == "num_steps" and _rates_depend_on_the_length(config):
        return False
    return field in FREE or field.startswith(FREE_SECTIONS)


def _rates_depend_on_the_length(config: dict[str, Any]) -> bool:
    """Whether a learning rate, everybody's or a group's own, falls to the last step."""
    groups = [field.split(".")[2] for field in config if field.startswith("optimizer.groups.")]
    for places in (["optimizer"], *(["optimizer", f"optimizer.groups.{name}"] for name in groups)):
        rule = {
            field: config[f"{place}.{field}"]
            for place in places
            for field in ("schedule", "decay_steps", "frozen")
            if f"{place}.{field}" in config
        }
        falls = rule.get("schedule") == "cosine" and not rule.get("frozen")
        if falls and not rule.get("decay_steps"):
            return True
    return False


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """``{"data": {"size": 64}}`` -> ``{"data.size": 64}``."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _compare(workdir: Place, saved: Saved, config: dict) -> None:
    changed = differences(saved.config, config)
    if changed:
        raise UserError(
            f"{workdir}: was trained to step {saved.step} with another configuration: "
            f"{'; '.join(changed)}; restore it, choose another --workdir, or accept the change "
            f"with --allow-config-change"
        )


def _show(fields: dict[str, Any], field: str) -> str:
    return json.dumps(fields[field]) if field in fields else "(absent)"
