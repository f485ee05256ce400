"""Write an evaluation as one HTML file: figures, plots, and the stages of every sample.

The file needs no other file, and its content policy forbids it to load anything. Pictures are
embedded as PNG, without loss, each once. ``page.html`` has the style, the script and the markup
around the parts that are filled in here; ``compare.css`` and ``compare.js`` have those of a
comparison of two pictures.
"""

import base64
import html
import io
import math
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from elir_jax.evaluation.measure import Course, Evaluation, Sample
from elir_jax.evaluation.names import (
    join_equal_stages,
    metric_named,
    metric_names,
    place_of_restoration,
)
from elir_jax.evaluation.plots import Plot, plot_course, plot_figures, plot_trajectories
from elir_jax.files import whole_file
from elir_jax.pictures.images import to_uint8

TEMPLATE, STYLE, SCRIPT = map(Path(__file__).with_name, ("page.html", "compare.css", "compare.js"))
COMFORTABLE = 640  # pixels; small pictures are enlarged by the largest whole factor within this
ARROWS = {1: "↑", -1: "↓"}


def write_page(
    path: Path,
    evaluation: Evaluation,
    *,
    title: str,
    notes: Sequence[str] = (),
    course: Course | None = None,
) -> Path:
    """Write the page of ``evaluation`` to ``path``, completely or not at all; returns ``path``.

    ``title`` and ``notes`` are plain text; each note is a paragraph. The page shows all stages and
    metrics of the evaluation; a stage may lack a metric. ``course`` is plotted over the steps of
    the training. Pictures are clipped to [0, 1].
    """
    text = format_page(evaluation, title=title, notes=notes, course=course)
    with whole_file(path) as part:  # bytes of a file name that are not UTF-8 become escapes
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def format_page(
    evaluation: Evaluation,
    *,
    title: str,
    notes: Sequence[str] = (),
    course: Course | None = None,
) -> str:
    """The text that :func:`write_page` writes; the same evaluation gives the same text."""
    plots = [plot_figures(evaluation.figures), plot_course(course or {})]
    if evaluation.trajectories is not None:
        plots.append(plot_trajectories(evaluation.trajectories))
    samples = [_sample(number, sample) for number, sample in enumerate(evaluation.samples, 1)]
    return string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        compare_style=STYLE.read_text(encoding="utf-8"),
        compare_script=SCRIPT.read_text(encoding="utf-8"),
        title=html.escape(title),
        notes="\n".join(f"<p>{html.escape(note)}</p>" for note in notes),
        table=_table(evaluation.figures),
        plots="\n".join(_plot(plot) for plot in plots if plot is not None),
        samples="\n".join(samples),
    )


def _table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """One row for each stage, one column for each metric, the best of each marked (Table 3)."""
    names, rows = metric_names(figures), join_equal_stages(figures)
    best = {name: _best(name, [row.get(name, math.nan) for _, row in rows]) for name in names}
    head = "".join(f'<th scope="col">{_heading(name)}</th>' for name in names)
    lines = [f'<thead><tr><th scope="col">Stage</th>{head}</tr></thead>', "<tbody>"]
    for title, row in rows:
        cells = "".join(_cell(name, row.get(name), best[name]) for name in names)
        lines.append(f'<tr><th scope="row">{html.escape(title)}</th>{cells}</tr>')
    return "\n".join(["<table>", *lines, "</tbody>", "</table>"])


def _best(name: str, values: Sequence[float]) -> float | None:
    """The best of a column; None if the better direction is unknown or there is only one value."""
    values = [value for value in values if math.isfinite(value)]
    better = metric_named(name).better
    if not better or len(values) < 2:
        return None
    return max(values) if better > 0 else min(values)


def _heading(name: str) -> str:
    metric = metric_named(name)
    heading = html.escape(metric.heading)
    if not metric.better:
        return heading
    arrow, way = ARROWS[metric.better], metric.direction
    return f'{heading} <span role="img" aria-label="{way}" title="{way}">{arrow}</span>'


def _cell(name: str, value: float | None, best: float | None) -> str:
    if value is None:
        return '<td class="none">–</td>'
    text = format(value, metric_named(name).form)
    if value == best:
        return f'<td class="best">{text}<span class="unseen"> (best)</span></td>'
    return f"<td>{text}</td>"


def _plot(plot: Plot) -> str:
    return (
        f'<figure class="plot"><h2>{html.escape(plot.title)}</h2>\n{plot.svg}\n'
        f"<figcaption>{html.escape(plot.caption)}</figcaption></figure>"
    )


def _sample(number: int, sample: Sample) -> str:
    """A sample's comparison and its strip of stages, from which the script fills the comparison."""
    name = html.escape(sample.name)
    height, width = sample.original.shape[:2]
    stages = join_equal_stages({stage: _data_uri(image) for stage, image in sample.stages.items()})
    stages.append(("original", _data_uri(sample.original)))
    place = place_of_restoration([title for title, _ in stages[:-1]])
    left, right = 0, max(1, place)  # input | restored, or restored | original
    scale = max(1, COMFORTABLE // max(height, width))
    thumbs = [
        f'<button type="button" aria-pressed="false"><img src="{uri}" alt="" width="{width}" '
        f'height="{height}"><span>{html.escape(title)}</span></button>'
        for title, uri in stages
    ]
    return "\n".join(
        [
            f'<article class="sample{" small" if scale > 1 else ""}" '
            f'style="--width: {width}; --height: {height}; --scale: {scale}">',
            f'<h3><span class="number">{number}</span> {name}</h3>',
            '<div class="choose">',
            _select("left", left, stages),
            _select("right", right, stages),
            "</div>",
            '<div class="compare">',
            '<div class="layer right"><img alt=""><span class="tag"></span></div>',
            '<div class="layer left"><img alt=""><span class="tag"></span></div>',
            '<input type="range" min="0" max="100" value="50" autocomplete="off" '
            f'aria-label="Divider between the two pictures of {name}">',
            '<div class="divider"></div>',
            "</div>",
            f'<div class="strip" role="group" aria-label="Stages of {name}: choose the right one">',
            *thumbs,
            "</div>",
            "</article>",
        ]
    )


def _select(side: str, chosen: int, stages: Sequence[tuple[str, str]]) -> str:
    options = "".join(
        f'<option value="{i}"{" selected" if i == chosen else ""}>{html.escape(title)}</option>'
        for i, (title, _) in enumerate(stages)
    )
    return (
        f'<label class="{side}">{side.capitalize()} '
        f'<select class="{side}" autocomplete="off">{options}</select></label>'
    )


def _data_uri(image: np.ndarray) -> str:
    """The PNG of an image ``[h, w, 3]`` in [0, 1], for ``src``."""
    png = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(png, format="PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")
