"""The plots of a report, as SVG that stands inside a page and takes its colours.

Matplotlib draws with placeholder colours, which then become the page's CSS variables, so that one
drawing serves light and dark. Figures are made without pyplot and settings are put back: nothing
is left behind. The same numbers give the same text.
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

from elir_jax.evaluation.names import PERCEPTUAL, metric_named, metric_names, titled

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
    "text.parse_math": False,  # a metric may be called anything
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
WIDTH = 5.2  # inches; a telephone shows it at about this size, so that text is not shrunk
MOST_PANELS = 6
# Where a label may stand, best first: the direction from its point, as (right, up).
AROUND = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]
DISTANCES = (7.0, 16.0, 28.0)  # points


class Plot(NamedTuple):
    """A drawing, what it is, and what to see in it; ``svg`` is markup, the others are text."""

    title: str
    svg: str
    caption: str


@matplotlib.rc_context(STYLE)
def plot_figures(figures: Mapping[str, Mapping[str, float]]) -> Plot | None:
    """PSNR against a perceptual metric over the steps, ``figures[stage][metric]`` (Figure 4).

    Without a perceptual metric, every metric over the stages; None where there is but one stage.
    The input is left out: where it lies far off, the steps would fall on one point.
    """
    shown = {stage: row for stage, row in figures.items() if stage != "input"}
    for name in PERCEPTUAL:
        pairs = {
            stage: (row.get("psnr", np.nan), row.get(name, np.nan)) for stage, row in shown.items()
        }
        points = titled({stage: pair for stage, pair in pairs.items() if np.isfinite(pair).all()})
        if len(points) > 1:
            plot = _tradeoff(name, points)
            break
    else:
        course = titled(shown)
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
    return Plot(title, _svg(figure, "tradeoff", title), "Joined in the order of the steps.")


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
    title = "The metrics over the stages"
    return Plot(
        title,
        _svg(figure, "stages", title),
        "To draw distortion against perception, two stages must have PSNR and one of "
        f"{', '.join(known)}; here is each metric over the stages instead.",
    )


@matplotlib.rc_context(STYLE)
def plot_trajectories(trajectories: np.ndarray) -> Plot:
    """The way of each sample through the latent space ``[samples, M + 2, dims]`` (Figure 10).

    A sample's points are ``z_0``, the states after M Euler steps and the target ``z_hq``.
    """
    shown = trajectories[:MOST_PANELS]
    ways = np.stack([_project(points) for points in shown])
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    low, high = ways.min(axis=(0, 1)), ways.max(axis=(0, 1))
    low, high = np.minimum(low, [0.0, -0.1]) - 0.1, np.maximum(high, [1.0, 0.3]) + 0.1
    across, up = high - low
    figure = _figure(0.5 + rows * (0.6 + min(WIDTH / columns * up / across, WIDTH)))
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for number, (axes, way) in enumerate(zip(panels, ways, strict=False), 1):
        start, steps, target = way[:1], way[1:-1], way[-1:]
        axes.plot(*np.concatenate([start, target]).T, color=MUTED, linewidth=1, linestyle=":")
        axes.plot(*way[:-1].T, color=PATH)
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
    title = "Trajectories in latent space"
    few = f" The first {len(shown)} samples." if len(shown) < len(trajectories) else ""
    return Plot(
        title,
        _svg(figure, "trajectories", title),
        "Each sample in its own plane: along the line from its start to its target, whose length "
        "is 1, and along the direction in which its steps leave that line most. A way is "
        f"{_detour(shown):.3f} times as long as the distance between its ends, on average.{few}",
    )


@matplotlib.rc_context(STYLE)
def plot_course(course: Mapping[int, Mapping[str, Mapping[str, float]]]) -> Plot | None:
    """Every metric over the training's steps, ``course[step][stage][metric]``, a line a stage.

    None if there is no step. The input is left out, as in :func:`plot_figures`.
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
    shown = titled(lines)
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
    title = "The metrics over the training"
    caption = "Measured during training with the averaged weights, on the held-out images."
    return Plot(title, _svg(figure, "course", title), caption)


def _project(points: np.ndarray) -> np.ndarray:
    """``[n, dims]``, target last -> ``[n, 2]``; the start at (0, 0), the target at (1, 0).

    Principal axes of all samples together would show how pictures differ, not how a latent moves.
    """
    moved = (points - points[0]).astype(np.float64)
    length = np.linalg.norm(moved[-1])
    along = moved[-1] / length if length else moved[-1]
    x = moved @ along
    rest = moved - np.outer(x, along)
    across = np.linalg.svd(rest, full_matrices=False)[2][0]
    y = rest @ across
    if y[-2] < 0:  # an axis has no sign of its own
        y = -y
    return np.stack([x, y], axis=-1) / (length or 1.0)


def _detour(trajectories: np.ndarray) -> float:
    """Length of the way over the distance of its ends, in all dimensions, mean over the samples."""
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
    """Write each title near its point ``[n, 2]``, off the line, the points and other titles."""
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
    """The figure as one element without outside names; ids begin with ``name``."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'( xmlns(:\w+)?="[^"]*"| (width|height)="[\d.]+pt")', "", svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).strip()
