"""Pictures of any size: windows that overlap, run a few at a time, put together without seams.

Encoder and decoder are plain convolutions: an output sees ``HALO`` latents around it and no more.
So windows that overlap by twice that, each giving the part around which it sees all, give what the
whole picture gives, to rounding. At the picture's edges windows end where it ends, and the networks
pad there as they do the whole. Lengths and places along a side are in latents of ``FACTOR`` pixels.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, UInt8, UInt16

from elir_jax.networks.taesd import FACTOR, HALO
from elir_jax.pictures.images import AnyPixels, to_float

# A network over all windows of a call, from host to host.
OnWindows = Callable[[Float32[np.ndarray, "n _ _ _"]], Float32[np.ndarray, "n _ _ _"]]
# Images of several sizes, as integers perhaps, which are floats window by window only.
Stored = UInt8[np.ndarray, "_ _ 3"] | UInt16[np.ndarray, "_ _ 3"] | AnyPixels
Latents = Float32[np.ndarray, "b lh lw c"]


class Cut(NamedTuple):
    """A window ``[start, stop)`` along a side, and the part ``[first, last)`` that it gives."""

    start: int
    stop: int
    first: int
    last: int


class Plan(NamedTuple):
    """Windows of one shape over ``height`` x ``width`` latents."""

    rows: list[Cut]
    columns: list[Cut]

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of a window."""
        row, column = self.rows[0], self.columns[0]
        return row.stop - row.start, column.stop - column.start


def plan(height: int, width: int, most: int, halo: int = HALO, multiple: int = 1) -> Plan:
    """The windows of at most ``most`` latents that together are the least work.

    ``multiple`` divides the sides of the windows; it must divide ``height`` and ``width``. Raises
    ValueError where windows so small could not reach over their halo.
    """
    plans = []
    for rows in _counts(height, halo, multiple):
        for columns in _counts(width, halo, multiple):
            area = _window(height, rows, halo, multiple) * _window(width, columns, halo, multiple)
            if area <= most:
                plans.append((rows * columns * area, rows, columns))
                break  # more of them only see more twice
    if not plans:
        raise ValueError(f"no windows of {most} latents over {height}x{width}, halo {halo}")
    _, rows, columns = min(plans)
    return Plan(_cut(height, rows, halo, multiple), _cut(width, columns, halo, multiple))


