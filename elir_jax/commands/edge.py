"""Restore pictures without JAX: python -m elir_jax.edge FILE.onnx INPUT... --output DIR

FILE.onnx is what elir_jax.export wrote. NumPy, Pillow and onnxruntime are all that is needed. INPUT
is a picture or a folder of them, as elir_jax.restore takes; pictures of 16 bits a colour and hidden
colours under transparency need OpenCV too. Results that exist already are kept. A file that cannot
be read is reported and left out, and the exit code is then 1.
"""

import argparse
from pathlib import Path

from elir_jax.commands import console

MAX_PIXELS = 2**28  # 3 GiB as float32; a file of less than 1 MB can be that large


def add_options(parser: argparse.ArgumentParser, batch: int) -> None:
    """The options of every command that restores; ``batch`` is a default."""
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path)
    parser.add_argument("--output", metavar="DIR", required=True, type=Path)
    parser.add_argument(
        "--steps", type=console.positive, help="Euler steps (default: as configured)"
    )
    parser.add_argument("--seed", type=_seed, default=0, help="seed of the noise (default 0)")
    parser.add_argument("--no-noise", action="store_true", help="no noise before the flow")
    parser.add_argument("--fidelity", type=console.share, metavar="W", help="from 0, the posterior "
                        "mean, to 1, the full sample (default: as configured)")  # fmt: skip
    parser.add_argument("--samples", type=console.positive, default=1, metavar="N",
                        help="N restorations of each picture, by seeds from --seed on, and a map "
                        "of their deviation")  # fmt: skip
    parser.add_argument("--color-fix", action="store_true",
                        help="take low frequencies, and so colours, from the input")  # fmt: skip
    parser.add_argument("--batch", type=console.positive, default=batch,
                        help=f"pictures at once (default: {batch})")  # fmt: skip
    parser.add_argument("--upscale", type=console.positive, default=1, metavar="N",
                        help="enlarge N times first; 4 for blind super-resolution")  # fmt: skip
    parser.add_argument("--max-pixels", type=console.positive, default=MAX_PIXELS, metavar="N",
                        help="leave out larger results (default 2^28)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError("must lie in [0, 2^32)")
    return number


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m elir_jax.edge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", metavar="FILE.onnx", type=Path)
    add_options(parser, batch=1)
    parser.set_defaults(
        model=None, config=None, dtype=None, runtime="onnx", compare=False, intermediate=False
    )
    options = parser.parse_args(argv)

    def command() -> int:
        from elir_jax.commands.restore_pictures import restore_all  # here: --help needs no NumPy
        from elir_jax.commands.runtimes import load_exported

        return restore_all(options, load_exported)

    return console.exit_code_of(command)
