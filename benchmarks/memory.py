"""Memory of a train step by image, read from the compiled program; nothing is run.

Command: python benchmarks/memory.py [--config configs/bfr.py] [--batch 16] [--pairs 1 2]
The step is compiled for each number of pairs, as configured and with rematerialisation; the line
through them is what an image and what everything else takes. It is the CPU's program: another
backend plans its buffers otherwise, so leave it room.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.scaling import compile_step  # noqa: E402

GB = 1e9


def peak_bytes(config, pairs: int) -> int:
    """What the program holds at most: arguments, results that are not donated, and temporaries."""
    _, program = compile_step(config, pairs)
    found = program.memory_analysis()
    given = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return given + found.temp_size_in_bytes


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/bfr.py", help="configs/NAME.py[:VARIANT]")
    parser.add_argument(
        "--batch", type=int, default=16, help="pairs on a device, to extrapolate to"
    )
    parser.add_argument("--pairs", type=int, nargs=2, default=[1, 2], help="compiled for")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()

    path, _, variant = options.config.partition(":")
    for rematerialize in (False, True):
        config = importlib.import_module(f"configs.{Path(path).stem}").get_config(variant)
        with config.unlocked():
            config.rematerialize, config.dtype = rematerialize, options.dtype
        few, more = (peak_bytes(config, pairs) for pairs in options.pairs)
        an_image = (more - few) / (options.pairs[1] - options.pairs[0])
        fixed = few - options.pairs[0] * an_image
        print(
            f"{options.config} {config.data.size}x{config.data.size} {options.dtype}, "
            f"rematerialisation {'on' if rematerialize else 'off'}: {an_image / GB:.2f} GB a pair, "
            f"{fixed / GB:.2f} GB besides; {(fixed + options.batch * an_image) / GB:.1f} GB for "
            f"{options.batch} on a device",
            flush=True,
        )


if __name__ == "__main__":
    main()
