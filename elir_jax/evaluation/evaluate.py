"""Dataset x stages x metrics: the mean of each metric over the images, for each stage.

Every image has its own noise, seeded by its number, and metrics are averaged by image. A device
works on the same number of images at a time however many devices and hosts there are, and what
fills up the last batch is left out: the figures do not depend on any of them.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int

from elir_jax.errors import UserError
from elir_jax.metrics.perceptual import Perceptual
from elir_jax.metrics.psnr import psnr
from elir_jax.metrics.ssim import ssim
from elir_jax.pictures.images import FloatPixels
from elir_jax.types import Params, SampleKeys, Stages

METRICS = {"psnr": psnr, "ssim": ssim}


class Sample(NamedTuple):
    """One image at every stage, for the picture."""

    name: str
    stages: dict[str, np.ndarray]
    original: FloatPixels
    number: int = 0  # seeds its noise


class Evaluation(NamedTuple):
    """Mean figures, ``figures[stage][metric]``, and a few samples.

    ``trajectories`` ``[samples, M + 2, dims]`` are the samples' latents: ``z_0``, the state after
    each Euler step, and the target ``z_hq``; None where nothing moves.
    """

    figures: dict[str, dict[str, float]]
    samples: list[Sample]
    trajectories: np.ndarray | None = None


def measure(stages: Stages, seed: int):
    """``(weights, batch) -> (figures by image, images)``, each by stage, for one device."""

    def fn(weights, batch):
        params, frozen = weights
        x_hq, x_lq, number = batch
        images = stages(params, frozen, x_lq, noise_keys(seed, number))
        figures = {
            stage: {name: metric(x, x_hq) for name, metric in METRICS.items()}
            for stage, x in images.items()
        }
        return figures, images

    return fn


def noise_keys(seed: int, number: Int[Array, " b"] | Int[np.ndarray, " b"]) -> SampleKeys:
    """The key of each image's noise, by its number."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), number)


def share_of(total: int, index: int, count: int) -> range:
    """The numbers of ``total`` images that process ``index`` of ``count`` works on: one run."""
    most = -(-total // count)
    return range(min(index * most, total), min((index + 1) * most, total))


def measure_pairs(
    pairs: Iterable[tuple[int, str, FloatPixels, FloatPixels]],
    measure_batch: Callable,
    weights: tuple[Params, Params],
    stage_names: Sequence[str],
    *,
    batch_size: int,
    most: int,
    num_samples: int,
    perceptual: Perceptual,
) -> tuple[np.ndarray, list[Sample]]:
    """(figures, samples) of the pairs, given by number in their order.

    ``measure_batch`` is :func:`measure` over this host's devices, ``batch_size`` images at a time
    over all of them. The figures have ``most`` rows, the most images that any host has; the first
    column is 1 for an image, the others are those of :func:`columns`. ``perceptual`` measures too.
    """
    named = columns(stage_names, perceptual)
    table = np.zeros((most, 1 + len(named)), np.float32)
    samples: list[Sample] = []
    row = 0
    for batch in _batches(pairs, batch_size):
        numbers, names, x_hq, x_lq = zip(*batch, strict=True)
        # A short batch is filled up, so that one program serves all; the rest is cut off.
        rows = [*range(len(batch)), *[0] * (batch_size - len(batch))]
        number = np.asarray(numbers, np.int32)
        arrays = (np.stack(x_hq)[rows], np.stack(x_lq)[rows], number[rows])
        figures, images = measure_batch(weights, arrays)
        here = slice(row, row + len(batch))
        images = {stage: x[: len(batch)] for stage, x in images.items()}
        seen = measure_perceptually(perceptual, images, arrays[0][: len(batch)])
        table[here, 0] = 1
        for column, (stage, metric) in enumerate(named, 1):
            found = figures[stage] | seen[stage]
            table[here, column] = found[metric][: len(batch)]
        row += len(batch)
        for i in range(min(len(batch), num_samples - len(samples))):
            stages = {stage: np.asarray(x[i]) for stage, x in images.items()}
            samples.append(Sample(names[i], stages, x_hq[i], numbers[i]))
    return table, samples


def measure_perceptually(
    perceptual: Perceptual, images: dict[str, np.ndarray], originals: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """``figures[stage][metric]`` by image; FID's features are kept for the end."""
    figures: dict[str, dict[str, np.ndarray]] = {}
    before = None
    for stage, x in images.items():
        # The last step is the restoration: neighbours that are equal are looked at once.
        again = before is not None and np.array_equal(images[before], x)
        figures[stage] = figures[before] if again else perceptual.measure(x, originals)
        perceptual.add(stage, x)
        before = stage
    return figures


def summarize(
    tables: np.ndarray, named: Sequence[tuple[str, str]], samples: list[Sample]
) -> Evaluation:
    """The means over all hosts' ``tables`` ``[hosts, most, columns]``; ``named``: the columns.

    An image without a figure (NaN) is left out of its mean, and so is a mean of no image. Raises
    UserError where there is no image.
    """
    rows = tables.reshape(-1, tables.shape[-1])
    rows = rows[rows[:, 0] == 1, 1:]
    if not len(rows):
        raise UserError(
            "none of the images to evaluate on can be used, as the log says of each; name others "
            "with --config.data.eval_path"
        )
    result: dict[str, dict[str, float]] = {stage: {} for stage, _ in named}
    for (stage, metric), values in zip(named, rows.T, strict=True):
        values = values[~np.isnan(values)]
        if len(values):
            result[stage][metric] = float(values.mean(dtype=np.float64))
    return Evaluation(result, samples)


def columns(stage_names: Sequence[str], perceptual: Perceptual) -> list[tuple[str, str]]:
    """(stage, metric) of every figure by image."""
    return [(stage, metric) for stage in stage_names for metric in (*METRICS, *perceptual.names)]


def _batches(items: Iterable, size: int):
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
