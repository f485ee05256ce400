"""An evaluation for people: a table in the terminal, a JSON file, a picture."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from elir_jax.data.images import to_uint8, write_png
from elir_jax.evaluation.evaluate import Evaluation, Sample
from elir_jax.evaluation.names import stage_title

COLUMNS = ("input", "latent_mmse", "restored")  # stages shown in the picture, where there are
MARGIN = 4
HEADER = 18


def format_table(evaluation: Evaluation) -> str:
    """One row a stage, one column a metric."""
    rows = [f"{'stage':<14}{'PSNR (dB)':>11}{'SSIM':>9}"]
    for stage, metrics in evaluation.figures.items():
        rows.append(f"{stage:<14}{metrics['psnr']:>11.2f}{metrics['ssim']:>9.4f}")
    return "\n".join(rows)


def draw_grid(samples: list[Sample]) -> np.ndarray:
    """Input | latent MMSE | restored | original, one row a sample."""
    columns = [stage for stage in COLUMNS if stage in samples[0].stages]
    height, width = samples[0].original.shape[:2]
    canvas = Image.new(
        "RGB",
        (
            (len(columns) + 1) * (width + MARGIN) + MARGIN,
            HEADER + len(samples) * (height + MARGIN),
        ),
        "white",
    )
    pen = ImageDraw.Draw(canvas)
    for c, stage in enumerate([*columns, "original"]):
        left = MARGIN + c * (width + MARGIN)
        pen.text((left, 3), stage_title(stage), fill="black")
        for r, sample in enumerate(samples):
            image = sample.original if stage == "original" else sample.stages[stage]
            canvas.paste(Image.fromarray(to_uint8(image)), (left, HEADER + r * (height + MARGIN)))
    return np.asarray(canvas)


def write_evaluation(workdir: Path, evaluation: Evaluation) -> tuple[Path, Path]:
    """Write ``evaluation/metrics.json`` and ``evaluation/grid.png``; returns their paths."""
    folder = workdir / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    figures, grid = folder / "metrics.json", folder / "grid.png"
    part = figures.with_name(figures.name + ".part")
    part.write_text(json.dumps(evaluation.figures, indent=2) + "\n")
    part.replace(figures)
    write_png(grid, draw_grid(evaluation.samples))
    return figures, grid
