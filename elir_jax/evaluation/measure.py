"""Pairs x stages x metrics: the mean of each metric over the pictures, for each stage.

All evaluations use this file: held-out images during and after training, and users' folders. A
picture's noise follows from its pixels and the seed, each metric is computed for each picture
alone, and the padding of a batch is left out. So the figures do not depend on the batch, the order
or the number of devices and hosts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from elir_jax.errors import UserError
from elir_jax.evaluation.names import RESTORED, metric_named
from elir_jax.inference.whole_pictures import Restoration
from elir_jax.metrics.perceptual import Perceptual
from elir_jax.metrics.psnr import psnr, squared_error
from elir_jax.metrics.ssim import SMALLEST, WINDOW, ms_ssim, ssim
from elir_jax.pictures.images import AnyPixels, FloatPixels

METRICS = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim}
LEAST = {"psnr": 1, "ssim": WINDOW, "ms_ssim": SMALLEST}  # pixels: the side that each needs
# Root mean squared error to the posterior mean in pixels, of 255 (PMRF, section 5): an original is
# not needed. The table holds its square, so that the mean is over all pixels of all pictures.
MEAN, IND_RMSE = "posterior_mean", "ind_rmse"
NAMED = 8  # how many pictures that are not finite a line names; the file of figures has all
LARGEST = 768  # pixels: a sample in the report is cropped to its middle, to this side at most


class Pair(NamedTuple):
    """A degraded picture and its original, floats in [0, 1]."""

    number: int  # its number among all pictures
    name: str
    x_hq: AnyPixels
    x_lq: AnyPixels


class Sample(NamedTuple):
    """One picture at every stage, for the report."""

    name: str
    stages: dict[str, np.ndarray]
    original: FloatPixels
    number: int = 0
    states: tuple[np.ndarray, ...] = ()  # of the flow, then its target


class Row(NamedTuple):
    """One picture: ``figures[stage][metric]``, NaN where the stage is not finite.

    A figure that the metric does not define is absent.
    """

    name: str
    figures: dict[str, dict[str, float]]


class Evaluation(NamedTuple):
    """Mean figures, ``figures[stage][metric]``, the figures of each picture, and a few samples.

    ``trajectories`` ``[samples, M + 2, dims]`` are the samples' paths: the flow's start, its state
    after each step, and its target; None if there is no flow or the samples differ in size.
    ``not_finite[stage]`` names the pictures that are not finite there; means of that stage are NaN.
    """

    figures: dict[str, dict[str, float]]
    samples: list[Sample]
    trajectories: np.ndarray | None = None
    rows: tuple[Row, ...] = ()
    not_finite: dict[str, list[str]] = {}
    notes: tuple[str, ...] = ()  # what a reader of the means must know

    @property
    def alarms(self) -> list[str]:
        """A line for each stage that is not finite on some picture."""
        return [
            f"{stage}: not finite on {len(names)} of {len(self.rows)} pictures, so that its means "
            f"are NaN: {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''}"
            for stage, names in self.not_finite.items()
        ]


Course = Mapping[int, Mapping[str, Mapping[str, float]]]  # [training step][stage][metric]


class Restoring(NamedTuple):
    """How a method restores the pictures of an evaluation."""

    restore: Callable[[Sequence[AnyPixels], int], list[Restoration]]  # pictures, batch
    target: Callable[[AnyPixels], np.ndarray] | None  # original -> the flow's target
    shown: tuple[str, ...]  # the stages of a restoration
    padded_side: Callable[[int], int]  # in pixels; pictures of equal padded sides form groups
    shows_input: bool = True  # whether the degraded picture is a stage of its own
    # original -> what the autoencoder makes of it, if that is a stage
    reconstruct: Callable[[AnyPixels], AnyPixels] | None = None

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Every stage, in order."""
        first = ("input",) if self.shows_input else ()
        return (*first, *self.shown, RESTORED, *(("reconstruction",) if self.reconstruct else ()))

    def by_stage(self, pair: Pair, found: Restoration) -> dict[str, AnyPixels]:
        """The picture at every stage, by name."""
        pictures = [*((pair.x_lq,) if self.shows_input else ()), *found.stages, found.restored]
        if self.reconstruct is not None:
            pictures.append(self.reconstruct(pair.x_hq))
        return dict(zip(self.stage_names, pictures, strict=True))


