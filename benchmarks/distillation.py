"""Students beside their teacher: python benchmarks/distillation.py TEACHER FOLDER [STUDENT ...]

TEACHER and STUDENT are runs or models, for the task of the model ``denoising``. On the centres of
256x256 of FOLDER's pictures, degraded from one seed, with the same source noise for every row:
PSNR to the originals and to the teacher's picture after 25 steps; sharpness and Fréchet distance as
in benchmarks/models.py; the share of the transport that training left (latent / teacher_gap, mean
of its last rows); milliseconds a picture, of the batches after the first.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.models import Images, figures_beside, pairs  # noqa: E402
from elir_jax.metrics.psnr import psnr  # noqa: E402
from elir_jax.restorer import Restorer  # noqa: E402

STEPS = (25, 1, 2, 5, 10)  # of the teacher; the first is what students learn
BATCH = 10
LAST = 5  # rows of a run's metrics


def restored(restorer: Restorer, x_lq: Images) -> tuple[Images, float]:
    """(pictures in [0, 1], milliseconds a picture)."""
    found, times = [], []
    for i in range(0, len(x_lq), BATCH):
        some = list(x_lq[i : i + BATCH])
        start = time.perf_counter()
        found += [picture for (picture,) in restorer.stages(some, 0, BATCH)]
        times.append(1000 * (time.perf_counter() - start) / len(some))
    return np.clip(np.stack(found), 0, 1), statistics.median(times[1:] or times)


def left(run: str) -> str:
    """The share of the transport that a run's training left; nothing for other weights."""
    path = Path(run) / "metrics.jsonl"
    if not path.is_file():
        return ""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    shares = [row["latent"] / row["teacher_gap"] for row in rows if "teacher_gap" in row]
    return f"{statistics.mean(shares[-LAST:]):.2f}" if shares else ""


def main() -> None:
    """Print one row for each number of the teacher's steps, and one for each student."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("teacher", metavar="TEACHER")
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("students", metavar="STUDENT", nargs="*")
    parser.add_argument("--most", type=int, help="pictures of FOLDER (default: all)")
    options = parser.parse_args()
    x_hq, x_lq = pairs("denoising", options.folder, options.most)
    figures = figures_beside(x_hq)
    rows = [
        (f"teacher, {steps} step{'s' * (steps > 1)}", Restorer.load(options.teacher, steps=steps))
        for steps in STEPS
    ]
    rows += [(run, Restorer.load(run)) for run in options.students]
    print(
        f"{'':<24}{'PSNR':>7}{'to T25':>8}{'sharp':>7}{'Fréchet':>9}{'left':>6}{'ms':>7}",
        flush=True,
    )
    target = None
    for name, restorer in rows:
        x, ms = restored(restorer, x_lq)
        target = x if target is None else target
        near = "" if x is target else f"{np.mean(psnr(x, target)):.2f}"
        found = figures(x)
        print(
            f"{Path(name).name:<24}{found.psnr:>7.2f}{near:>8}"
            f"{found.sharpness:>7.3f}{found.frechet:>9.4f}{left(name):>6}{ms:>7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
