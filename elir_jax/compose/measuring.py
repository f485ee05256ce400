"""Measure a method on the held-out images of a configuration, and say what was measured.

Fields of a configuration are of three kinds here. Those of ``TRAINING`` change no figure of given
weights. Those of ``FREE`` choose what is measured and how it is computed; each evaluation may have
its own. All others, whichever method they are of, belong to the weights.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from elir_jax.compose.data import HeldOutImages
from elir_jax.compose.restoring import restoring
from elir_jax.devices.mesh import replicate
from elir_jax.errors import UserError
from elir_jax.evaluation.measure import LEAST, METRICS, Evaluation, share_of
from elir_jax.fields import plain
from elir_jax.inference.parts import shown_stages
from elir_jax.methods.method import Method
from elir_jax.metrics.perceptual import NOTHING, Perceptual
from elir_jax.running.evaluating import HeldOut, evaluate_held_out
from elir_jax.running.starting import ADDED, flatten
from elir_jax.types import Params

TRAINING = {"num_steps", "batch_size", "accumulate", "rematerialize", "max_skipped_steps",
            "log_every", "checkpoint_every", "keep_checkpoints", "keep_every", "keep_best",
            "evaluate_every", "data.workers", "data.on_error", "data.max_bad_share",
            "data.degrade_on", "evaluation.batch_size", "evaluation.num_samples"}  # fmt: skip
TRAINING_SECTIONS = ("optimizer.", "ema.", "training_images.")
IMAGES = {"data.path", "data.eval_path", "data.held_out", "data.embedded"}
FREE = IMAGES | {"data.fit", "evaluation.size", "dtype", "precision"}
# What the figures of the same weights depend on, besides the images.
SETTINGS = ("seed", "dtype", "precision", "data.fit", "evaluation.size", "degradation.",
            "sampler.", "objective.sigma_s", "objective.num_segments")  # fmt: skip


class Measuring(NamedTuple):
    """How a run is measured."""

    # (weights as the parts take them, perceptual metrics, whether to stop) -> None if stopped
    evaluate: Callable[..., Evaluation | None]
    stages: Sequence[str]
    # For the file of figures: seed, M, a digest of settings and images, and one of images alone.
    about: dict[str, Any]


def build_measuring(config: ConfigDict, method: Method, images: HeldOutImages) -> Measuring:
    """Measure on these images, all of which are read first. Raises UserError."""
    total = len(images.source)
    sizes = (config.evaluation.batch_size, config.evaluation.num_samples)
    held_out = HeldOut(images.pairs, total, *sizes, images.name)
    by_weights = restoring(method, config.seed)
    if config.evaluation.size < LEAST["ssim"]:
        raise UserError(
            f"--config.evaluation.size={config.evaluation.size}: SSIM needs at least "
            f"{LEAST['ssim']} pixels a side"
        )
    images.check(share_of(total, jax.process_index(), jax.process_count()))

    def evaluate(
        weights: tuple[Params, Params],
        perceptual: Perceptual = NOTHING,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Evaluation | None:
        return evaluate_held_out(held_out, by_weights(replicate(weights)), perceptual, stopping)

    stages = by_weights(({}, {})).stage_names  # names need no weights
    return Measuring(
        evaluate,
        stages,
        about(config, method)
        | {"evaluation": digest(config, images), "held_out": _digest(_names(images))},
    )


def about(config: ConfigDict, method: Method) -> dict[str, Any]:
    """What the figures of a method are of: the seed, and M, None without a flow."""
    steps = [name for name in shown_stages(method.parts) if name.startswith("step_")]
    return {"seed": config.seed, "num_steps": len(steps) or None}


def digest(config: ConfigDict, images: HeldOutImages) -> str:
    """Differs if figures of the same weights may: by the settings, or by the images' names."""
    fields = flatten(plain(config))
    settings = {
        field: value
        for field, value in fields.items()
        if field.startswith(SETTINGS) and not _of_another_task(field, fields)
    }
    return _digest([settings, _names(images)])


def _names(images: HeldOutImages) -> list[str]:
    return [images.name(number) for number in range(len(images.source))]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def changes(there: dict, here: dict) -> dict[str, str]:
    """Field -> ``there -> here``, of the fields on which the figures of given weights depend."""
    old, new = ADDED | flatten(there), ADDED | flatten(here)

    def show(fields: dict[str, Any], field: str) -> str:
        return json.dumps(fields[field]) if field in fields else "(absent)"

    return {
        field: f"{show(old, field)} -> {show(new, field)}"
        for field in sorted(old.keys() | new.keys())
        if show(old, field) != show(new, field)
        and field not in TRAINING
        and not field.startswith(TRAINING_SECTIONS)
        and not _of_another_task(field, new)
    }


def _of_another_task(field: str, fields: dict[str, Any]) -> bool:
    section, _, rest = field.partition(".")
    task = fields.get("degradation.name")
    return section == "degradation" and rest != "name" and rest.split(".")[0] != task


def check_best(config: ConfigDict, stages: Sequence[str]) -> None:
    """Raise UserError if ``keep_best`` names no figure that training measures.

    Or one that is not defined at the size of the held-out images.
    """
    if not config.keep_best:
        return
    stage, _, metric = config.keep_best.rpartition(".")
    if stage not in stages or metric not in METRICS:
        raise UserError(
            f"--config.keep_best={config.keep_best}: must be STAGE.METRIC, of the stages "
            f"{', '.join(stages)} and the metrics {', '.join(METRICS)}"
        )
    if config.evaluation.size < LEAST[metric]:
        raise UserError(
            f"--config.keep_best={config.keep_best}: this metric needs pictures of at least "
            f"{LEAST[metric]} pixels a side; raise --config.evaluation.size="
            f"{config.evaluation.size}"
        )
    if not config.evaluate_every:
        raise UserError(
            f"--config.keep_best={config.keep_best}: nothing is measured during training; give "
            f"--config.evaluate_every=STEPS"
        )
