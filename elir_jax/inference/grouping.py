"""Which pictures are restored together: those of one padded size, a bounded number of pixels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

MOST_PIXELS = 2048 * 2048  # of the pictures that are held at once, if there is more than one


class Group(NamedTuple):
    """Images that are restored together."""

    numbers: list[int]
    batch: int  # how many the programs are made for
    small: bool  # whether there is room for another group beside it


def group(
    sizes: Sequence[tuple[int, int]], most: int, padded_side: Callable[[int], int]
) -> list[Group]:
    """Images of these heights and widths in groups of at most ``most``."""
    alike: dict[tuple[int, int], list[int]] = {}
    for i, size in enumerate(sizes):
        height, width = map(padded_side, size)
        alike.setdefault((height, width), []).append(i)
    groups = []
    for (height, width), numbers in sorted(alike.items()):
        together = max(1, min(most, MOST_PIXELS // (height * width)))
        batch = -(-len(numbers) // -(-len(numbers) // together))  # even groups waste less
        small = height * width * batch <= MOST_PIXELS
        for first in range(0, len(numbers), batch):
            groups.append(Group(numbers[first : first + batch], batch, small))
    return groups
