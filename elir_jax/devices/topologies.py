"""Programs compiled for TPUs that are not there, and what a compiled program says of itself.

libtpu (``pip install "jax[tpu]"``) compiles for a named topology on any machine. The figures are
those of the compiler; the roofline time follows from them and from the chip's data sheet. Nothing
is run.
"""

import math
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from elir_jax.devices import libtpu
from elir_jax.devices.collectives import BYTES, Collective, collectives
from elir_jax.devices.loops import beyond_once, products, program_of, traffic
from elir_jax.errors import UserError
from elir_jax.networks.target import tracing_for
from elir_jax.training.state import TrainState
from elir_jax.training.step import AXIS, Metrics, StepRequest, Verdict
from elir_jax.types import Sent

LARGEST = 10  # buffers that a report lists
_RESULT = re.compile(r"^\s*(?:ROOT )?%?\S+ = (\w+)\[([0-9,]*)\]\S* [\w-]+\(", re.MULTILINE)
_NAME = re.compile(r'op_name="([^"]*)"')


class Chip(NamedTuple):
    """A chip's data sheet (cloud.google.com/tpu/docs, system architecture)."""

    memory: float  # bytes of HBM
    bandwidth: float  # bytes/s of HBM
    peak: float  # operations/s in bfloat16
    accelerator: str  # the start of its accelerator types


CHIPS = {
    "v4": Chip(32 * 2**30, 1228e9, 275e12, "v4"),
    "v5e": Chip(16 * 2**30, 819e9, 197e12, "v5litepod"),
    "v5p": Chip(95 * 2**30, 2765e9, 459e12, "v5p"),
    "v6e": Chip(32 * 2**30, 1640e9, 918e12, "v6e"),
}
# bfloat16 products that one float32 product takes, by jax's name for the precision
PRODUCTS = {"highest": 6, "high": 3, "default": 1}


class Buffer(NamedTuple):
    """An array that the program makes, with the operation it comes from."""

    bytes: int
    shape: str
    operation: str


class Compiled(NamedTuple):
    """What the compiler says of a program, for one chip."""

    seconds: float  # that compilation took
    arguments: int  # bytes
    temporaries: int  # bytes
    program: int  # bytes
    operations: float
    accessed: float  # bytes
    collectives: list[Collective]
    buffers: list[Buffer]

    @property
    def memory(self) -> int:
        """Bytes that a chip must have."""
        return self.arguments + self.temporaries + self.program

    def roofline(self, chip: Chip, products: int) -> float:
        """Seconds that a call takes at least, by operations or by memory traffic."""
        return max(self.operations * products / chip.peak, self.accessed / chip.bandwidth)


def chip_of(topology: str) -> Chip:
    """The chip of ``v5e:2x2``. Raises UserError for a name that is not known."""
    name, _, shape = topology.partition(":")
    if name not in CHIPS or not re.fullmatch(r"\d+(x\d+)+", shape):
        raise UserError(
            f"{topology}: no such topology; name a chip and its shape, as v5e:2x2; chips: "
            f"{', '.join(CHIPS)}"
        )
    return CHIPS[name]


def chips_in(topology: str) -> int:
    """The number of chips of ``v5e:2x2``: 4. Raises UserError for a name that is not known."""
    chip_of(topology)
    return math.prod(int(side) for side in topology.partition(":")[2].split("x"))


def compile_for(
    topology: str,
    step: Callable[..., tuple[TrainState, Metrics, Verdict]],
    state: TrainState,
    batch: Sent,
) -> Compiled:
    """Compile a train step for the chips of a topology; ``batch`` is one chip's, both are shapes.

    Raises UserError for an unknown topology and if libtpu is missing.
    """
    mesh = Mesh(np.asarray(devices_of(topology)), (AXIS,))
    everywhere, cut = PartitionSpec(), PartitionSpec(AXIS)

    def on(spec: PartitionSpec, tree: Any) -> Any:
        return _on(NamedSharding(mesh, spec), tree)

    def one(state, batch, request):
        return step(state, batch, request, axis_name=AXIS)

    spread = jax.shard_map(
        one,
        mesh=mesh,
        in_specs=(everywhere, cut, everywhere),
        out_specs=everywhere,
        check_vma=False,
    )
    whole = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((leaf.shape[0] * mesh.size, *leaf.shape[1:]), leaf.dtype),
        batch,
    )
    request = StepRequest(*map(np.asarray, (np.int32(0), np.float32(0), np.float32(0))))
    given = on(everywhere, state), on(cut, whole), on(everywhere, request)
    return _compile(jax.jit(spread, donate_argnums=0), given)


def compile_alone_for(topology: str, program: Callable[..., Any], given: Sequence[Any]) -> Compiled:
    """Compile a program that each chip runs alone, for arguments with the shapes ``given``.

    Raises UserError for an unknown topology and if libtpu is missing.
    """
    chip = SingleDeviceSharding(devices_of(topology)[0])
    return _compile(jax.jit(program), _on(chip, given))


def _on(sharding: Sharding, tree: Any) -> Any:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def _compile(program: Any, given: Sequence[Any]) -> Compiled:
    began = time.monotonic()
    with tracing_for("tpu"):
        compiled = program.lower(*given).compile()
    return _read(compiled, time.monotonic() - began)


def devices_of(topology: str) -> list:
    """The devices of a topology, to compile for. Raises UserError if libtpu is missing."""
    wanted = {
        "TPU_SKIP_MDS_QUERY": "1",  # do not look for a TPU host's metadata
        "TPU_ACCELERATOR_TYPE": f"{chip_of(topology).accelerator}-{chips_in(topology)}",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no chip is used, so two programs may compile at once
    }
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    libtpu.keep_images_whole()
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except Exception as error:  # whatever libtpu, or its absence, raises
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{topology}: cannot be compiled for ({reason[:200]}); libtpu must be installed: "
            f'pip install "jax[tpu]"'
        ) from error


def _read(program: jax.stages.Compiled, seconds: float) -> Compiled:
    memory, cost, text = program.memory_analysis(), program.cost_analysis(), program.as_text()
    parsed = program_of(text)
    return Compiled(
        seconds=seconds,
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        program=memory.generated_code_size_in_bytes,
        operations=cost["flops"] + beyond_once(parsed, products),
        accessed=cost["bytes accessed"] + beyond_once(parsed, traffic),
        collectives=[c for c in collectives(text) if c.elements > 1],
        buffers=largest_buffers(text),
    )


def largest_buffers(text: str) -> list[Buffer]:
    """The largest arrays of the entry computation of a program in XLA's text form."""
    entry = text[text.find("\nENTRY ") :]
    found = []
    for line in entry.splitlines():
        result = _RESULT.match(line)
        if result is None or result[1] not in BYTES or " parameter(" in line:
            continue
        sides = [int(side) for side in result[2].split(",") if side]
        name = _NAME.search(line)
        found.append(
            Buffer(
                int(np.prod(sides)) * BYTES[result[1]],
                f"{result[1]}[{result[2]}]",
                name[1] if name else "",
            )
        )
    return sorted(found, reverse=True)[:LARGEST]
