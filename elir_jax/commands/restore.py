"""Restore pictures: python -m elir_jax.restore INPUT... --output DIR

INPUT is a picture or a folder of them (searched recursively): PNG, JPEG, WebP, TIFF, BMP, of any
size and colour mode. Three models ship with the package: photo, for old, small and over-compressed
photographs; denoising, for strong noise; and denoising-1step, the same in less time. To restore
with weights of your own, name them with --checkpoint: a folder that train.py or
elir_jax.interop.convert wrote, a model's file, or a file of the release. If they have no
configuration, name one with --config. A file of elir_jax.export works too, by onnxruntime and
without JAX.

Each result is a PNG with the size and name of its input. Results are known by a record in them, and
are no inputs: those of this command are kept, so it continues where it was stopped; others of ours
are replaced with --overwrite, and nothing else ever is. A file that cannot be read, or whose result
cannot be written, is reported and left out, and the exit code is then 1.
"""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from elir_jax import assets
from elir_jax.commands import console, frame
from elir_jax.commands.edge import add_options

RUNTIMES = ("xla", "onnx", "auto")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog=frame.program("elir_jax.restore"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, batch=8)
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--model", choices=assets.MODELS, default=assets.MODELS[0],
                         help="a model that ships with the package (default: photo)")  # fmt: skip
    weights.add_argument("--checkpoint", metavar="WORKDIR|FILE", type=Path,
                         help="weights of your own instead of a model")  # fmt: skip
    parser.add_argument("--config", metavar="configs/NAME.py", help="for weights without one")
    parser.add_argument("--runtime", choices=RUNTIMES, help="what computes: xla (the default), "
                        "onnx (onnxruntime), or auto: onnx on a CPU that has it")  # fmt: skip
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="(default: as configured)")
    parser.add_argument(
        "--compare", action="store_true", help="also write NAME.compare.png: before and after"
    )
    parser.add_argument("--intermediate", action="store_true",
                        help="also write NAME.steps.png: every stage")  # fmt: skip
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parse(argv)

    def command() -> int:
        from elir_jax.commands.restore_pictures import restore_all  # here: --help needs no NumPy
        from elir_jax.commands.runtimes import load_restorer

        return restore_all(options, load_restorer)

    return frame.exit_code_of(command, argv)


def run() -> NoReturn:
    """Run the command as a process, which exits with its code."""
    code = main()
    if code == console.EXIT_INTERRUPTED:  # a normal exit would crash in threads that still compute
        console.leave(code)
    sys.exit(code)