def _window(length: int, count: int, halo: int, multiple: int) -> int:
    """Length of ``count`` windows over ``length`` whose neighbours overlap by 2 ``halo``."""
    return -(-(length + 2 * halo * (count - 1)) // (count * multiple)) * multiple


def _counts(length: int, halo: int, multiple: int):
    """How many windows there can be."""
    count = 1
    while count == 1 or _window(length, count, halo, multiple) > 2 * halo + multiple:
        yield count
        count += 1


def _cut(length: int, count: int, halo: int, multiple: int) -> list[Cut]:
    window = _window(length, count, halo, multiple)
    room = length - window
    starts = [room * i // max(count - 1, 1) for i in range(count)]
    # The seam between neighbours lies in the middle of what both see.
    seams = [(before + window + after) // 2 for before, after in itertools.pairwise(starts)]
    return [
        Cut(start, start + window, first, last)
        for start, first, last in zip(starts, [0, *seams], [*seams, length], strict=True)
    ]


def encode_in_windows(
    encode: OnWindows, images: Sequence[Stored], plan: Plan, at_once: int
) -> Latents:
    """Latents of images that are padded to one size: beyond its edges each is mirrored.

    ``encode`` is given ``at_once`` windows a call, always: a last call is filled up.
    """
    z: Latents | None = None
    for some in _calls(plan, len(images), at_once):
        parts = encode(_stack([_mirrored(images[i], *cuts) for i, *cuts in some], at_once))
        if z is None:
            sides = plan.rows[-1].stop, plan.columns[-1].stop
            z = np.empty((len(images), *sides, parts.shape[-1]), np.float32)
        for (i, row, column), part in zip(some, parts, strict=False):
            z[i, row.first : row.last, column.first : column.last] = part[_given(row, column)]
    assert z is not None
    return z


def decode_in_windows(
    decode: OnWindows, z: Latents, plan: Plan, at_once: int, sizes: Sequence[tuple[int, int]]
) -> list[AnyPixels]:
    """Images of these heights and widths: the top left of what the latents decode to."""
    images = [np.empty((*size, 3), np.float32) for size in sizes]
    for some in _calls(plan, len(z), at_once):
        parts = decode(_stack([z[i][_place(*cuts)] for i, *cuts in some], at_once))
        for (i, row, column), part in zip(some, parts, strict=False):
            top, left = row.first * FACTOR, column.first * FACTOR
            room = images[i][top : row.last * FACTOR, left : column.last * FACTOR]
            room[:] = part[_given(row, column, FACTOR)][: room.shape[0], : room.shape[1]]
    return images


def blend_in_windows(
    carry: Callable[[tuple[Latents, Latents]], Float32[np.ndarray, "n s _ _ _"]],
    z: Latents,
    eps: Latents,
    plan: Plan,
    at_once: int,
) -> Float32[np.ndarray, "b s lh lw c"]:
    """What ``carry`` makes of latents and noise, where their networks see the whole window.

    Windows then differ where they overlap; their results pass into each other linearly.
    """
    total, weights = None, np.zeros((*z.shape[1:3], 1), np.float32)
    ramps = {cut: _ramp(cut) for cuts in plan for cut in cuts}
    for row, column in itertools.product(plan.rows, plan.columns):
        weights[_place(row, column)] += np.multiply.outer(ramps[row], ramps[column])[..., None]
    for some in _calls(plan, len(z), at_once):
        windows = (_stack([a[i][_place(*cuts)] for i, *cuts in some], at_once) for a in (z, eps))
        parts = carry(tuple(windows))
        if total is None:
            total = np.zeros((len(z), parts.shape[1], *z.shape[1:]), np.float32)
        for (i, row, column), part in zip(some, parts, strict=False):
            share = np.multiply.outer(ramps[row], ramps[column])[..., None]
            total[i][:, *_place(row, column)] += part * (share / weights[_place(row, column)])
    assert total is not None
    return total


def _stack(windows: list[np.ndarray], at_once: int) -> np.ndarray:
    return np.stack(windows + windows[-1:] * (at_once - len(windows)))


def _calls(plan: Plan, images: int, at_once: int):
    """(image, row, column) of every window, at most ``at_once`` a call."""
    jobs = list(itertools.product(range(images), plan.rows, plan.columns))
    for first in range(0, len(jobs), at_once):
        yield jobs[first : first + at_once]


def _place(row: Cut, column: Cut) -> tuple[slice, slice]:
    return slice(row.start, row.stop), slice(column.start, column.stop)


def _given(row: Cut, column: Cut, scale: int = 1) -> tuple[slice, slice]:
    """The part of a window that it gives, in latents times ``scale``."""
    sides = ((cut.first - cut.start, cut.last - cut.start) for cut in (row, column))
    top, left = (slice(first * scale, last * scale) for first, last in sides)
    return top, left


def _mirrored(image: Stored, row: Cut, column: Cut) -> AnyPixels:
    """A window of the image; beyond the edges it is mirrored, again and again if it is small."""
    rows, columns = (
        _mirror(np.arange(cut.start * FACTOR, cut.stop * FACTOR), length)
        for cut, length in zip((row, column), image.shape[:2], strict=True)
    )
    window = image[rows[:, None], columns]
    return window if window.dtype == np.float32 else to_float(window)


def _mirror(places: Int[np.ndarray, " n"], length: int) -> Int[np.ndarray, " n"]:
    period = max(2 * (length - 1), 1)
    places = places % period
    return np.where(places < length, places, period - places)


def _ramp(cut: Cut) -> Float32[np.ndarray, " n"]:
    """Weights over a window: they rise from its edges to 1, but not at the picture's edges."""
    length = cut.stop - cut.start
    # The overlap with a neighbour is twice the way from the window's edge to the seam.
    into, out = 2 * (cut.first - cut.start), 2 * (cut.stop - cut.last)
    at = np.arange(length) + 0.5
    rise = np.minimum(1, at / into) if into else np.ones(length)
    fall = np.minimum(1, (length - at) / out) if out else np.ones(length)
    return (rise * fall).astype(np.float32)
