"""Export a restorer for other runtimes: python -m elir_jax.export SOURCE --output FILE

SOURCE is a model that ships (photo, denoising), the folder of a run, a folder of converted weights,
a model's file, or a file of the release. FILE.onnx is one ONNX graph, image and noise -> restored
image, of any height, width and batch; elir_jax.edge and elir_jax.restore run it in windows of any
picture. --format int8 stores kernels in 8 bits and computes in float32. --format stablehlo writes
an archive of programs that any later JAX runs without this package.

With --check FILE, nothing is written: the weights, each part, the whole graph and the restorations
of --pictures are compared with our own programs, and the exit code is 1 if they differ by more than
the format may. SOURCE may be left out for a model that ships.
"""

import argparse
import re
from pathlib import Path

from elir_jax.commands import console, frame
from elir_jax.errors import UserError

FORMATS = ("float32", "float16", "int8", "stablehlo")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=frame.program("elir_jax.export"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", nargs="?", type=Path)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--output", metavar="FILE", type=Path, help="the file to write")
    asked.add_argument("--check", metavar="FILE", type=Path, help="a file to compare")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="(default: float32)")
    parser.add_argument("--config", metavar="configs/NAME.py", help="for weights without one")
    parser.add_argument(
        "--steps", type=console.positive, help="Euler steps (default: as configured)"
    )
    parser.add_argument("--no-noise", action="store_true", help="no noise before the flow")
    parser.add_argument("--fidelity", type=console.share, metavar="W", help="from 0, the posterior "
                        "mean, to 1, the full sample (default: as configured)")  # fmt: skip
    parser.add_argument("--shape", type=_shape, metavar="BxHxW",
                        help="fix batch, height and width, for runtimes that need it")  # fmt: skip
    parser.add_argument("--licence", metavar="TEXT", help="of the weights, for the metadata "
                        "(default: MIT for models that ship, otherwise not stated)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="for --check: originals")
    parser.add_argument(
        "--most", metavar="N", type=console.positive, help="of the pictures, the first N"
    )
    options = parser.parse_args(argv)

    def command() -> int:
        if options.check is None:
            from elir_jax.commands.exporting import export  # here: it loads jax

            return export(options)
        if options.pictures is None:
            raise UserError("--check needs pictures to compare with; name a folder, --pictures DIR")
        from elir_jax.commands.checking import check

        return check(options)

    return frame.exit_code_of(command, argv)


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
        raise argparse.ArgumentTypeError("must be BATCHxHEIGHTxWIDTH, such as 1x256x256")
    return tuple(map(int, text.split("x")))
