"""Evaluate a restorer on two folders: degraded pictures and their originals."""

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from elir_jax.data.choose import in_threads
from elir_jax.data.pairs import enlarge
from elir_jax.data.sources import match_pairs
from elir_jax.errors import UserError
from elir_jax.evaluation.measure import (
    LEAST,
    Evaluation,
    Pair,
    Restoring,
    add_fid,
    columns,
    measure_groups,
    summarize,
)
from elir_jax.inference.grouping import group
from elir_jax.metrics.perceptual import NOTHING, Perceptual
from elir_jax.pictures.images import AnyPixels, read_image, to_float

BATCH = 8  # pictures at once
SAMPLES = 4  # pictures in the report


def evaluate_folders(
    restoring: Restoring, lq: Path, hq: Path, *, perceptual: Perceptual = NOTHING
) -> Evaluation:
    """Restore every picture of ``lq`` and compare each stage with the file of that name in ``hq``.

    If a picture is smaller than its original by a whole factor, it is enlarged first, by Pillow's
    bicubic filter. Raises UserError, before the first picture is restored, if a picture has no
    partner, cannot be read, is too small, or does not fit the size of its original.
    """
    paths = list(zip(*match_pairs(hq, lq), strict=True))
    names = [original.relative_to(hq).as_posix() for original, _ in paths]
    sizes = in_threads(lambda number: _checked(*paths[number]), range(len(paths)))

    def groups() -> Iterator[tuple[list[Pair], int]]:
        with tqdm(total=len(paths), unit="picture") as bar:
            for some in group(sizes, BATCH, restoring.padded_side):
                yield (
                    [Pair(i, names[i], *_read(*paths[i])) for i in some.numbers],
                    some.batch,
                )
                bar.update(len(some.numbers))

    table, samples = measure_groups(
        groups(), restoring, most=len(paths), num_samples=SAMPLES, perceptual=perceptual
    )
    named = columns(restoring.stage_names, perceptual)
    evaluation = summarize(table[None], named, samples, names.__getitem__)
    add_fid(evaluation, perceptual, restoring.stage_names)
    return evaluation


def _checked(original: Path, degraded: Path) -> tuple[int, int]:
    """The size of an original that can be measured: read, with its partner, as later."""
    x_hq, _ = _read(original, degraded)
    if min(x_hq.shape[:2]) < LEAST["ssim"]:
        raise UserError(
            f"{original}: SSIM needs at least {LEAST['ssim']}x{LEAST['ssim']} pixels; remove it"
        )
    return x_hq.shape[:2]


def _read(original: Path, degraded: Path) -> tuple[AnyPixels, AnyPixels]:
    x_hq, x_lq = read_image(original), read_image(degraded)
    (height, width), (h, w) = x_hq.shape[:2], x_lq.shape[:2]
    if height % h or width % w or height // h != width // w:
        raise UserError(
            f"{degraded}: {w}x{h} pixels, but its original has {width}x{height}; both must have "
            f"the same size, or the original must be larger by a whole factor"
        )
    if x_lq.shape != x_hq.shape:
        x_lq = enlarge(x_lq, height, width)
    return to_float(x_hq), to_float(x_lq)
