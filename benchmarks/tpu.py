"""Training or restoring, compiled for TPUs that are not there: what would it cost on a pod?

Command: python benchmarks/tpu.py --topology v5e:2x2 --config configs/bfr.py --per-chip 4
It needs libtpu (pip install "jax[tpu]") and no TPU. Memory, operations, bytes accessed, size of the
program and collectives are the compiler's; the roofline time follows from them and from the chip's
data sheet. ``--program restore`` compiles the restorer's programs in place of the train step; its
pictures have the training's size. --json also writes the figures to a file.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from elir_jax.commands import frame  # noqa: E402
from elir_jax.compose.compiled import (  # noqa: E402
    restorer_figures,
    restorer_report,
    step_figures,
    step_report,
)
from elir_jax.compose.compiling import compile_restorer_for, compile_step_for  # noqa: E402
from elir_jax.configurations import read_config  # noqa: E402

PROGRAMS = {
    "train_step": (compile_step_for, step_report, step_figures),
    "restore": (compile_restorer_for, restorer_report, restorer_figures),
}


def main() -> int:
    """Compile, print the report, and write it if a file is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--topology", default="v5e:2x2", help="CHIP:SHAPE (default: v5e:2x2)")
    parser.add_argument("--config", default="configs/bfr.py", help="configs/NAME.py[:VARIANT]")
    parser.add_argument("--program", choices=PROGRAMS, default="train_step",
                        help="(default: train_step)")  # fmt: skip
    parser.add_argument("--per-chip", type=int, default=1,
                        help="pairs or pictures on each chip (default: 1)")  # fmt: skip
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
        given = options.topology, config, options.per_chip
        compile_for, report, figures = PROGRAMS[options.program]
        found = compile_for(*given)
        print(report(*given, found))
        if options.json is not None:
            options.json.write_text(json.dumps(figures(*given, found), indent=1) + "\n")

    return frame.exit_code_of(command)


if __name__ == "__main__":
    sys.exit(main())
