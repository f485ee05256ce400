"""Restore pictures of any size in bounded memory, with a method's list of parts.

A picture is padded by mirroring to one of a few sizes, so that few programs are compiled, and
cropped back afterwards. Local parts run in windows and leave no seams. Parts that must see
everything run once on the whole picture. If it is too large for them, or if they are made for one
size, they run in windows that are blended (:mod:`elir_jax.inference.windows`). Neighbouring parts
that see everything share a program. The result depends only on a picture's pixels, the weights and
the seed.
"""

import contextlib
import ctypes
import functools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from elir_jax.arrays import Float32
from elir_jax.inference.parts import (
    Local,
    Params,
    Part,
    Whole,
    least_side,
    multiple_of,
    shown_stages,
    shows_restoration,
)
from elir_jax.inference.windows import (
    Layout,
    Stored,
    blend_windows,
    join_windows,
    lay_out,
    lay_out_fixed,
)

LARGE = 1024 * 1024  # pixels; for larger pictures, freed memory is given back between parts

Weights = tuple[Params, Params]  # trained and frozen
Segment = tuple[Part, ...]  # parts that run as one program
Outputs = list[list[Float32[np.ndarray, "_ _ _"]]]  # a list for each image
Draw = Callable[[int, Stored, tuple[int, ...]], np.ndarray]  # (seed, image, shape) -> unit noise


class Restoration(NamedTuple):
    """The results for one picture; images are floats, about [0, 1], not clipped."""

    restored: np.ndarray
    stages: tuple[np.ndarray, ...] = ()  # those that the parts show, in order
    states: tuple[np.ndarray, ...] = ()  # outputs of the noisy part: the states of the flow


class _Job(NamedTuple):
    """The pictures of one call."""

    weights: Weights
    side: tuple[int, int]  # the padded size, in pixels
    sizes: list[tuple[int, int]]
    batch: int
    seed: int
    images: Sequence[Stored]
    kept: dict[str, list[Stored]]  # outputs of the parts that later ones are given also, by name


