"""Read from the text of a compiled program what it sends between devices."""

import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute",
         "collective-broadcast")  # fmt: skip
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4,
         "s64": 8, "u64": 8, "f64": 8}  # fmt: skip
_INSTRUCTION = re.compile(rf"= (?P<type>.*?) (?P<kind>{'|'.join(KINDS)})(-start)?\(")
_ARRAY = re.compile(r"(?P<type>[a-z]+[0-9]*)\[(?P<shape>[0-9,]*)\]")


class Collective(NamedTuple):
    """One collective operation; a fused group counts once."""

    kind: str
    elements: int
    bytes: int


def collectives(program: str) -> list[Collective]:
    """The collectives of a program in XLA's text form (``jax.stages.Compiled.as_text()``)."""
    found = []
    for match in _INSTRUCTION.finditer(program):
        elements = size = 0
        for array in _ARRAY.finditer(match["type"]):
            count = 1
            for side in filter(None, array["shape"].split(",")):
                count *= int(side)
            elements += count
            size += count * BYTES[array["type"]]
        found.append(Collective(match["kind"], elements, size))
    return found
