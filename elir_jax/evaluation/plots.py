"""The plots of a report, as SVG inside a page with the colours of the page.

Matplotlib draws with placeholder colours, which are then replaced by the page's CSS variables, so
that one drawing fits light and dark pages. Figures are made without pyplot, and matplotlib's
settings are restored afterwards. The same numbers give the same text.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path as Line
from matplotlib.transforms import Bbox

from elir_jax.evaluation.names import PERCEPTUAL, join_equal_stages, metric_named, metric_names

INK, MUTED, RULE, PATH, GOAL, PAPER = (f"#0{i}0{i}0{i}" for i in range(1, 7))
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PATH: "var(--accent)",
    GOAL: "var(--goal)",
    PAPER: "var(--paper)",
}
STYLE = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "svg.hashsalt": "elir_jax",  # otherwise ids are drawn at random
    "text.parse_math": False,  # a metric may have any name
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 2,
    "lines.markersize": 8,
    "lines.markeredgecolor": PAPER,
    "lines.markeredgewidth": 1.5,
}
DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 4)))  # last stage first
WIDTH = 5.2  # inches; about the width of a telephone, so that text is not shrunk there
MOST_PANELS = 6
# Directions from a point to its label, best first, as (right, up).
AROUND = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]
DISTANCES = (7.0, 16.0, 28.0)  # points


class Plot(NamedTuple):
    """A drawing with its title and caption; ``svg`` is markup, the others are text."""

    title: str
    svg: str
    caption: str


@matplotlib.rc_context(STYLE)
def plot_figures(figures: Mapping[str, Mapping[str, float]]) -> Plot | None:
    """Plot PSNR against a perceptual metric over the steps, ``figures[stage][metric]`` (Figure 4).

    Without a perceptual metric, plot every metric over the stages; None if there is only one stage.
    The input is left out, because it can be so far away that the steps would fall on one point.
    """
    shown = {stage: row for stage, row in figures.items() if stage != "input"}
    for name in PERCEPTUAL:
        pairs = {
            stage: (row.get("psnr", np.nan), row.get(name, np.nan)) for stage, row in shown.items()
        }
        points = join_equal_stages(
            {stage: pair for stage, pair in pairs.items() if np.isfinite(pair).all()}
        )
        if len(points) > 1:
            plot = _tradeoff(name, points)
            break
    else:
        course = join_equal_stages(shown)
        if len(course) < 2:
            return None
        plot = _over_stages(metric_names(shown), course)
    if len(shown) < len(figures):
        return plot._replace(caption=f"{plot.caption} The input is in the table only.")
    return plot


def _tradeoff(name: str, points: Sequence[tuple[str, tuple[float, float]]]) -> Plot:
    titles, places = zip(*points, strict=True)
    figure = _figure(3.7)
    axes = figure.subplots()
    axes.plot(*zip(*places, strict=True), color=PATH, marker="o")
    axes.set(xlabel=_axis("psnr"), ylabel=_axis(name))
    axes.margins(0.16)
    _label(axes, np.asarray(places), titles)
    title = f"Distortion and perception: PSNR against {metric_named(name).title}"
    return Plot(title, _svg(figure, "tradeoff", title), "The line follows the steps.")


def _over_stages(names: Sequence[str], course: Sequence[tuple[str, Mapping[str, float]]]) -> Plot:
    figure = _figure(1.1 + 1.5 * len(names))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for name, axes in zip(names, panels, strict=True):
        values = [row.get(name, np.nan) for _, row in course]
        axes.plot(range(len(course)), values, color=PATH, marker="o")
        axes.set_title(_axis(name), loc="left", fontsize=10)
        axes.margins(x=0.05, y=0.2)
        axes.locator_params(axis="y", nbins=4)
        ticks = [title for title, _ in course]
    panels[-1].set_xticks(range(len(course)), ticks, rotation=30, ha="right")
    known = [metric_named(name).title for name in PERCEPTUAL]
    title = "Metrics over the stages"
    return Plot(
        title,
        _svg(figure, "stages", title),
        "A plot of distortion against perception needs two stages with PSNR and one of "
        f"{', '.join(known)}; this one shows each metric over the stages instead.",
    )


@matplotlib.rc_context(STYLE)
def plot_trajectories(trajectories: np.ndarray) -> Plot:
    """Plot the path of each sample ``[samples, M + 2, dims]`` (Figure 10).

    The points of a sample are the flow's start, its states after M steps, and its target.
    """
    shown = trajectories[:MOST_PANELS]
    paths = np.stack([_project(points) for points in shown])
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    low, high = paths.min(axis=(0, 1)), paths.max(axis=(0, 1))
    low, high = np.minimum(low, [0.0, -0.1]) - 0.1, np.maximum(high, [1.0, 0.3]) + 0.1
    across, up = high - low
    figure = _figure(0.5 + rows * (0.6 + min(WIDTH / columns * up / across, WIDTH)))
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for number, (axes, path) in enumerate(zip(panels, paths, strict=False), 1):
        start, steps, target = path[:1], path[1:-1], path[-1:]
        axes.plot(*np.concatenate([start, target]).T, color=MUTED, linewidth=1, linestyle=":")
        axes.plot(*path[:-1].T, color=PATH)
        axes.plot(*start.T, color=INK, marker="s", linestyle="", markersize=7, label="start")
        axes.plot(*steps.T, color=PATH, marker="o", linestyle="", markersize=6, label="steps")
        axes.plot(*target.T, color=GOAL, marker="*", linestyle="", markersize=13, label="target")
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axes.set_title(f"sample {number}", loc="left", fontsize=10)
        axes.set(xlabel="towards the target", ylabel="across")
        axes.locator_params(nbins=4)
    for axes in figure.axes[len(shown) :]:
        axes.remove()
    marks, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(marks, names, loc="outside upper center", ncols=3, frameon=False)
    title = "Paths of the flow"
    few = f" Only the first {len(shown)} samples." if len(shown) < len(trajectories) else ""
    return Plot(
        title,
        _svg(figure, "trajectories", title),
        "Each sample has its own plane. Horizontally: along the line from its start to its target, "
        "whose length is 1. Vertically: the direction in which its steps deviate most from that "
        f"line. On average, a path is {_detour(shown):.3f} times as long as the distance between "
        f"its ends.{few}",
    )


@matplotlib.rc_context(STYLE)
def plot_course(course: Mapping[int, Mapping[str, Mapping[str, float]]]) -> Plot | None:
    """Plot every metric over the steps of the training, ``course[step][stage][metric]``.

    Each stage is a line. None if there is no step. The input is left out, as in
    :func:`plot_figures`.
    """
    steps = sorted(course)
    names = list(dict.fromkeys(name for n in steps for name in metric_names(course[n])))
    stages = list(dict.fromkeys(stage for n in steps for stage in course[n] if stage != "input"))
    if not steps or not stages:
        return None
    lines = {
        stage: tuple(
            tuple(course[n].get(stage, {}).get(name, np.nan) for n in steps) for name in names
        )
        for stage in stages
    }
    shown = join_equal_stages(lines)
    figure = _figure(1.4 + 1.9 * len(names))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for row, (name, axes) in enumerate(zip(names, panels, strict=True)):
        for number, (title, values) in enumerate(reversed(shown)):
            last = number == 0
            axes.plot(
                steps, values[row], label=title, color=PATH if last else MUTED, zorder=2 + last,
                marker="o" if last else "", linestyle=DASHES[number % len(DASHES)],
                linewidth=2 if last else 1.2, markersize=5,
            )  # fmt: skip
        axes.set_title(_axis(name), loc="left", fontsize=10)
        axes.margins(x=0.05, y=0.15)
        axes.locator_params(axis="y", nbins=4)
    panels[-1].set_xlabel("training step")
    marks, labels = panels[0].get_legend_handles_labels()
    figure.legend(marks, labels, loc="outside upper center", ncols=2, frameon=False)
    title = "Metrics during training"
    caption = "Measured during training with the averaged weights, on the held-out images."
    return Plot(title, _svg(figure, "course", title), caption)


def _project(points: np.ndarray) -> np.ndarray:
    """``[n, dims]``, target last -> ``[n, 2]``, with the start at (0, 0) and the target at (1, 0).

    Principal axes of all samples together would show how pictures differ, not how each one moves.
    """
    moved = (points - points[0]).astype(np.float64)
    length = np.linalg.norm(moved[-1])
    along = moved[-1] / length if length else moved[-1]
    x = moved @ along
    rest = moved - np.outer(x, along)
    across = np.linalg.svd(rest, full_matrices=False)[2][0]
    y = rest @ across
    if y[-2] < 0:  # the sign of the axis is arbitrary
        y = -y
    return np.stack([x, y], axis=-1) / (length or 1.0)


def _detour(trajectories: np.ndarray) -> float:
    """Length of a path over the distance of its ends, in all dimensions; mean over the samples."""
    states = trajectories[:, :-1].astype(np.float64)
    length = np.linalg.norm(np.diff(states, axis=1), axis=-1).sum(axis=-1)
    distance = np.linalg.norm(states[:, -1] - states[:, 0], axis=-1)
    return float(np.mean(length / np.maximum(distance, np.finfo(np.float64).tiny)))


def _axis(name: str) -> str:
    metric = metric_named(name)
    return ", ".join(filter(None, [metric.heading, metric.direction]))


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)  # measures text
    return figure


def _label(axes: Axes, points: np.ndarray, titles: Sequence[str]) -> None:
    """Write each title near its point ``[n, 2]``, clear of the line, points and other titles."""
    figure = axes.figure
    figure.draw_without_rendering()  # from here on the axes stay where they are
    figure.set_layout_engine("none")
    places = axes.transData.transform(points)
    line = Line(places)
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in places]
    for point, title in zip(points, titles, strict=True):
        text = axes.annotate(title, point, (0, 0), textcoords="offset points", fontsize=9)

        def put(distance, direction, text=text):
            right, up = direction
            text.set_position((distance * right, distance * up))
            text.set_ha(("center", "left", "right")[right])
            text.set_va(("center", "bottom", "top")[up])
            return text.get_window_extent()

        def cost(place):
            box = put(*place)
            inside = axes.bbox.count_contains(box.corners()) == 4
            crossed = line.intersects_bbox(box, filled=False)
            return 4 * box.count_overlaps(taken) + 4 * (not inside) + 2 * crossed + place[0] / 10

        box = put(*min(((d, a) for d in DISTANCES for a in AROUND), key=cost))
        taken.append(box)


def _svg(figure: Figure, name: str, title: str) -> str:
    """The figure as one element without namespaces; its ids begin with ``name``."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'( xmlns(:\w+)?="[^"]*"| (width|height)="[\d.]+pt")', "", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).strip()
