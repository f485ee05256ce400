"""Restore pictures: python -m elir_jax.restore INPUT... --output DIR --checkpoint WORKDIR|FILE

INPUT is a picture or a folder of them (searched recursively): PNG, JPEG, WebP, TIFF, BMP, of any
size and colour mode. The checkpoint is a folder that train.py or elir_jax.interop.convert wrote, or
a file of the release; where it brings no configuration, name it with --config. Each result is a
PNG of the input's size and name. What is there already is left as it is, so that the same command
goes on where it was stopped. A file that cannot be read is named and left out, and the exit code is
1 at the end.
"""

import argparse
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from elir_jax import cli
from elir_jax.data.pictures import MAX_PIXELS, read_shape
from elir_jax.errors import UserError
from elir_jax.restore_files import Job, Loaded, check_output, find_jobs, read_all, write_all
from elir_jax.restorer import Group, Restorer

SOME_FAILED = 1  # exit code
KINDS = {"compare": "compare", "steps": "intermediate"}  # picture beside a result -> its option


class Tally(NamedTuple):
    """What became of the pictures."""

    done: int
    failed: int


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m elir_jax.restore",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", metavar="INPUT", nargs="+", type=Path)
    parser.add_argument("--output", metavar="DIR", required=True, type=Path)
    parser.add_argument("--checkpoint", metavar="WORKDIR|FILE", required=True, type=Path)
    parser.add_argument("--config", metavar="configs/NAME.py", help="of weights that bring none")
    parser.add_argument("--steps", type=_positive, help="Euler steps (default: as configured)")
    parser.add_argument("--seed", type=_seed, default=0, help="of the noise (default 0)")
    parser.add_argument("--no-noise", action="store_true", help="start at the posterior mean")
    parser.add_argument("--batch", type=_positive, default=8, help="pictures at once (default 8)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="(default: as configured)")
    parser.add_argument("--upscale", type=_positive, default=1, metavar="N",
                        help="enlarge N times first: 4 for blind super-resolution")  # fmt: skip
    parser.add_argument(
        "--compare", action="store_true", help="also NAME.compare.png: before, after"
    )
    parser.add_argument("--intermediate", action="store_true",
                        help="also NAME.steps.png: every Euler step")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="make what is there already anew")
    return cli.told(lambda: run(parser.parse_args(argv)))


def run(options: argparse.Namespace) -> int:
    """Restore what the command line names."""
    kinds = [kind for kind in ("compare", "steps") if getattr(options, KINDS[kind])]
    jobs = find_jobs(options.inputs, options.output, kinds)
    check_output(options.output)
    todo = [
        job
        for job in jobs
        if options.overwrite or not all(path.exists() for path in job.outputs(kinds))
    ]
    if len(todo) < len(jobs):
        print(
            f"{len(jobs) - len(todo)} of {len(jobs)} are there already: left as they are "
            f"(--overwrite makes them anew)",
            flush=True,
        )
    if not todo:
        return 0
    cli.keep_programs()
    restorer = Restorer.load(
        options.checkpoint,
        options.config,
        steps=options.steps,
        noise=not options.no_noise,
        dtype=options.dtype,
    )
    print(f"{options.checkpoint}: {restorer.title}", flush=True)
    with logging_redirect_tqdm(), tqdm(total=len(todo), unit="picture", smoothing=0.1) as bar:
        tally = _restore_all(restorer, todo, options, bar)
    print(f"restored {tally.done} of {len(todo)} into {options.output}"
          + (f"; {tally.failed} could not be, named above" if tally.failed else ""))  # fmt: skip
    return SOME_FAILED if tally.failed else 0


def _restore_all(restorer: Restorer, jobs: list[Job], options, bar: tqdm) -> Tally:
    sizes: list[tuple[int, int]] = []
    readable: list[Job] = []
    failed = 0
    for job in jobs:
        try:
            height, width = (side * options.upscale for side in read_shape(job.source))
            if height * width > MAX_PIXELS:
                raise UserError(
                    f"{job.source}: {width}x{height} pixels are more than {MAX_PIXELS}; cut it up"
                )
        except UserError as error:
            failed += _failed(error, bar)
        else:
            readable.append(job)
            sizes.append((height, width))

    groups = restorer.groups(sizes, options.batch)

    def begin(group: Group) -> Future:
        some = [[known[i] for i in group.numbers] for known in (readable, sizes)]
        return reader.submit(read_all, *some, options.upscale)

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        writing: Future | None = None
        coming: Future | None = None
        for number, group in enumerate(groups):
            pictures = (coming or begin(group)).result()
            following = groups[number + 1 : number + 2]
            # Large pictures are not held two at a time.
            ahead = following and group.small and following[0].small
            coming = begin(following[0]) if ahead else None
            good = [picture for picture in pictures if isinstance(picture, Loaded)]
            failed += sum(_failed(p, bar) for p in pictures if isinstance(p, UserError))
            if not good:
                continue
            results = _restored(restorer, good, group.batch, options)
            del pictures
            failed += _finished(writing, bar)
            if isinstance(results, UserError):
                failed += sum(_failed(f"{one.job.source}: {results}", bar) for one in good)
                continue
            writing = writer.submit(write_all, good, results, restorer.stage_names, options)
            if not group.small:
                failed += _finished(writing, bar)
                writing = None
            del good, results
        failed += _finished(writing, bar)
    return Tally(len(jobs) - failed, failed)


def _restored(restorer: Restorer, good: list[Loaded], batch: int, options):
    """The results of a group, or the mistake that there is no memory for them."""
    try:
        return restorer.stages(
            [one.samples for one in good],
            options.seed,
            batch,
            every=options.intermediate,
        )
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        return UserError(f"cannot be restored here ({str(error).splitlines()[0][:100]})")


def _finished(writing: Future | None, bar: tqdm) -> int:
    """How many pictures of a group could not be written; waits for it."""
    if writing is None:
        return 0
    mistakes = writing.result()
    count = sum(_failed(mistake, bar) for mistake in mistakes if mistake is not None)
    bar.update(len(mistakes) - count)
    return count


def _failed(error: UserError | str, bar: tqdm) -> int:
    tqdm.write(f"left out: {' '.join(str(error).split())}", file=sys.stderr)
    bar.update(1)
    return 1


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


if __name__ == "__main__":
    code = main()
    if code == cli.EXIT_INTERRUPTED:  # what is still being computed would crash the way out
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
