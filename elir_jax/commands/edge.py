"""Restore pictures without JAX: python -m elir_jax.edge FILE.onnx INPUT... --output DIR

FILE.onnx is what elir_jax.export wrote. NumPy, Pillow and onnxruntime are all that is needed. INPUT
is a picture or a folder of them, as elir_jax.restore takes; pictures of 16 bits a colour and hidden
colours under transparency need OpenCV too. Results that exist already are kept. A file that cannot
be read is reported and left out, and the exit code is then 1.
"""

import argparse
import sys
from pathlib import Path

from elir_jax.commands import streams
from elir_jax.errors import UserError, one_line

SOME_FAILED, EXIT_USER_ERROR, EXIT_INTERRUPTED = 1, 2, 130


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m elir_jax.edge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE.onnx", type=Path)
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path)
    parser.add_argument("--output", metavar="DIR", required=True, type=Path)
    parser.add_argument("--steps", type=int, help="Euler steps (default: the file's)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default 0)")
    parser.add_argument("--no-noise", action="store_true", help="no noise before the flow")
    parser.add_argument("--color-fix", action="store_true",
                        help="take low frequencies, and so colours, from the input")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    options = parser.parse_args(argv)
    streams.hold()
    try:
        return _restore(options)
    except UserError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _restore(options: argparse.Namespace) -> int:
    from elir_jax.commands.picture_files import check_output, find_jobs, told_of_frames
    from elir_jax.data.walking import LeftOut
    from elir_jax.edge import Restorer
    from elir_jax.pictures.anybody import read_picture, write_picture

    if options.steps is not None and options.steps < 1 or not 0 <= options.seed < 2**32:
        raise UserError("--steps must be at least 1, and --seed must lie in [0, 2^32)")
    restorer = Restorer.load(options.file, steps=options.steps, noise=not options.no_noise)
    if options.color_fix:
        restorer.check_color_fix()
    left_out = LeftOut()
    jobs = find_jobs(options.inputs, options.output, left_out=left_out)
    check_output(options.output)
    failed = framed = 0
    for job in jobs:
        if job.target.exists() and not options.overwrite:
            continue
        try:
            picture = read_picture(job.source)
            framed += picture.frames > 1
            write_picture(
                job.target, restorer(picture.rgb, options.seed, options.color_fix), picture
            )
        except UserError as error:
            print(f"left out: {one_line(error)}", file=sys.stderr)
            failed += 1
    done = f"restored {len(jobs) - failed} of {len(jobs)} into {options.output}"
    print(done + told_of_frames(framed))
    return SOME_FAILED if failed or left_out.lost else 0
