"""Restore pictures: python -m elir_jax.restore INPUT... --output DIR

INPUT is a picture or a folder of them (searched recursively): PNG, JPEG, WebP, TIFF, BMP, of any
size and colour mode. Two models ship with the package: photo, for old, small and over-compressed
photographs, and denoising, for strong noise. --checkpoint names weights of your own instead: a
folder that train.py or elir_jax.interop.convert wrote, a model's file, or a file of the release; if
they bring no configuration, name it with --config. Each result is a PNG of the input's size and
name. What is there already is left as it is, so that the same command
goes on where it was stopped. A file that cannot be read is named and left out, and the exit code is
1 at the end.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from elir_jax import assets
from elir_jax.commands import frame

MAX_PIXELS = 2**28  # 3 GiB as float32, which a file below 1 MB can ask for


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=frame.program("elir_jax.restore"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path)
    parser.add_argument("--output", metavar="DIR", required=True, type=Path)
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--model", choices=assets.MODELS, default=assets.MODELS[0],
                         help="one that ships with the package (default photo)")  # fmt: skip
    weights.add_argument("--checkpoint", metavar="WORKDIR|FILE", type=Path,
                         help="weights of your own")  # fmt: skip
    parser.add_argument("--config", metavar="configs/NAME.py", help="of weights that bring none")
    parser.add_argument("--steps", type=_positive, help="Euler steps (default: as configured)")
    parser.add_argument("--seed", type=_seed, default=0, help="of the noise (default 0)")
    parser.add_argument("--no-noise", action="store_true", help="start at the posterior mean")
    parser.add_argument("--batch", type=_positive, default=8, help="pictures at once (default 8)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="(default: as configured)")
    parser.add_argument("--upscale", type=_positive, default=1, metavar="N",
                        help="enlarge N times first: 4 for blind super-resolution")  # fmt: skip
    parser.add_argument("--max-pixels", type=_positive, default=MAX_PIXELS, metavar="N",
                        help="of a result; a larger one is left out (default 2^28)")  # fmt: skip
    parser.add_argument(
        "--compare", action="store_true", help="also NAME.compare.png: before, after"
    )
    parser.add_argument("--intermediate", action="store_true",
                        help="also NAME.steps.png: every stage")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="make what is there already anew")
    options = parser.parse_args(argv)

    def command() -> int:
        from elir_jax.commands.restore_pictures import (
            restore_all,  # here: it loads jax, which takes seconds
        )

        return restore_all(options)

    return frame.told(command, argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError("must lie in [0, 2^32)")
    return number


def run() -> NoReturn:
    """The command as a process: exits with its code."""
    code = main()
    if code == frame.EXIT_INTERRUPTED:  # what is still being computed would crash the way out
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
