"""What ``train.py --compile-for TOPOLOGY`` and ``benchmarks/tpu.py`` do: compile, and tell."""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from elir_jax.compose import build_method, build_step, untrained_shapes
from elir_jax.devices.topologies import PRODUCTS, Compiled, chip_of, chips_in, compile_for
from elir_jax.errors import UserError
from elir_jax.training.state import create_state
from elir_jax.types import Batch

GIB = 2**30


def compile_step_for(topology: str, config: ConfigDict, per_chip: int) -> Compiled:
    """The train step of a configuration, with ``per_chip`` pairs on each chip. Raises UserError."""
    chip_of(topology)
    method = build_method(config)
    optimizer, step = build_step(config, method)
    state = jax.eval_shape(
        lambda *trees: create_state(*trees, optimizer), *untrained_shapes(method)
    )
    size = config.data.size
    levels, image = (
        jax.ShapeDtypeStruct((per_chip, size, size, 3), dtype) for dtype in (jnp.uint8, jnp.float32)
    )
    number = jax.ShapeDtypeStruct((per_chip,), jnp.int32)
    return compile_for(topology, step, state, Batch(levels, image, number, number))


def share(topology: str, batch_size: int) -> int:
    """How many pairs of a global batch a chip gets. Raises UserError if they do not divide it."""
    chips = chips_in(topology)
    if batch_size % chips:
        raise UserError(
            f"--config.batch_size={batch_size}: must be a multiple of the {chips} chips of "
            f"{topology}"
        )
    return batch_size // chips


def figures(topology: str, config: ConfigDict, per_chip: int, found: Compiled) -> dict[str, Any]:
    """The report as JSON has it; sizes in bytes, times in seconds, all for one chip."""
    chip = chip_of(topology)
    products = PRODUCTS[config.precision] if config.dtype == "float32" else 1
    return found._asdict() | {
        "topology": topology,
        "per_chip": per_chip,
        "dtype": config.dtype,
        "precision": config.precision,
        "memory": found.memory,
        "fits": found.memory <= chip.memory,
        "roofline_seconds": found.roofline(chip, products),
        "collectives": [c._asdict() for c in found.collectives],
        "buffers": [b._asdict() for b in found.buffers],
    }


def report(topology: str, config: ConfigDict, per_chip: int, found: Compiled) -> str:
    """The same for people."""
    chip, values = chip_of(topology), figures(topology, config, per_chip, found)
    size = config.data.size
    lines = [
        f"{topology}: {per_chip} pair(s) of {size}x{size} on each chip, {config.dtype}"
        + (f", precision {config.precision}" if config.dtype == "float32" else ""),
        f"fits            {'yes' if values['fits'] else 'NO'}: {found.memory / GIB:.2f} of "
        f"{chip.memory / GIB:.0f} GiB",
        f"state, batch    {found.state / GIB:.2f} GiB",
        f"temporaries     {found.temporaries / GIB:.2f} GiB",
        f"program         {found.program / 1e6:.1f} MB, compiled in {found.seconds:.0f} s",
        f"operations      {found.operations / 1e12:.3f} TFLOP",
        f"bytes accessed  {found.accessed / 1e9:.2f} GB, {found.accessed / per_chip / 1e9:.2f} "
        f"a pair",
        f"roofline        {1e3 * values['roofline_seconds']:.1f} ms a step, at least",
        *(f"{c.kind:<16}{c.bytes / 1e6:.1f} MB" for c in found.collectives),
        "largest buffers",
        *(f"  {b.bytes / 1e6:9.1f} MB  {b.shape}  {b.operation[-90:]}" for b in found.buffers),
    ]
    return "\n".join(lines)
