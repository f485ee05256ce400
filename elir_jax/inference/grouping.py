"""Form groups of pictures to restore together: one padded size, a bounded number of pixels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

MOST_PIXELS = 2048 * 2048  # of all pictures in a group, if it has more than one


class Group(NamedTuple):
    """Images that are restored together."""

    numbers: list[int]
    batch: int  # the batch size that the programs are compiled for
    small: bool  # whether another group fits into memory at the same time


def group(
    sizes: Sequence[tuple[int, int]], most: int, padded_side: Callable[[int], int]
) -> list[Group]:
    """Groups of at most ``most`` images, for images of these heights and widths."""
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
