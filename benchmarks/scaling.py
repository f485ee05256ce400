"""What one training step computes and sends, read from its compiled program, and a plan from it.

Command: python benchmarks/scaling.py [--config configs/bfr.py] [--per-chip 1] [--peak 989] ...
The program is compiled for two devices of this machine, which need not be the pod's: gradients,
operations and collectives are the same. The plan is calculated from these figures and from those of
the chip, which the options give; it is no measurement.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from elir_jax import compose  # noqa: E402
from elir_jax.configurations import read_config  # noqa: E402
from elir_jax.devices.collectives import collectives  # noqa: E402
from elir_jax.devices.mesh import compiled_step  # noqa: E402
from elir_jax.methods.method import untrained  # noqa: E402
from elir_jax.training.state import create_state  # noqa: E402
from elir_jax.types import Batch  # noqa: E402

CHIPS = (1, 4, 8, 16, 32, 64, 128, 256)


def compile_step(config, per_chip: int):
    """(shapes of the state, compiled program) of a step with ``per_chip`` pairs on each device."""
    method = compose.METHODS[config.method](config)
    optimizer, step = compose.build_step(config, method)
    state = jax.eval_shape(
        lambda key: create_state(*method.init(key, untrained), optimizer), jax.random.key(0)
    )
    rows, size = per_chip * jax.local_device_count(), config.data.size
    image = jax.ShapeDtypeStruct((rows, size, size, 3), jnp.float32)
    number = jax.ShapeDtypeStruct((rows,), jnp.int32)
    return state, compiled_step(step, state, Batch(image, image, number, number))


def size_of(tree) -> int:
    """Bytes of a tree of shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def main() -> None:
    """Print the figures, then the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/bfr.py", help="configs/NAME.py[:VARIANT]")
    parser.add_argument("--per-chip", type=int, default=1, help="pairs on each chip")
    parser.add_argument(
        "--peak", type=float, default=989.0, help="TFLOP/s of a chip in the compute type"
    )
    parser.add_argument("--share", type=float, default=0.3, help="reached share of the peak")
    parser.add_argument("--link", type=float, default=450.0, help="GB/s of a chip within its host")
    parser.add_argument("--network", type=float, default=50.0, help="GB/s of a chip to other hosts")
    parser.add_argument("--per-host", type=int, default=8, help="chips in a host")
    parser.add_argument("--cores", type=int, default=96, help="cores in a host")
    parser.add_argument("--samples", type=float, default=65.0, help="pairs/s/core; benchmarks/data")
    options = parser.parse_args()

    config = read_config(options.config)
    state, program = compile_step(config, options.per_chip)
    found = collectives(program.as_text())
    large = [c for c in found if c.elements > 1]
    flops = program.cost_analysis()["flops"]
    pairs, size = options.per_chip, config.data.size
    print(f"{options.config}: {pairs} pair(s) of {size}x{size} on each chip")
    print(f"parameters trained        {sum(p.size for p in jax.tree.leaves(state.params)):,}")
    print(f"state, on every chip      {size_of(state) / 2**20:,.0f} MiB")
    for c in large:
        print(f"{c.kind:<26}{c.bytes:,} bytes")
    print(f"scalar collectives        {len(found) - len(large)}")
    print(f"operations                {flops / 1e12:.3f} TFLOP a step and chip")
    print(f"pairs to the chip         {2 * pairs * size * size * 3 * 4 / 2**20:.1f} MiB a step")

    sent = sum(c.bytes for c in large)
    compute = flops / (options.peak * 1e12 * options.share)
    print(f"\nplan: {options.peak:g} TFLOP/s, {options.share:.0%} of them reached; compute and")
    print("all-reduce one after the other, which is the worst case")
    print(f"{'chips':>6}{'batch':>7}{'compute':>10}{'all-reduce':>12}{'efficiency':>12}"
          f"{'pairs/s/host':>14}{'cores/host':>12}")  # fmt: skip
    for chips in CHIPS:
        bandwidth = (options.link if chips <= options.per_host else options.network) * 1e9
        reduce = 2 * (chips - 1) / chips * sent / bandwidth  # a ring
        rate = min(chips, options.per_host) * pairs / (compute + reduce)
        print(
            f"{chips:>6}{chips * pairs:>7}{compute * 1e3:>7.1f} ms{reduce * 1e3:>9.1f} ms"
            f"{compute / (compute + reduce):>12.1%}{rate:>14.0f}{rate / options.samples:>12.1f}"
            + ("  more cores than a host has" if rate / options.samples > options.cores else "")
        )


if __name__ == "__main__":
    main()
