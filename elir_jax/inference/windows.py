"""Windows over pictures: they overlap, run a few at a time and join without seams.

The output of a local part sees a bounded neighbourhood, its halo. If windows overlap by twice the
halo, and of each window only the area is used whose whole halo lies inside, the result is that of
the whole picture, to rounding. At the edges of the picture windows end too, and the networks pad
there as they pad the whole picture. Windows of other parts are blended. Lengths along a side are in
units: elements of the coarser of a part's input and output. This file knows no network.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from elir_jax.arrays import Float32, Int, UInt8, UInt16
from elir_jax.pictures.images import to_float

# A part on all windows of a call, in the host's memory: a tuple of [n, h, w, c] -> [n, s, h, w, c].
OnWindows = Callable[[tuple[np.ndarray, ...]], Float32[np.ndarray, "n s _ _ _"]]
# Images of several sizes; integers become floats only window by window.
Stored = UInt8[np.ndarray, "_ _ 3"] | UInt16[np.ndarray, "_ _ 3"] | Float32[np.ndarray, "_ _ _"]


class Cut(NamedTuple):
    """A window ``[start, stop)`` along a side, and its area ``[first, last)`` that is used."""

    start: int
    stop: int
    first: int
    last: int


class Layout(NamedTuple):
    """Windows of one shape over a picture."""

    rows: list[Cut]
    columns: list[Cut]

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of a window."""
        row, column = self.rows[0], self.columns[0]
        return row.stop - row.start, column.stop - column.start


def lay_out(height: int, width: int, most: int, halo: int, multiple: int = 1) -> Layout:
    """The windows of at most ``most`` units that need the least work together.

    ``multiple`` divides the sides of the windows; it must divide ``height`` and ``width``. Raises
    ValueError if such small windows would be smaller than their halo.
    """
    layouts = []
    for rows in _counts(height, halo, multiple):
        for columns in _counts(width, halo, multiple):
            area = _window(height, rows, halo, multiple) * _window(width, columns, halo, multiple)
            if area <= most:
                layouts.append((rows * columns * area, rows, columns))
                break  # more windows would only compute more twice
    if not layouts:
        raise ValueError(f"no windows of {most} units over {height}x{width}, halo {halo}")
    _, rows, columns = min(layouts)
    return Layout(
        _cut(height, rows, _window(height, rows, halo, multiple)),
        _cut(width, columns, _window(width, columns, halo, multiple)),
    )