def share_of(total: int, index: int, count: int) -> range:
    """The range of numbers, of ``total`` images, for process ``index`` of ``count``."""
    most = -(-total // count)
    return range(min(index * most, total), min((index + 1) * most, total))


def measure_groups(
    groups: Iterable[tuple[Sequence[Pair], int]],
    restoring: Restoring,
    *,
    most: int,
    num_samples: int,
    perceptual: Perceptual,
) -> tuple[np.ndarray, list[Sample]]:
    """(figures, samples) of groups of pairs; a group has one padded size, and a batch size.

    The figures have ``most`` rows, the largest number of pictures on any host. The first column is
    1 + the picture's number, 0 if the row is none; then come those of :func:`columns`, and for each
    of them whether it is unknown because a picture is not finite. ``perceptual`` adds its metrics.
    The samples are the first ``num_samples`` pictures by number.
    """
    named = columns(restoring.stage_names, perceptual)
    table = np.zeros((most, 1 + 2 * len(named)), np.float32)
    samples: list[Sample] = []
    row = 0
    for pairs, batch in groups:
        results = restoring.restore([pair.x_lq for pair in pairs], batch)
        for pair, found in zip(pairs, results, strict=True):
            stages = restoring.by_stage(pair, found)
            table[row] = [1 + pair.number, *_figures(stages, pair.x_hq, named, perceptual)]
            row += 1
            samples.append(Sample(pair.name, stages, pair.x_hq, pair.number, found.states))
        samples = sorted(samples, key=lambda sample: sample.number)[:num_samples]
    return table, [_shown(sample, restoring.target) for sample in samples]


@jax.jit
def _by_image(x, x_hq):
    return {name: metric(x[None], x_hq[None])[0] for name, metric in METRICS.items()}


@jax.jit
def _to_mean(x, mean):
    return 255.0**2 * squared_error(x[None], mean.clip(0, 1)[None])[0]


def _figures(stages: dict[str, AnyPixels], x_hq: AnyPixels, named, perceptual) -> list:
    """The figure of each column, then whether a picture that is not finite left it unknown."""
    finite = {stage: x for stage, x in stages.items() if np.isfinite(x).all()}
    seen = measure_perceptually(
        perceptual, {stage: x[None] for stage, x in finite.items()}, x_hq[None]
    )
    found = {
        stage: _by_image(x, x_hq) | {name: value[0] for name, value in seen[stage].items()}
        for stage, x in finite.items()
    }
    if MEAN in finite:
        for stage, x in finite.items():
            found[stage][IND_RMSE] = _to_mean(x, finite[MEAN])
    figures = [found.get(stage, {}).get(metric, np.nan) for stage, metric in named]
    unknown = [
        stage not in finite or (metric == IND_RMSE and MEAN not in finite)
        for stage, metric in named
    ]
    return [*figures, *unknown]


def _shown(sample: Sample, target) -> Sample:
    """The sample with the target of its flow, and the middle of its pictures.

    Without a target there is no path: its last state would pass for one.
    """
    states = (*sample.states, target(sample.original)) if sample.states and target else ()
    stages = {stage: _middle(x) for stage, x in sample.stages.items()}
    return sample._replace(stages=stages, original=_middle(sample.original), states=states)


def _middle(x: AnyPixels) -> AnyPixels:
    top, left = (max(0, (side - LARGEST) // 2) for side in x.shape[:2])
    return np.nan_to_num(x[top : top + LARGEST, left : left + LARGEST])  # NaN has no colour: black


def trajectories(samples: Sequence[Sample]) -> np.ndarray | None:
    """``[samples, M + 2, dims]``, or None if the samples' states differ in shape.

    Samples whose states are not all finite have no path that could be drawn.
    """
    samples = [s for s in samples if all(np.isfinite(state).all() for state in s.states)]
    shapes = {tuple(state.shape for state in sample.states) for sample in samples}
    if len(shapes) != 1 or not (sizes := set(*shapes)) or len(sizes) > 1:
        return None
    return np.stack([np.stack(s.states).reshape(len(s.states), -1) for s in samples])


def measure_perceptually(
    perceptual: Perceptual, images: dict[str, np.ndarray], originals: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """``figures[stage][metric]`` of one image; features for the FID are kept until the end."""
    figures: dict[str, dict[str, np.ndarray]] = {}
    before = None
    for stage, x in images.items():
        # The last step may be the restoration itself: measure equal neighbours only once.
        again = before is not None and np.array_equal(images[before], x)
        figures[stage] = figures[before] if again else perceptual.measure(x, originals)
        perceptual.add(stage, x)
        before = stage
    return figures


def summarize(
    tables: np.ndarray,
    named: Sequence[tuple[str, str]],
    samples: list[Sample],
    names: Callable[[int], str] = str,
    total: int = 0,
) -> Evaluation:
    """The means over ``tables`` ``[hosts, most, columns]`` of all hosts; ``named``: the columns.

    A mean leaves out the pictures for which the metric is not defined, and says so; it is left out
    itself if there are no others. A picture that is not finite is never left out: the mean is NaN.
    ``names`` gives the name of a picture by its number; ``total`` is how many there were to
    measure. Raises UserError if there is no image.
    """
    rows = tables.reshape(-1, tables.shape[-1])
    rows = rows[rows[:, 0] > 0]
    if not len(rows):
        raise UserError(
            "none of the images to evaluate on can be used (the log has the reasons); name others "
            "with --config.data.eval_path"
        )
    rows = rows[np.argsort(rows[:, 0])]
    pictures = [names(int(number) - 1) for number in rows[:, 0]]
    values, unknown = rows[:, 1 : 1 + len(named)], rows[:, 1 + len(named) :] > 0
    known = ~np.isnan(values) | unknown
    result: dict[str, dict[str, float]] = {stage: {} for stage, _ in named}
    each = [Row(name, {stage: {} for stage in result}) for name in pictures]
    not_finite: dict[str, list[str]] = {}
    fewer: dict[str, int] = {}  # metric -> the number of pictures for which it is defined
    for column, (stage, metric) in enumerate(named):
        defined = known[:, column]
        if not defined.any():
            continue
        result[stage][metric] = _rooted(metric, np.mean(values[defined, column], dtype=np.float64))
        for row in np.flatnonzero(defined):
            each[row].figures[stage][metric] = _rooted(metric, values[row, column].item())
        if not defined.all():
            fewer[metric] = int(defined.sum())
        if metric != IND_RMSE and unknown[:, column].any():
            not_finite[stage] = [pictures[row] for row in np.flatnonzero(unknown[:, column])]
    notes = [
        f"{metric_named(metric).title}: the mean of {count} of {len(pictures)} pictures; it is not "
        f"defined for the others"
        for metric, count in fewer.items()
    ]
    if total > len(pictures):
        notes.append(
            f"{total - len(pictures)} of {total} pictures could not be used and are left out"
        )
    found = Evaluation(result, samples, trajectories(samples), tuple(each), not_finite)
    return found._replace(notes=(*found.alarms, *notes))


def _rooted(metric: str, value: float) -> float:
    return float(value**0.5 if metric == IND_RMSE else value)


def add_fid(
    evaluation: Evaluation,
    perceptual: Perceptual,
    stages: Sequence[str],
    gather: Callable[[np.ndarray], np.ndarray] = lambda rows: rows,
) -> None:
    """Add the FID of each stage; NaN where a picture is not finite. Every process must call it."""
    for stage, fid in perceptual.finish(stages, gather).items():
        evaluation.figures[stage]["fid"] = fid
    if "fid" in perceptual.figures:
        for stage in evaluation.not_finite:
            evaluation.figures[stage]["fid"] = float("nan")


def columns(stage_names: Sequence[str], perceptual: Perceptual) -> list[tuple[str, str]]:
    """(stage, metric) of every figure that each image has."""
    own = (*METRICS, *((IND_RMSE,) if MEAN in stage_names else ()))
    return [(stage, metric) for stage in stage_names for metric in (*own, *perceptual.names)]
