"""The train step, compiled for TPUs that are not there: what would it cost on a pod?

Command: python benchmarks/tpu.py --topology v5e:2x2 --config configs/bfr.py --per-chip 4
It needs libtpu (pip install "jax[tpu]") and no TPU. Memory, operations, bytes accessed, size of the
program and collectives are the compiler's; the roofline time follows from them and from the chip's
data sheet. --json also writes them to a file.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from elir_jax.commands import frame  # noqa: E402
from elir_jax.compose.compiling import compile_step_for, figures, report  # noqa: E402
from elir_jax.compose.restoration import read_config  # noqa: E402


def main() -> int:
    """Compile, print the report, and write it if a file is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--topology", default="v5e:2x2", help="CHIP:SHAPE (default: v5e:2x2)")
    parser.add_argument("--config", default="configs/bfr.py", help="configs/NAME.py[:VARIANT]")
    parser.add_argument("--per-chip", type=int, default=1, help="pairs on each chip (default: 1)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="(default: as configured)")
    parser.add_argument("--precision", choices=["highest", "high", "default"],
                        help="of float32 products (default: as configured)")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures here")
    options = parser.parse_args()

    def command() -> None:
        config = read_config(options.config)
        with config.unlocked():
            config.dtype = options.dtype or config.dtype
            config.precision = options.precision or config.precision
        found = compile_step_for(options.topology, config, options.per_chip)
        print(report(options.topology, config, options.per_chip, found))
        if options.json is not None:
            values = figures(options.topology, config, options.per_chip, found)
            options.json.write_text(json.dumps(values, indent=1) + "\n")

    return frame.exit_code_of(command)


if __name__ == "__main__":
    sys.exit(main())
