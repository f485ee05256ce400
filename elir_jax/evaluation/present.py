"""Show an evaluation: a table in the terminal, a JSON file, a picture and the report."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from elir_jax.evaluation.measure import Course, Evaluation, Sample
from elir_jax.evaluation.names import metric_named, metric_names, place_of_restoration, stage_title
from elir_jax.evaluation.page import write_page
from elir_jax.files import whole_file
from elir_jax.pictures.images import AnyPixels, to_uint8, write_png
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place

FOLDER, FIGURES, GRID, PAGE = "evaluation", "metrics.json", "grid.png", "report.html"
MARGIN = 4
HEADER = 18


def format_table(evaluation: Evaluation) -> str:
    """One row for each stage, one column for each metric; a missing figure is a dash."""
    metrics = {name: metric_named(name) for name in metric_names(evaluation.figures)}
    wide = 2 + max(map(len, ["stage", *evaluation.figures]))
    widths = [max(11, 2 + len(metric.heading)) for metric in metrics.values()]

    def row(stage: str, cells: Sequence[str]) -> str:
        right = (f"{text:>{width}}" for text, width in zip(cells, widths, strict=True))
        return f"{stage:<{wide}}" + "".join(right)

    rows = [row("stage", [metric.heading for metric in metrics.values()])]
    for stage, figures in evaluation.figures.items():
        shown = [
            format(figures[name], metric.form) if name in figures else "-"
            for name, metric in metrics.items()
        ]
        rows.append(row(stage, shown))
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


def describe(facts: Mapping[str, Any], evaluation: Evaluation) -> list[str]:
    """Lines that stand above the figures: what they are of, and what differs from the run's own."""
    parts = [
        "" if facts.get("step") is None else f"step {facts['step']}",
        "" if facts.get("num_steps") is None else f"M = {facts['num_steps']}",
        f"seed {facts['seed']}" if "seed" in facts else "",
        f"{len(evaluation.rows)} pictures",
        str(facts.get("checkpoint", "")),
    ]
    changed = [f"changed: {field}: {said}" for field, said in facts.get("changed", {}).items()]
    return [", ".join(filter(None, parts)), *changed, *evaluation.notes]


def write_evaluation(
    workdir: Place,
    evaluation: Evaluation,
    *,
    name: str,
    title: str,
    facts: Mapping[str, Any] = {},
    notes: Sequence[str] = (),
    course: Course | None = None,
) -> list[Place]:
    """Write ``metrics.json``, ``grid.png`` and ``report.html`` into ``evaluation/NAME``.

    Nothing is overwritten: if the folder has other figures, it is ``NAME-2``, and so on; if it has
    the same, only what is missing is written. ``facts`` go into ``metrics.json``, and above the
    figures of the report, which ``title`` and ``notes`` head; ``course`` has the figures during
    training. Without samples, no grid is written: the samples of several hosts are those of the
    first host, all of whose images may have been left out. Returns the paths.
    """
    content = _as_json(facts, evaluation)
    place = _own_folder(workdir / FOLDER, name, content.encode())
    storage, written = storage_of(workdir), [place / FIGURES]
    with closing(storage.outgoing(place)) as out:
        if not storage.exists(place / FIGURES):
            with whole_file(out.folder / FIGURES) as part:
                part.write_text(content)
            out.send()  # figures first: drawing may fail
        if evaluation.samples:
            written.append(place / GRID)
            if not storage.exists(place / GRID):
                write_png(out.folder / GRID, draw_grid(evaluation.samples))
        written.append(place / PAGE)
        if not storage.exists(place / PAGE):
            said = [*describe(facts, evaluation), *notes] if facts else notes
            write_page(out.folder / PAGE, evaluation, title=title, notes=said, course=course)
    return written


def show_newest(written: Sequence[Place]) -> list[Place]:
    """Copy the files of an evaluation one folder up, where its readers look first.

    What stands there is such a copy, or of a version whose evaluations had no folders; that one is
    brought to ``earlier``. Returns the paths.
    """
    above = written[0].parent.parent
    storage, stands = storage_of(above), [above / name for name in (FIGURES, GRID, PAGE)]
    if storage.exists(stands[0]) and b'"rows"' not in storage.read(stands[0]):
        _copy([file for file in stands if storage.exists(file)], above / "earlier")
    return _copy(written, above)


def _copy(files: Sequence[Place], folder: Place) -> list[Place]:
    storage = storage_of(folder)
    with closing(storage.outgoing(folder)) as out:
        for file in files:
            with whole_file(out.folder / file.name) as part:
                part.write_bytes(storage.read(file))
    return [folder / file.name for file in files]


def _own_folder(parent: Place, name: str, content: bytes) -> Place:
    """The folder of this name that has these figures or none; else the next free number's."""
    storage = storage_of(parent)
    places = (parent / (name if n == 1 else f"{name}-{n}") for n in itertools.count(1))
    return next(
        place
        for place in places
        if not storage.exists(place / FIGURES) or storage.read(place / FIGURES) == content
    )


def _as_json(facts: Mapping[str, Any], evaluation: Evaluation) -> str:
    """All figures, a picture in each line; null is a figure of a picture that is not finite."""

    def known(figures: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
        return {
            stage: {name: value if math.isfinite(value) else None for name, value in row.items()}
            for stage, row in figures.items()
        }

    facts = dict(facts)
    configuration = facts.pop("configuration", None)
    head = facts | {
        "pictures": len(evaluation.rows),
        "not_finite": evaluation.not_finite,
        "notes": evaluation.notes,
        "figures": known(evaluation.figures),
    }
    if configuration is not None:  # in one order, wherever it comes from
        head["configuration"] = json.loads(json.dumps(configuration, sort_keys=True))
    text = json.dumps(head, indent=2).removesuffix("\n}")
    rows = (
        json.dumps({"name": row.name, "figures": known(row.figures)}) for row in evaluation.rows
    )
    return text + ',\n  "rows": [\n    ' + ",\n    ".join(rows) + "\n  ]\n}\n"
