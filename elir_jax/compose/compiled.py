"""Reports on programs that were compiled for TPUs, as text and as JSON.

In JSON sizes are in bytes and times in seconds; all figures are for one chip.
"""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from elir_jax.compose.compiling import Program
from elir_jax.devices.topologies import PRODUCTS, Compiled, chip_of

GIB = 2**30


def step_figures(
    topology: str, config: ConfigDict, per_chip: int, found: Compiled
) -> dict[str, Any]:
    """Report on the train step as JSON."""
    return _setting(topology, config, per_chip) | _figures(topology, config, found)


def restorer_figures(
    topology: str, config: ConfigDict, per_chip: int, found: Sequence[Program]
) -> dict[str, Any]:
    """Report on a restorer's programs as JSON; ``roofline_seconds`` is that of all calls."""
    programs = [
        {"name": one.name, "calls": one.calls} | _figures(topology, config, one.compiled)
        for one in found
    ]
    seconds = sum(one["calls"] * one["roofline_seconds"] for one in programs)
    return _setting(topology, config, per_chip) | {
        "roofline_seconds": seconds, "programs": programs
    }  # fmt: skip


def step_report(topology: str, config: ConfigDict, per_chip: int, found: Compiled) -> str:
    """Report on the train step as text."""
    head = _head(topology, config, f"{per_chip} pair(s)")
    return "\n".join([head, *_lines(topology, config, found, per_chip, "pair")])


def restorer_report(
    topology: str, config: ConfigDict, per_chip: int, found: Sequence[Program]
) -> str:
    """Report on a restorer's programs as text."""
    lines = [_head(topology, config, f"{per_chip} picture(s)")]
    for one in found:
        lines += ["", f"{one.name}: {one.calls} call(s)"]
        lines += _lines(topology, config, one.compiled, per_chip / one.calls, "picture")
    seconds = restorer_figures(topology, config, per_chip, found)["roofline_seconds"]
    return "\n".join([*lines, "", f"all calls       {1e3 * seconds:.1f} ms, at least"])


def _setting(topology: str, config: ConfigDict, per_chip: int) -> dict[str, Any]:
    return {
        "topology": topology,
        "per_chip": per_chip,
        "dtype": config.dtype,
        "precision": config.precision,
    }


def _figures(topology: str, config: ConfigDict, found: Compiled) -> dict[str, Any]:
    chip = chip_of(topology)
    products = PRODUCTS[config.precision] if config.dtype == "float32" else 1
    return found._asdict() | {
        "memory": found.memory,
        "fits": found.memory <= chip.memory,
        "roofline_seconds": found.roofline(chip, products),
        "collectives": [c._asdict() for c in found.collectives],
        "buffers": [b._asdict() for b in found.buffers],
    }


def _head(topology: str, config: ConfigDict, images: str) -> str:
    size = config.data.size
    precision = f", precision {config.precision}" if config.dtype == "float32" else ""
    return f"{topology}: {images} of {size}x{size} on each chip, {config.dtype}{precision}"


def _lines(
    topology: str, config: ConfigDict, found: Compiled, images: float, image: str
) -> list[str]:
    """Of one program that works on this many images a call."""
    values = _figures(topology, config, found)
    return [
        f"fits            {'yes' if values['fits'] else 'NO'}: {found.memory / GIB:.2f} of "
        f"{chip_of(topology).memory / GIB:.0f} GiB",
        f"arguments       {found.arguments / GIB:.2f} GiB",
        f"temporaries     {found.temporaries / GIB:.2f} GiB",
        f"program         {found.program / 1e6:.1f} MB, compiled in {found.seconds:.0f} s",
        f"operations      {found.operations / 1e12:.3f} TFLOP",
        f"bytes accessed  {found.accessed / 1e9:.2f} GB, {found.accessed / images / 1e9:.2f} "
        f"a {image}",
        f"roofline        {1e3 * values['roofline_seconds']:.1f} ms, at least",
        *(f"{c.kind:<16}{c.bytes / 1e6:.1f} MB" for c in found.collectives),
        "largest buffers",
        *(f"  {b.bytes / 1e6:9.1f} MB  {b.shape}  {b.operation[-90:]}" for b in found.buffers),
    ]
