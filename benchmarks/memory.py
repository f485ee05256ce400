"""Memory of a train step for each pair, read from the traced and the compiled program.

Command: python benchmarks/memory.py [--config configs/bfr.py] [--batch 16] [--pairs 1 2]
The program does not run. The peak is that of the program for the CPU; another backend plans its
buffers differently, so leave it room. The memory for the backward pass is read from the trace, with
and without rematerialisation, because the CPU's compiler undoes this (it removes the barriers
between the two computations). Both are read for two numbers of pairs; the line through them gives
the memory of each pair and of everything else.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.scaling import compile_step, size_of  # noqa: E402
from benchmarks.speed import load  # noqa: E402
from elir_jax import compose  # noqa: E402
from elir_jax.methods.method import untrained  # noqa: E402
from elir_jax.types import Batch  # noqa: E402

GB = 1e9


def peak_bytes(config, pairs: int) -> int:
    """The peak of the program: arguments, results that are not donated, and temporaries."""
    _, program = compile_step(config, pairs)
    found = program.memory_analysis()
    given = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return given + found.temp_size_in_bytes


def kept_bytes(config, pairs: int) -> int:
    """The bytes that the forward pass of the objective keeps for the backward pass."""
    method = compose.METHODS[config.method](config)
    size = config.data.size
    image = jax.ShapeDtypeStruct((pairs, size, size, 3), jnp.float32)
    number = jax.ShapeDtypeStruct((pairs,), jnp.int32)

    def kept(key, batch):
        params, frozen = method.init(key, untrained)
        params, keys = method.fold(params, frozen), jax.random.split(key, pairs)
        return jax.vjp(
            lambda p: method.objective(p, params, frozen, batch, keys, jnp.int32(0))[0], params
        )[1]

    return size_of(jax.eval_shape(kept, jax.random.key(0), Batch(image, image, number, number)))


def main() -> None:
    """Print the kept memory and the peak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/bfr.py", help="configs/NAME.py[:VARIANT]")
    parser.add_argument("--batch", type=int, default=16, help="pairs on a device to extrapolate to")
    parser.add_argument("--pairs", type=int, nargs=2, default=[1, 2], help="compiled for")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()

    def line(measure, rematerialize):
        config = load(options.config, {"dtype": options.dtype, "rematerialize": rematerialize})
        few, more = (measure(config, pairs) for pairs in options.pairs)
        pair = (more - few) / (options.pairs[1] - options.pairs[0])
        return pair, few - options.pairs[0] * pair, config.data.size

    for on in (False, True):
        pair, _, size = line(kept_bytes, on)
        print(
            f"{options.config}, {size}x{size}, {options.dtype}: {pair / GB:.2f} GB for each pair "
            f"kept for the backward pass {'with' if on else 'without'} rematerialisation",
            flush=True,
        )
    pair, fixed, _ = line(peak_bytes, False)
    total = fixed + options.batch * pair
    print(
        f"peak: {pair / GB:.2f} GB for each pair and {fixed / GB:.2f} GB besides; "
        f"{total / GB:.1f} GB for {options.batch} on a device"
    )


if __name__ == "__main__":
    main()
