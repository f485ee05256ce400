"""An evaluation for people: a table in the terminal, a JSON file, a picture."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from elir_jax.data.images import FloatPixels, to_uint8, write_png
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
    rows = [[*(sample.stages[c] for c in columns), sample.original] for sample in samples]
    return draw_panels([*columns, "original"], rows)


def draw_panels(names: Sequence[str], rows: Sequence[Sequence[FloatPixels]]) -> np.ndarray:
    """Images of one size side by side below their names, as uint8 RGB."""
    height, width = rows[0][0].shape[:2]
    canvas = Image.new(
        "RGB",
        (len(names) * (width + MARGIN) + MARGIN, HEADER + len(rows) * (height + MARGIN)),
        "white",
    )
    pen = ImageDraw.Draw(canvas)
    for c, name in enumerate(names):
        left = MARGIN + c * (width + MARGIN)
        pen.text((left, 3), stage_title(name), fill="black")
        for r, row in enumerate(rows):
            canvas.paste(Image.fromarray(to_uint8(row[c])), (left, HEADER + r * (height + MARGIN)))
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
