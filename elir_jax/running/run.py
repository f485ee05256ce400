"""The objects of a configuration: everything that training and evaluation need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from elir_jax.data.pipeline import TrainingBatches
from elir_jax.devices.mesh import StepFn
from elir_jax.evaluation.measure import Evaluation
from elir_jax.running.loop import Plan
from elir_jax.storage.place import Place
from elir_jax.training.state import TrainState


class Run(NamedTuple):
    """The objects of a configuration, ready for the loop."""

    config: dict  # as JSON, with a fingerprint of the training images
    init_state: Callable[[Place], TrainState]  # of a workdir, which may hold converted weights
    state_like: Callable[[], TrainState]  # its shapes, without weights
    step: StepFn
    data: Callable[[], TrainingBatches]
    image_name: Callable[[int], str]  # of a training image, by its number
    plan: Plan
    # (averaged weights, frozen weights, perceptual metrics, whether to stop) -> None if stopped
    evaluate: Callable[..., Evaluation | None]
    about: dict[str, Any]  # seed, M, digests of the evaluation and of its images
    export: Callable[[TrainState, Path], list[Place]]  # files for other uses, after training
