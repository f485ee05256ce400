"""Restore pictures: python -m elir_jax.restore INPUT... --output DIR --checkpoint WORKDIR|FILE

INPUT is a picture or a folder of them (searched recursively): PNG, JPEG, WebP, TIFF, BMP, of any
size and colour mode. The checkpoint is a folder that train.py or elir_jax.interop.convert wrote, or
a file of the release; where it brings no configuration, name it with --config. Each result is a
PNG of the input's size and name. What is there already is left as it is, so that the same command
goes on where it was stopped. A file that cannot be read is named and left out, and the exit code is
1 at the end.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from elir_jax import cli
from elir_jax.data.images import AnyPixels, FloatPixels, write_png
from elir_jax.data.pictures import Picture, read_picture, read_shape, write_picture
from elir_jax.errors import UserError
from elir_jax.evaluation.present import draw_panels
from elir_jax.restore_files import Job, check_output, find_jobs
from elir_jax.restorer import Restorer

MOST_PIXELS = 2048 * 2048  # of the pictures that are held at once, where there is more than one
WIDEST = 1024  # pixels, of a panel in the strip of Euler steps
SOME_FAILED = 1  # exit code


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
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
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
    jobs = find_jobs(options.inputs, options.output)
    check_output(options.output)
    todo = jobs if options.overwrite else [job for job in jobs if not job.target.exists()]
    if len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} are there already: left as they are "
              f"(--overwrite makes them anew)", flush=True)  # fmt: skip
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
            height, width = read_shape(job.source)
        except UserError as error:
            failed += _failed(error, bar)
        else:
            readable.append(job)
            sizes.append((height * options.upscale, width * options.upscale))

    done = 0
    groups = list(_groups(restorer, readable, sizes, options.batch))
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        written = None
        coming = None
        for number, group in enumerate(groups):
            pictures = (coming or reader.submit(_read, group.jobs, options.upscale)).result()
            following = groups[number + 1 : number + 2]
            # Large pictures are not held two at a time.
            ahead = following and group.small and following[0].small
            coming = reader.submit(_read, following[0].jobs, options.upscale) if ahead else None
            good = [(job, p) for job, p in pictures if not isinstance(p, UserError)]
            failed += sum(_failed(p, bar) for _, p in pictures if isinstance(p, UserError))
            if not good:
                continue
            results = restorer.stages(
                [picture.rgb for _, picture in good],
                options.seed,
                group.batch,
                every=options.intermediate,
            )
            if written is not None:
                written.result()
            written = writer.submit(_write, good, results, restorer.stage_names, options)
            if not group.small:
                written.result()
            done += len(good)
            bar.update(len(good))
            del pictures, good, results
        if written is not None:
            written.result()
    return Tally(done, failed)


class Group(NamedTuple):
    """Pictures that are padded to one size and restored together."""

    jobs: list[Job]
    batch: int  # how many the programs are made for
    small: bool  # whether the next group may be read meanwhile


def _groups(restorer: Restorer, jobs: list[Job], sizes, most: int) -> Iterator[Group]:
    for (height, width), numbers in sorted(restorer.alike(sizes).items()):
        together = max(1, min(most, MOST_PIXELS // (height * width)))
        calls = -(-len(numbers) // together)
        batch = -(-len(numbers) // calls)  # even groups waste less
        for first in range(0, len(numbers), batch):
            some = [jobs[i] for i in numbers[first : first + batch]]
            yield Group(some, batch, height * width * batch <= MOST_PIXELS)


def _read(jobs: list[Job], upscale: int) -> list[tuple[Job, Picture | UserError]]:
    found: list[tuple[Job, Picture | UserError]] = []
    for job in jobs:
        try:
            found.append((job, _enlarged(read_picture(job.source), upscale)))
        except UserError as error:
            found.append((job, error))
    return found


def _enlarged(picture: Picture, upscale: int) -> Picture:
    if upscale == 1:
        return picture
    height, width = picture.rgb.shape[:2]
    size = (width * upscale, height * upscale)
    larger = cv2.resize(picture.rgb, size, interpolation=cv2.INTER_CUBIC)
    return picture._replace(rgb=larger.clip(0, 1))


def _write(
    restored: list[tuple[Job, Picture]],
    results: list[list[AnyPixels]],
    names: tuple[str, ...],
    options: argparse.Namespace,
) -> None:
    for (job, picture), stages in zip(restored, results, strict=True):
        if options.compare:
            panels = [picture.rgb, stages[-1]]
            write_png(job.beside("compare"), draw_panels(["input", "restored"], [panels]))
        if options.intermediate:
            panels = [_shrunk(image) for image in (picture.rgb, *stages)]
            write_png(job.beside("steps"), draw_panels(["input", *names], [panels]))
        write_picture(job.target, stages[-1], picture)  # last: it says that all is there


def _shrunk(image: FloatPixels) -> FloatPixels:
    scale = WIDEST / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _failed(error: UserError, bar: tqdm) -> int:
    tqdm.write(f"left out: {' '.join(str(error).split())}", file=sys.stderr)
    bar.update(1)
    return 1


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
