"""A restoration as an ordered list of parts: what each computes, sees and shows.

A method (:mod:`elir_jax.methods`) gives the list. It determines how pictures of any size are
processed and which stages an evaluation shows, so that neither depends on a network.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

Elements = Any  # an array [b, h, w, c], of JAX or NumPy
Params = Any  # what the parts compute with


class Local(NamedTuple):
    """A part whose output sees a bounded neighbourhood, so windows give the same as the whole.

    ``halo`` is how far the neighbourhood reaches to each side, and ``at_once`` the most that a
    device computes at a time; both count squares of ``unit`` x ``unit`` elements of the coarser of
    input and output. A part that shrinks inside has its grid as its unit.
    """

    halo: int
    at_once: int
    unit: int = 1


class Whole(NamedTuple):
    """A part that must see the whole picture; its sides must be multiples of ``multiple``.

    If it has more than ``at_once`` elements, the part runs in windows that overlap by twice
    ``overlap`` and are blended.
    """

    multiple: int
    overlap: int
    at_once: int


class Window(NamedTuple):
    """A part for one size: it always runs in ``size`` x ``size`` windows that are blended.

    Neighbours overlap by at least twice ``overlap``; ``at_once`` counts elements, as above.
    """

    size: int
    overlap: int
    at_once: int


Reach = Local | Whole | Window


class Part(NamedTuple):
    """One step of a restoration.

    ``apply(params, frozen, x, eps)`` returns a sequence of outputs, the last of which is the next
    part's input; ``eps`` is unit noise in the shape of ``x`` if ``noisy``, else None. ``also``
    names an earlier part whose output has as many elements as ``x``; then ``x`` is the pair of
    both. ``scale`` is the number of output elements per input element along a side. ``shows`` names
    the outputs that an evaluation shows ("" for none), which become pictures by the later parts
    named ``through``.
    """

    name: str
    apply: Callable[[Params, Params, Elements, Elements | None], Sequence[Elements]]
    reach: Reach
    scale: Fraction = Fraction(1)
    noisy: bool = False
    shows: tuple[str, ...] = ()
    through: tuple[str, ...] = ()
    also: str = ""


def shown_stages(parts: Sequence[Part]) -> tuple[str, ...]:
    """The names of all stages that the parts show, in order."""
    return tuple(name for part in parts for name in part.shows if name)


def shows_restoration(parts: Sequence[Part]) -> bool:
    """Whether the last shown stage is the restoration itself, as the last step of a flow is."""
    for number, part in reversed(list(enumerate(parts))):
        if part.shows:
            return bool(part.shows[-1]) and part.through == tuple(
                p.name for p in parts[number + 1 :]
            )
    return False


def multiple_of(parts: Sequence[Part]) -> int:
    """The number of pixels that must divide the sides of a picture."""
    multiple, elements = 1, Fraction(1)  # elements per pixel, along a side
    for part in parts:
        if part.scale < 1:
            multiple = math.lcm(multiple, int(1 / part.scale / elements))
        if isinstance(part.reach, Whole):
            multiple = math.lcm(multiple, int(part.reach.multiple / elements))
        if isinstance(part.reach, Local):
            coarser = elements * min(part.scale, 1)
            multiple = math.lcm(multiple, int(part.reach.unit / coarser))
        elements *= part.scale
    return multiple


def least_side(parts: Sequence[Part]) -> int:
    """The smallest side of a padded picture, in pixels: a window of fixed size must fit."""
    least, elements = 1, Fraction(1)
    for part in parts:
        if isinstance(part.reach, Window):
            least = max(least, int(part.reach.size / elements))
        elements *= part.scale
    return least