class WholePictures:
    """Runs a list of parts over all local devices, and keeps compiled programs.

    ``mapped`` spreads a function of (weights, rows) over ``devices`` devices; its arguments and
    results are in the host's memory. ``draw`` gives a picture's noise.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        mapped: Callable[[Callable], Callable],
        devices: int,
        draw: Draw,
    ):
        self.parts, self._devices, self._draw = tuple(parts), devices, draw
        self.stage_names = shown_stages(parts)
        self._multiple, self._least = multiple_of(parts), least_side(parts)
        self._segments, self._kept = segments(parts), {part.also for part in parts}
        self._program = functools.cache(
            lambda segment, every: mapped(functools.partial(_run_segment, segment, every))
        )

    def padded_side(self, pixels: int) -> int:
        """The padded length of a side: 1 to 8 times :func:`multiple_of`, then four sizes for each
        doubling."""
        step = self._multiple
        while pixels > 8 * step:
            step *= 2
        return max(-(-pixels // step) * step, -(-self._least // self._multiple) * self._multiple)

    def restore(
        self, weights: Weights, images: Sequence[Stored], seed: int, batch: int, every: bool = False
    ) -> list[Restoration]:
        """Restore images; if ``every``, the results have the stages too.

        ``weights`` are (params, frozen), on every device. ``images`` are floats in [0, 1], or
        integers that stand for them, of one padded size. The programs are compiled for ``batch``
        images, whatever their number.
        """
        (side,) = {tuple(map(self.padded_side, image.shape[:2])) for image in images}
        job = _Job(weights, side, [image.shape[:2] for image in images], batch, seed, images, {})
        x, at, rest = list(images), Fraction(1), self._segments
        shown: list[tuple[Part, Fraction, Outputs]] = []
        while rest and not (every and self._is_shown(rest)):
            segment, rest = rest[0], rest[1:]
            outputs = self._run(segment, x, at, job, every=every, last=not rest)
            x = [image[-1] for image in outputs]
            if segment[-1].name in self._kept:
                job.kept[segment[-1].name] = x
            for part in segment:
                at *= part.scale
            if every:
                shown += _split(segment, at, outputs)
        stages = self._render(shown, job)
        states = _states(shown, len(images))
        restored = x if not rest else [pictures[-1] for pictures in stages]
        return [Restoration(*one) for one in zip(restored, stages, states, strict=True)]

    def _is_shown(self, rest: Sequence[Segment]) -> bool:
        """Whether showing the last stage already does the ``rest`` of the work."""
        left = [part for segment in rest for part in segment]
        return shows_restoration(self.parts) and not any(part.shows for part in left)

    def _render(self, shown, job: "_Job") -> list[tuple[np.ndarray, ...]]:
        """The stages of each image as pictures, made by the parts that each stage names."""
        stages: list[tuple[np.ndarray, ...]] = [() for _ in job.sizes]
        for part, at, outputs in shown:
            through = [p for p in self.parts if p.name in part.through]
            for number in (n for n, name in enumerate(part.shows) if name):
                x, place = [image[number] for image in outputs], at
                for other in through:
                    last = other is through[-1]
                    x = [o[-1] for o in self._run((other,), x, place, job, every=False, last=last)]
                    place *= other.scale
                if not through:
                    x = [o[:h, :w] for o, (h, w) in zip(x, job.sizes, strict=True)]
                stages = [(*found, one) for found, one in zip(stages, x, strict=True)]
        return stages

    def _run(self, segment: Segment, x, at: Fraction, job: "_Job", *, every, last) -> Outputs:
        """Run a segment over all images; ``at`` is the number of input elements per pixel.

        Outputs have the padded size; those of the ``last`` segment have the picture's own size.
        """
        height, width = (int(length * at) for length in job.side)
        if height * width > LARGE:
            give_back()
        scale = math.prod((part.scale for part in segment), start=at)
        padded = tuple(int(length * scale) for length in job.side)
        sizes = job.sizes if last and scale == 1 else [padded] * len(x)
        program = self._program(segment, every and any(part.shows for part in segment))
        call = functools.partial(program, job.weights)
        reach, also = segment[0].reach, segment[0].also
        arguments = [x, job.kept[also]] if also else [x]
        if isinstance(reach, Local):
            scale = segment[0].scale
            units = (int(1 / scale), 1) if scale < 1 else (1, int(scale))
            units = units[0] * reach.unit, units[1] * reach.unit
            layout = lay_out(height // units[0], width // units[0], reach.at_once, reach.halo)
            at_once = self._at_once(reach.at_once, layout, job.batch)
            return join_windows(call, arguments, layout, units, at_once, sizes)
        if isinstance(reach, Whole):
            multiple = math.lcm(*(part.reach.multiple for part in segment))
            layout = lay_out(height, width, reach.at_once, reach.overlap, multiple)
        else:
            layout = lay_out_fixed(height, width, reach.size, reach.overlap)
        if any(part.noisy for part in segment):
            shape = height, width, x[0].shape[-1]
            arguments.append([self._draw(job.seed, image, shape) for image in job.images])
        at_once = self._at_once(reach.at_once, layout, job.batch)
        return blend_windows(call, arguments, layout, at_once, sizes)

    def _at_once(self, most: int, layout: Layout, batch: int) -> int:
        """The number of windows per call; no call is ever empty."""
        height, width = layout.window
        total = batch * len(layout.rows) * len(layout.columns)
        calls = -(-total // (self._devices * max(1, most // (height * width))))
        return -(-total // calls)


def segments(parts: Sequence[Part]) -> list[Segment]:
    """The parts of each program.

    Neighbours that must see everything share one, unless a later part is given the output between
    them.
    """
    kept = {part.also for part in parts}
    found: list[Segment] = []
    for part in parts:
        before = found[-1][-1] if found else None
        joins = before is not None and isinstance(before.reach, Whole) and before.name not in kept
        if joins and isinstance(part.reach, Whole) and not part.also:
            found[-1] = (*found[-1], part)
        else:
            found.append((part,))
    return found


def _run_segment(segment: Segment, every: bool, weights: Weights, rows):
    """(b, outputs, h, w, c): the last output; if ``every``, also the shown outputs before it."""
    params, frozen = weights
    x, *others = rows
    shown: list = []
    for part in segment:
        given = (x, others[0]) if part.also else x
        outputs = part.apply(params, frozen, given, others[-1] if part.noisy else None)
        x = outputs[-1]
        shown += list(outputs) if part.shows else []
    if not every:
        shown = [x]
    elif not segment[-1].shows:
        shown.append(x)
    return x.__array_namespace__().stack(shown, axis=1)


def _split(
    segment: Segment, at: Fraction, outputs: Outputs
) -> list[tuple[Part, Fraction, Outputs]]:
    """Each part that shows a stage, with its own outputs."""
    found, first = [], 0
    for part in segment:
        if part.shows:
            stop = first + len(part.shows)
            found.append((part, at, [image[first:stop] for image in outputs]))
            first = stop
    return found


def _states(shown, images: int) -> list[tuple[np.ndarray, ...]]:
    """The outputs of the noisy part, for each image."""
    for part, _, outputs in shown:
        if part.noisy:
            return [tuple(image) for image in outputs]
    return [()] * images


def give_back() -> None:
    """Give freed memory back to the system: glibc keeps that of programs and their temporaries."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
