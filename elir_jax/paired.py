"""Figures of restored pictures against their originals: two folders, no configuration of data."""

from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from elir_jax.data.images import FloatPixels, read_image, to_float
from elir_jax.data.pairs import enlarge
from elir_jax.data.sources import match_pairs
from elir_jax.errors import UserError
from elir_jax.evaluation.evaluate import (
    METRICS,
    Evaluation,
    Sample,
    columns,
    measure_perceptually,
    summarize,
)
from elir_jax.metrics.perceptual import NOTHING, Perceptual
from elir_jax.restorer import Restorer

BATCH = 8  # pictures of one padded size at once
SAMPLES = 4  # pictures in the report
LEAST = 11  # pixels; the similarity's window


def evaluate_pairs(
    restorer: Restorer, lq: Path, hq: Path, *, seed: int = 0, perceptual: Perceptual = NOTHING
) -> Evaluation:
    """Every picture of ``lq`` restored whole, at each stage, against its namesake in ``hq``.

    One that is smaller than its original is enlarged first, by Pillow's bicubic. Noise is the
    seed's. Raises UserError where a picture has no partner, cannot be read or is too small.
    """
    paths = match_pairs(hq, lq)
    sizes = [read_image(original).shape[:2] for original, _ in paths]
    for (original, _), size in zip(paths, sizes, strict=True):
        if min(size) < LEAST:
            raise UserError(f"{original}: SSIM needs {LEAST}x{LEAST} pixels; leave it out")
    stage_names = ("input", *restorer.stage_names, "restored")
    named = columns(stage_names, perceptual)
    table = np.ones((len(paths), 1 + len(named)), np.float32)
    samples: dict[int, Sample] = {}
    with tqdm(total=len(paths), unit="picture") as bar:
        for numbers in restorer.alike(sizes).values():
            batch = min(BATCH, len(numbers))
            for first in range(0, len(numbers), batch):
                some = numbers[first : first + batch]
                pairs = [_read(*paths[i]) for i in some]
                results = restorer.stages([x_lq for _, x_lq in pairs], seed, batch, every=True)
                for i, (x_hq, x_lq), stages in zip(some, pairs, results, strict=True):
                    images = [x_lq, *stages, stages[-1]]
                    by_stage = dict(zip(stage_names, images, strict=True))
                    table[i, 1:] = _figures(by_stage, x_hq, named, perceptual)
                    if i < SAMPLES:
                        samples[i] = Sample(paths[i][0].name, by_stage, x_hq, i)
                bar.update(len(some))
    evaluation = summarize(table[None], named, [samples[i] for i in sorted(samples)])
    for stage, fid in perceptual.finish().items():
        evaluation.figures[stage]["fid"] = fid
    return evaluation


@jax.jit
def _by_image(x, x_hq):
    return {name: metric(x[None], x_hq[None])[0] for name, metric in METRICS.items()}


def _figures(by_stage: dict[str, FloatPixels], x_hq: FloatPixels, named, perceptual) -> list:
    seen = measure_perceptually(
        perceptual, {stage: x[None] for stage, x in by_stage.items()}, x_hq[None]
    )
    found = {
        stage: _by_image(x, x_hq) | {name: value[0] for name, value in seen[stage].items()}
        for stage, x in by_stage.items()
    }
    return [found[stage][metric] for stage, metric in named]


def _read(original: Path, degraded: Path) -> tuple[FloatPixels, FloatPixels]:
    x_hq, x_lq = read_image(original), read_image(degraded)
    if x_lq.shape != x_hq.shape:
        x_lq = enlarge(x_lq, *x_hq.shape[:2])
    return to_float(x_hq), to_float(x_lq)
