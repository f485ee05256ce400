"""What a compiled program's loops add to the compiler's figures, which count each body once.

Bytes are those of every instruction's operands and results as they lie in memory, padded to whole
tiles; of a stack of arrays only the slice that is read or written counts. Operations are those of
products.
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from elir_jax.devices.collectives import BYTES

_INSTRUCTION = re.compile(r"^\s*(ROOT )?%(\S+) = (.*?) ([\w-]+)\((.*)$")
_ARRAY = re.compile(r"([a-z]+[0-9]*)\[([0-9,]*)\](?:\{([0-9,]*)(?::T\((\d+),(\d+)\))?)?")
_NO_TRAFFIC = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant", "while",
               "conditional", "copy-done", "slice-done", "async-done", "custom-call"}  # fmt: skip
_SLICES = {"slice", "dynamic-slice"}


class Instruction(NamedTuple):
    """A line of a computation."""

    root: bool
    name: str
    type: str
    kind: str
    operands: list[str]
    line: str


Program = dict[str, dict[str, Instruction]]  # by computation (the entry is "ENTRY") and name
Measure = Callable[[Program, dict[str, Instruction], Instruction], float]


def program_of(text: str) -> Program:
    """The computations of a program in XLA's text form."""
    found: Program = {}
    current: dict[str, Instruction] = {}
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            name = "ENTRY" if line.startswith("ENTRY ") else line.split()[0].lstrip("%")
            current = found[name] = {}
        elif match := _INSTRUCTION.match(line):
            root, name, kind_of, kind, rest = match.groups()
            operands = re.findall(r"%([\w.\-]+)", rest.partition("), ")[0])
            current[name] = Instruction(bool(root), name, kind_of, kind, operands, line)
    return found


def beyond_once(program: Program, measure: Measure) -> float:
    """The sum of ``measure`` over all rounds of the entry's loops, less one round of each."""

    def total(name: str, times: Callable[[str], int]) -> float:
        inside = program[name]
        found = 0.0
        for instruction in inside.values():
            if instruction.kind == "while":
                body = re.search(r"body=%([\w.\-]+)", instruction.line)[1]
                found += times(instruction.line) * total(body, times)
            else:
                found += measure(program, inside, instruction)
        return found

    def rounds(line: str) -> int:
        condition = program[re.search(r"condition=%([\w.\-]+)", line)[1]].values()
        found = {i.line for i in condition if i.kind == "constant" and i.type.startswith("s32[]")}
        # A loop over a stack compares its index with the one number there; others count once.
        return int(re.search(r"constant\((\d+)\)", found.pop())[1]) if len(found) == 1 else 1

    return total("ENTRY", rounds) - total("ENTRY", lambda line: 1)


def size_of(kind: str) -> int:
    """Bytes of all arrays of a type, padded to their tiles."""
    total = 0
    for name, shape, order, rows, lanes in _ARRAY.findall(kind):
        if name not in BYTES:
            continue
        sides = [int(side) for side in shape.split(",") if side]
        minor = [int(axis) for axis in order.split(",") if axis]
        if lanes and len(minor) > 1:
            for axis, tile in zip(minor, (int(lanes), int(rows)), strict=False):
                sides[axis] = -(-sides[axis] // tile) * tile
        total += math.prod(sides) * BYTES[name]
    return total


def traffic(program: Program, inside: dict[str, Instruction], one: Instruction) -> float:
    """Bytes that an instruction reads and writes."""
    if one.kind in _NO_TRAFFIC:
        return 0.0
    if one.kind.endswith("-start"):  # its result has the source beside the copy
        return float(size_of(one.type))
    if one.kind in _SLICES:
        return 2.0 * size_of(one.type)
    read = [size_of(inside[name].type) if name in inside else 0 for name in one.operands]
    called = re.search(r"calls=%([\w.\-]+)", one.line)
    if one.kind != "fusion" or called is None:
        return float(size_of(one.type) + sum(read))
    return _of_fusion(program[called[1]], one, read)


def _of_fusion(fused: dict[str, Instruction], one: Instruction, read: list[int]) -> float:
    """Bytes of a fusion; stacks count by their slices."""
    written = size_of(one.type)

    def users(name: str) -> list[Instruction]:
        found = []
        for user in fused.values():
            if name in user.operands:
                found += users(user.name) if user.kind == "bitcast" else [user]
        return found

    def same(name: str) -> str:  # behind bitcasts
        while name in fused and fused[name].kind == "bitcast":
            name = fused[name].operands[0]
        return name

    for parameter in (i for i in fused.values() if i.kind == "parameter"):
        seen = users(parameter.name)
        number = int(re.search(r"parameter\((\d+)\)", parameter.line)[1])
        if seen and all(
            user.kind in _SLICES and same(user.operands[0]) == parameter.name for user in seen
        ):
            read[number] = sum(size_of(user.type) for user in seen)
        for user in seen:
            if user.kind == "dynamic-update-slice" and same(user.operands[0]) == parameter.name:
                read[number] = 0
                written += size_of(fused[user.operands[1]].type) - size_of(user.type)
    return float(max(written, 0) + sum(read))


def products(program: Program, inside: dict[str, Instruction], one: Instruction) -> float:
    """Operations of an instruction's convolutions and matrix products."""
    called = re.search(r"calls=%([\w.\-]+)", one.line)
    if called is not None:
        within = program[called[1]]
        return math.fsum(products(program, within, i) for i in within.values())
    if one.kind != "convolution":  # a TPU's compiler makes matrix products convolutions too
        return 0.0
    (_, shape, *_), (_, kernel, *_) = (
        _ARRAY.search(kind).groups() for kind in (one.type, inside[one.operands[1]].type)
    )
    out = re.search(r"dim_labels=\w+_(\w+)->", one.line)[1].index("o")
    sides = [int(side) for side in kernel.split(",")]
    return 2.0 * math.prod(int(side) for side in shape.split(",")) * math.prod(sides) / sides[out]
