"""Figures of restored pictures against their originals: two folders, no configuration of data."""

from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

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
from elir_jax.pictures.anybody import read_shape
from elir_jax.pictures.images import AnyPixels, FloatPixels, read_image, to_float
from elir_jax.restorer import Restorer

BATCH = 8  # pictures at once
SAMPLES = 4  # pictures in the report,
LARGEST = 768  # their middle, of so many pixels a side
LEAST = 11  # pixels; the similarity's window


def evaluate_pairs(
    restorer: Restorer, lq: Path, hq: Path, *, seed: int = 0, perceptual: Perceptual = NOTHING
) -> Evaluation:
    """Every picture of ``lq`` restored whole, at each stage, against its namesake in ``hq``.

    One that is smaller than its original by a whole factor is enlarged first, by Pillow's bicubic.
    Noise is that of ``picture_key``, as in the command that restores. Raises UserError where a
    picture has no partner, cannot be read, is too small or of another shape than its original.
    """
    paths = list(zip(*match_pairs(hq, lq), strict=True))
    sizes = [read_shape(original) for original, _ in paths]
    for (original, _), size in zip(paths, sizes, strict=True):
        if min(size) < LEAST:
            raise UserError(f"{original}: SSIM needs {LEAST}x{LEAST} pixels; leave it out")
    stage_names = ("input", *restorer.stage_names, "restored")
    named = columns(stage_names, perceptual)
    table = np.ones((len(paths), 1 + len(named)), np.float32)
    samples: dict[int, Sample] = {}
    with tqdm(total=len(paths), unit="picture") as bar:
        for group in restorer.groups(sizes, BATCH):
            pairs = [_read(*paths[i]) for i in group.numbers]
            x_lq = [pair[1] for pair in pairs]
            results = restorer.stages(x_lq, seed, group.batch, every=True)
            for i, pair, stages in zip(group.numbers, pairs, results, strict=True):
                x_hq = pair[0]
                by_stage = dict(zip(stage_names, [pair[1], *stages, stages[-1]], strict=True))
                table[i, 1:] = _figures(by_stage, x_hq, named, perceptual)
                if i < SAMPLES:
                    seen = {stage: _middle(x) for stage, x in by_stage.items()}
                    samples[i] = Sample(paths[i][0].name, seen, _middle(x_hq), i)
            bar.update(len(group.numbers))
    evaluation = summarize(table[None], named, [samples[i] for i in sorted(samples)])
    for stage, fid in perceptual.finish(stage_names).items():
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


def _middle(x: FloatPixels) -> FloatPixels:
    top, left = (max(0, (side - LARGEST) // 2) for side in x.shape[:2])
    return x[top : top + LARGEST, left : left + LARGEST].copy()


def _read(original: Path, degraded: Path) -> tuple[AnyPixels, AnyPixels]:
    x_hq, x_lq = read_image(original), read_image(degraded)
    (height, width), (h, w) = x_hq.shape[:2], x_lq.shape[:2]
    if height % h or width % w or height // h != width // w:
        raise UserError(
            f"{degraded}: {w}x{h} pixels, its original {width}x{height}; they must be of one size, "
            f"or the original larger by a whole factor"
        )
    if x_lq.shape != x_hq.shape:
        x_lq = enlarge(x_lq, height, width)
    return to_float(x_hq), to_float(x_lq)
