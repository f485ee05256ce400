"""Show an evaluation: a table in the terminal, a JSON file, a picture and the report."""

import json
from collections.abc import Sequence
from contextlib import closing

import numpy as np
from PIL import Image, ImageDraw

from elir_jax.evaluation.measure import Course, Evaluation, Sample
from elir_jax.evaluation.names import metric_named, metric_names, place_of_restoration, stage_title
from elir_jax.evaluation.page import write_page
from elir_jax.files import whole_file
from elir_jax.pictures.images import AnyPixels, to_uint8, write_png
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place

MARGIN = 4
HEADER = 18


def format_table(evaluation: Evaluation) -> str:
    """One row for each stage, one column for each metric; a missing figure is a dash."""
    metrics = {name: metric_named(name) for name in metric_names(evaluation.figures)}
    wide = 2 + max(map(len, ["stage", *evaluation.figures]))
    rows = [f"{'stage':<{wide}}" + "".join(f"{metric.heading:>11}" for metric in metrics.values())]
    for stage, figures in evaluation.figures.items():
        shown = [
            format(figures[name], metric.form) if name in figures else "-"
            for name, metric in metrics.items()
        ]
        rows.append(f"{stage:<{wide}}" + "".join(f"{text:>11}" for text in shown))
    return "\n".join(rows)


def draw_grid(samples: list[Sample]) -> np.ndarray:
    """The first two stages, the restoration and the original; one row for each sample.

    For ELIR: input | latent MMSE | restored | original.
    """
    stages = list(samples[0].stages)
    columns = list(dict.fromkeys([*stages[:2], stages[place_of_restoration(stages)]]))
    rows = [[*(sample.stages[c] for c in columns), sample.original] for sample in samples]
    return draw_panels([*columns, "original"], rows)


def draw_panels(names: Sequence[str], rows: Sequence[Sequence[AnyPixels]]) -> np.ndarray:
    """Images side by side below their names, as uint8 RGB; those of a row have the same size."""
    width = max(row[0].shape[1] for row in rows)
    tops = np.cumsum([HEADER, *(row[0].shape[0] + MARGIN for row in rows)]).tolist()
    canvas = Image.new("RGB", (len(names) * (width + MARGIN) + MARGIN, tops[-1]), "white")
    pen = ImageDraw.Draw(canvas)
    for c, name in enumerate(names):
        left = MARGIN + c * (width + MARGIN)
        pen.text((left, 3), stage_title(name), fill="black")
        for top, row in zip(tops, rows, strict=False):
            canvas.paste(Image.fromarray(to_uint8(row[c])), (left, top))
    return np.asarray(canvas)


def write_evaluation(
    workdir: Place,
    evaluation: Evaluation,
    *,
    title: str,
    notes: Sequence[str] = (),
    course: Course | None = None,
) -> list[Place]:
    """Write ``metrics.json``, ``grid.png`` and ``report.html`` into ``evaluation``.

    ``title`` and ``notes`` head the report; ``course`` has the figures during training. Without
    samples, no grid is written: the samples of several hosts are those of the first host, all of
    whose images may have been left out. Returns the paths.
    """
    with closing(storage_of(workdir).outgoing(workdir / "evaluation")) as out:
        figures, grid = out.folder / "metrics.json", out.folder / "grid.png"
        with whole_file(figures) as part:
            part.write_text(json.dumps(evaluation.figures, indent=2) + "\n")
        written = [figures]
        if evaluation.samples:
            write_png(grid, draw_grid(evaluation.samples))
            written.append(grid)
        page = out.folder / "report.html"
        written.append(write_page(page, evaluation, title=title, notes=notes, course=course))
    return [workdir / "evaluation" / path.name for path in written]
