"""Restore pictures: python -m elir_jax.restore INPUT... --output DIR

INPUT is a picture or a folder of them (searched recursively): PNG, JPEG, WebP, TIFF, BMP, of any
size and colour mode. Three models ship with the package: photo, for old, small and over-compressed
photographs; denoising, for strong noise; and denoising-1step, the same in less time. To restore
with weights of your own, name them with --checkpoint: a folder that train.py or
elir_jax.interop.convert wrote, a model's file, or a file of the release. If they have no
configuration, name one with --config. A file of elir_jax.export works too, by onnxruntime and
without JAX.

Each result is a PNG with the size and name of its input. Existing results are kept, so the same
command continues where it was stopped. A file that cannot be read is reported and left out, and the
exit code is then 1.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from elir_jax import assets
from elir_jax.commands import frame

RUNTIMES = ("xla", "onnx", "auto")
MAX_PIXELS = 2**28  # 3 GiB as float32; a file of less than 1 MB can be that large


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog=frame.program("elir_jax.restore"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path)
    parser.add_argument("--output", metavar="DIR", required=True, type=Path)
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--model", choices=assets.MODELS, default=assets.MODELS[0],
                         help="a model that ships with the package (default: photo)")  # fmt: skip
    weights.add_argument("--checkpoint", metavar="WORKDIR|FILE", type=Path,
                         help="weights of your own instead of a model")  # fmt: skip
    parser.add_argument("--config", metavar="configs/NAME.py", help="for weights without one")
    parser.add_argument("--steps", type=frame.positive, help="Euler steps (default: as configured)")
    parser.add_argument("--seed", type=_seed, default=0, help="seed of the noise (default 0)")
    parser.add_argument("--no-noise", action="store_true", help="no noise before the flow")
    parser.add_argument("--color-fix", action="store_true",
                        help="take low frequencies, and so colours, from the input")  # fmt: skip
    parser.add_argument(
        "--batch", type=frame.positive, default=8, help="pictures at once (default: 8)"
    )
    parser.add_argument("--runtime", choices=RUNTIMES, help="what computes: xla (the default), "
                        "onnx (onnxruntime), or auto: onnx on a CPU that has it")  # fmt: skip
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="(default: as configured)")
    parser.add_argument("--upscale", type=frame.positive, default=1, metavar="N",
                        help="enlarge N times first; 4 for blind super-resolution")  # fmt: skip
    parser.add_argument("--max-pixels", type=frame.positive, default=MAX_PIXELS, metavar="N",
                        help="leave out larger results (default 2^28)")  # fmt: skip
    parser.add_argument(
        "--compare", action="store_true", help="also write NAME.compare.png: before and after"
    )
    parser.add_argument("--intermediate", action="store_true",
                        help="also write NAME.steps.png: every stage")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parse(argv)

    def command() -> int:
        from elir_jax.commands.restore_pictures import (
            restore_all,  # here: it loads jax, which takes seconds
        )

        return restore_all(options)

    return frame.exit_code_of(command, argv)


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError("must lie in [0, 2^32)")
    return number


def run() -> NoReturn:
    """Run the command as a process, which exits with its code."""
    code = main()
    if code == frame.EXIT_INTERRUPTED:  # a normal exit would crash in threads that still compute
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