def lay_out_fixed(height: int, width: int, size: int, overlap: int) -> Layout:
    """The fewest windows of ``size`` that overlap by at least twice ``overlap``.

    Raises ValueError if the picture is smaller than a window.
    """
    if min(height, width) < size or size <= 2 * overlap:
        raise ValueError(f"no windows of {size} over {height}x{width}, overlap {overlap}")
    counts = (1 + -(-(length - size) // (size - 2 * overlap)) for length in (height, width))
    rows, columns = counts
    return Layout(_cut(height, rows, size), _cut(width, columns, size))


def _window(length: int, count: int, halo: int, multiple: int) -> int:
    """Length of ``count`` windows over ``length`` whose neighbours overlap by 2 ``halo``."""
    return -(-(length + 2 * halo * (count - 1)) // (count * multiple)) * multiple


def _counts(length: int, halo: int, multiple: int):
    """The possible numbers of windows along a side."""
    count = 1
    while count == 1 or _window(length, count, halo, multiple) > 2 * halo + multiple:
        yield count
        count += 1


def _cut(length: int, count: int, window: int) -> list[Cut]:
    room = length - window
    starts = [room * i // max(count - 1, 1) for i in range(count)]
    # The seam between neighbours lies in the middle of their overlap.
    seams = [(before + window + after) // 2 for before, after in itertools.pairwise(starts)]
    return [
        Cut(start, start + window, first, last)
        for start, first, last in zip(starts, [0, *seams], [*seams, length], strict=True)
    ]


def join_windows(
    call: OnWindows,
    images: Sequence[Sequence[Stored]],
    layout: Layout,
    units: tuple[int, int],
    at_once: int,
    sizes: Sequence[tuple[int, int]],
) -> list[list[Float32[np.ndarray, "_ _ _"]]]:
    """Run a local part in windows: a list of outputs for each image, cropped to ``sizes``.

    ``images`` holds one sequence for each argument of ``call``. ``units`` are the number of
    elements per unit along a side, for input and output. Images are mirrored beyond their edges up
    to the sides of the layout. ``call`` always gets ``at_once`` windows: the last call is filled
    up.
    """
    unit_in, unit_out = units
    results: list[list[np.ndarray]] = []
    for some in _calls(layout, len(images[0]), at_once):
        windows = (
            _stack([_mirrored(argument[i], *cuts, unit_in) for i, *cuts in some], at_once)
            for argument in images
        )
        parts = call(tuple(windows))
        if not results:
            shape = parts.shape[1], parts.shape[-1]
            results = [
                [np.empty((*size, shape[1]), np.float32) for _ in range(shape[0])] for size in sizes
            ]
        for (i, row, column), outputs in zip(some, parts, strict=False):
            top, left = row.first * unit_out, column.first * unit_out
            given = _given(row, column, unit_out)
            for image, output in zip(results[i], outputs, strict=True):
                room = image[top : row.last * unit_out, left : column.last * unit_out]
                room[:] = output[given][: room.shape[0], : room.shape[1]]
    return results


def blend_windows(
    call: OnWindows,
    images: Sequence[Sequence[Stored]],
    layout: Layout,
    at_once: int,
    sizes: Sequence[tuple[int, int]],
) -> list[list[Float32[np.ndarray, "_ _ _"]]]:
    """Run a part that sees its whole window; overlapping results are blended linearly.

    ``images`` holds one sequence for each argument of ``call``. See :func:`join_windows`.
    """
    side = layout.rows[-1].stop, layout.columns[-1].stop
    weights = np.zeros((*side, 1), np.float32)
    ramps = {cut: _ramp(cut) for cuts in layout for cut in cuts}
    for row, column in itertools.product(layout.rows, layout.columns):
        weights[_place(row, column)] += np.multiply.outer(ramps[row], ramps[column])[..., None]
    totals: list[np.ndarray] = []
    for some in _calls(layout, len(images[0]), at_once):
        windows = (
            _stack([_mirrored(argument[i], *cuts, 1) for i, *cuts in some], at_once)
            for argument in images
        )
        parts = call(tuple(windows))
        if not totals:
            shape = parts.shape[1], *side, parts.shape[-1]
            totals = [np.zeros(shape, np.float32) for _ in images[0]]
        for (i, row, column), part in zip(some, parts, strict=False):
            share = np.multiply.outer(ramps[row], ramps[column])[..., None]
            totals[i][:, *_place(row, column)] += part * (share / weights[_place(row, column)])
    return [
        [output[:height, :width] for output in total]
        for total, (height, width) in zip(totals, sizes, strict=True)
    ]


def _stack(windows: list[np.ndarray], at_once: int) -> np.ndarray:
    return np.stack(windows + windows[-1:] * (at_once - len(windows)))


def _calls(layout: Layout, images: int, at_once: int):
    """(image, row, column) of every window, at most ``at_once`` for each call."""
    jobs = list(itertools.product(range(images), layout.rows, layout.columns))
    for first in range(0, len(jobs), at_once):
        yield jobs[first : first + at_once]


def _place(row: Cut, column: Cut) -> tuple[slice, slice]:
    return slice(row.start, row.stop), slice(column.start, column.stop)


def _given(row: Cut, column: Cut, unit: int) -> tuple[slice, slice]:
    """The area of a window that is used, in elements."""
    sides = ((cut.first - cut.start, cut.last - cut.start) for cut in (row, column))
    top, left = (slice(first * unit, last * unit) for first, last in sides)
    return top, left


def _mirrored(image: Stored, row: Cut, column: Cut, unit: int) -> Float32[np.ndarray, "_ _ _"]:
    """A window of the image, which is mirrored beyond its edges, repeatedly if it is small."""
    cuts = [(cut.start * unit, cut.stop * unit) for cut in (row, column)]
    if all(stop <= length for (_, stop), length in zip(cuts, image.shape[:2], strict=True)):
        window = image[cuts[0][0] : cuts[0][1], cuts[1][0] : cuts[1][1]]
    else:
        rows, columns = (
            _mirror(np.arange(start, stop), length)
            for (start, stop), length in zip(cuts, image.shape[:2], strict=True)
        )
        window = image[rows[:, None], columns]
    return as_float(window)


def as_float(image: Stored) -> Float32[np.ndarray, "_ _ _"]:
    """Floats as they are; the full range of integers as [0, 1]."""
    return image if image.dtype == np.float32 else to_float(image)


def _mirror(places: Int[np.ndarray, " n"], length: int) -> Int[np.ndarray, " n"]:
    period = max(2 * (length - 1), 1)
    places = places % period
    return np.where(places < length, places, period - places)


def _ramp(cut: Cut) -> Float32[np.ndarray, " n"]:
    """Weights over a window: they rise from its edges to 1, but not at the picture's edges."""
    length = cut.stop - cut.start
    # The overlap with a neighbour is twice the distance from the window's edge to the seam.
    into, out = 2 * (cut.first - cut.start), 2 * (cut.stop - cut.last)
    at = np.arange(length) + 0.5
    rise = np.minimum(1, at / into) if into else np.ones(length)
    fall = np.minimum(1, (length - at) / out) if out else np.ones(length)
    return (rise * fall).astype(np.float32)
