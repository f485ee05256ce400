"""Dataset x stages x metrics: the mean of each metric over the images, for each stage.

Every image has its own noise, seeded by its number, and metrics are averaged by image: the figures
do not depend on batch size or device count.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from elir_jax.data.images import FloatPixels
from elir_jax.metrics.psnr import psnr
from elir_jax.metrics.ssim import ssim
from elir_jax.types import Image, Params, SampleKeys

METRICS = {"psnr": psnr, "ssim": ssim}

Stages = Callable[[Params, Params, Image, SampleKeys], dict[str, Image]]


class Sample(NamedTuple):
    """One image at every stage, for the picture."""

    name: str
    stages: dict[str, np.ndarray]
    original: FloatPixels


class Evaluation(NamedTuple):
    """Mean figures, ``figures[stage][metric]``, and a few samples."""

    figures: dict[str, dict[str, float]]
    samples: list[Sample]


def measure(stages: Stages, seed: int):
    """``(weights, batch) -> (figures by image, images)``, each by stage, for one device."""

    def fn(weights, batch):
        params, frozen = weights
        x_hq, x_lq, number = batch
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), number)
        images = stages(params, frozen, x_lq, keys)
        figures = {
            stage: {name: metric(x, x_hq) for name, metric in METRICS.items()}
            for stage, x in images.items()
        }
        return figures, images

    return fn


def evaluate(
    pairs: Iterable[tuple[str, FloatPixels, FloatPixels]],
    measure_batch: Callable,
    weights: tuple[Params, Params],
    stage_names: Sequence[str],
    *,
    batch_size: int,
    num_samples: int,
) -> Evaluation:
    """Evaluate ``weights`` on all pairs; ``measure_batch`` is :func:`measure` over the devices."""
    # In the order of the names: trees of arrays come back sorted by key.
    collected = {stage: {name: [] for name in METRICS} for stage in stage_names}
    samples: list[Sample] = []
    for start, batch in _batches(pairs, batch_size):
        names, x_hq, x_lq = zip(*batch, strict=True)
        number = np.arange(start, start + len(batch), dtype=np.int32)
        # A short last batch is filled up, so that one program serves all; the rest is cut off.
        fill = [0] * (batch_size - len(batch)) if start else []
        rows = [*range(len(batch)), *fill]
        arrays = (np.stack(x_hq)[rows], np.stack(x_lq)[rows], number[rows])
        figures, images = measure_batch(weights, arrays)
        for stage, metrics in figures.items():
            for name, values in metrics.items():
                collected[stage][name].extend(values[: len(batch)])
        for i in range(min(len(batch), num_samples - len(samples))):
            stages = {stage: np.asarray(x[i]) for stage, x in images.items()}
            samples.append(Sample(names[i], stages, x_hq[i]))
    means = {
        stage: {name: float(np.mean(values)) for name, values in metrics.items()}
        for stage, metrics in collected.items()
    }
    return Evaluation(means, samples)


def _batches(items: Iterable, size: int):
    batch, start = [], 0
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield start, batch
            batch, start = [], start + size
    if batch:
        yield start, batch
