"""The work of the command ``elir_jax.restore``: read, restore and write groups of pictures.

While one group is restored, the next is read and the previous one is written.
"""

import argparse
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from elir_jax.commands.picture_files import (
    Job,
    Loaded,
    check_output,
    find_jobs,
    read_all,
    told_of_frames,
    write_all,
)
from elir_jax.commands.runtimes import load_restorer
from elir_jax.data.walking import LeftOut
from elir_jax.errors import UserError, one_line
from elir_jax.inference.calling import AnyRestorer
from elir_jax.inference.grouping import Group
from elir_jax.pictures.anybody import read_shape

SOME_FAILED = 1  # exit code
KINDS = {"compare": "compare", "steps": "intermediate"}  # picture next to a result -> its option


class Tally(NamedTuple):
    """How many pictures were restored, could not be, and have more than one page or frame."""

    done: int
    failed: int
    framed: int


def restore_all(options: argparse.Namespace) -> int:
    """Restore the pictures that the command line names; returns the exit code."""
    kinds = [kind for kind in ("compare", "steps") if getattr(options, KINDS[kind])]
    left_out = LeftOut()
    jobs = find_jobs(options.inputs, options.output, kinds, left_out)
    check_output(options.output)
    todo = [
        job
        for job in jobs
        if options.overwrite or not all(path.exists() for path in job.outputs(kinds))
    ]
    if len(todo) < len(jobs):
        print(
            f"kept {len(jobs) - len(todo)} of {len(jobs)} results, which exist already "
            f"(--overwrite replaces them)",
            flush=True,
        )
    if not todo:
        return SOME_FAILED if left_out.lost else 0
    restorer = load_restorer(options)
    if options.color_fix:
        restorer.check_color_fix()
    print(f"{options.checkpoint or options.model}: {restorer.title}", flush=True)
    with logging_redirect_tqdm(), tqdm(total=len(todo), unit="picture", smoothing=0.1) as bar:
        tally = _restore_jobs(restorer, todo, options, bar)
    print(f"restored {tally.done} of {len(todo)} into {options.output}"
          + (f"; {tally.failed} failed, named above" if tally.failed else "")
          + told_of_frames(tally.framed))  # fmt: skip
    return SOME_FAILED if tally.failed or left_out.lost else 0


def _restore_jobs(restorer: AnyRestorer, jobs: list[Job], options, bar: tqdm) -> Tally:
    sizes: list[tuple[int, int]] = []
    readable: list[Job] = []
    failed = framed = 0
    for job in jobs:
        try:
            height, width = (side * options.upscale for side in read_shape(job.source))
            if height * width > options.max_pixels:
                raise UserError(
                    f"{job.source}: {width}x{height} pixels are more than {options.max_pixels}; "
                    f"split it into smaller pictures, or raise --max-pixels"
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
            # Never hold two large pictures in memory.
            ahead = following and group.small and following[0].small
            coming = begin(following[0]) if ahead else None
            good = [picture for picture in pictures if isinstance(picture, Loaded)]
            failed += sum(_failed(p, bar) for p in pictures if isinstance(p, UserError))
            framed += sum(picture.like.frames > 1 for picture in good)
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
    return Tally(len(jobs) - failed, failed, framed)


def _restored(restorer: AnyRestorer, good: list[Loaded], batch: int, options):
    """The results of a group, or an error if there is not enough memory for them."""
    try:
        return restorer.stages(
            [one.samples for one in good],
            options.seed,
            batch,
            every=options.intermediate,
            color_fix=options.color_fix,
        )
    except Exception as error:
        if not _of_memory(error):
            raise
        return UserError(f"cannot be restored here ({str(error).splitlines()[0][:100]})")


def _of_memory(error: Exception) -> bool:
    """Whether the runtime had too little memory; XLA's error says so in its own way."""
    jax = sys.modules.get("jax")  # if it is not loaded, it has raised nothing
    return isinstance(error, MemoryError) or (
        jax is not None and isinstance(error, jax.errors.JaxRuntimeError)
    )


def _finished(writing: Future | None, bar: tqdm) -> int:
    """Wait until a group is written; returns how many of its pictures could not be."""
    if writing is None:
        return 0
    mistakes = writing.result()
    count = sum(_failed(mistake, bar) for mistake in mistakes if mistake is not None)
    bar.update(len(mistakes) - count)
    return count


def _failed(error: UserError | str, bar: tqdm) -> int:
    tqdm.write(f"left out: {one_line(error)}", file=sys.stderr)
    bar.update(1)
    return 1
