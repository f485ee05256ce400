"""The work of every command that restores: read, restore and write groups of pictures.

While one group is restored, the next is read and the previous one is written. Needs neither JAX nor
tqdm, which draws the bar if it is there: ``elir_jax.edge`` runs the same loop.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from elir_jax.commands.picture_files import (
    Job,
    Loaded,
    Results,
    check_output,
    find_jobs,
    integers,
    kinds_of_samples,
    picture_of,
    read_all,
    told_of_frames,
)
from elir_jax.commands.planning import Recipe, plan
from elir_jax.commands.runtimes import weights_digest
from elir_jax.errors import DISK, UserError, one_line
from elir_jax.inference.calling import AnyRestorer
from elir_jax.inference.grouping import Group
from elir_jax.inference.sampling import sampled, seeds_from
from elir_jax.pictures.anybody import read_shape, write_picture
from elir_jax.pictures.images import AnyPixels

SOME_FAILED = 1  # exit code
KINDS = {"compare": "compare", "steps": "intermediate"}  # picture next to a result -> its option


class Progress:
    """Counts pictures, and tells of those that are left out, above a bar."""

    def __init__(self, total: int):
        self.failed: set[object] = set()  # pictures of which a line was printed
        self.framed = 0  # pictures of more than one page or frame
        self._exits = contextlib.ExitStack()
        self._bar = None
        with contextlib.suppress(ImportError):
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._exits.enter_context(logging_redirect_tqdm())
            self._bar = self._exits.enter_context(
                tqdm(total=total, unit="picture", smoothing=0.1, file=sys.stderr)
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error) -> None:
        self._exits.close()

    def left_out(self, job: Job, error: UserError | str) -> None:
        """Tell of a picture, one line for each reason."""
        line = f"left out: {one_line(error)}"
        if self._bar is None:
            print(line, file=sys.stderr)
        else:
            self._bar.write(line, file=sys.stderr)
        if job.source not in self.failed:
            self.failed.add(job.source)
            self.finished()

    def finished(self) -> None:
        """One picture more is done."""
        if self._bar is not None:
            self._bar.update(1)


def restore_all(
    options: argparse.Namespace, load: Callable[[argparse.Namespace], AnyRestorer]
) -> int:
    """Restore the pictures that the command line names; returns the exit code."""
    kinds = [kind for kind in ("compare", "steps") if getattr(options, KINDS[kind])]
    kinds += kinds_of_samples(options.samples)
    found = find_jobs(options.inputs, options.output, kinds)
    check_output(options.output)
    recipe = Recipe.of(options, weights_digest(options))
    planned = plan(found.jobs, recipe)
    if planned.kept:
        print(f"kept {planned.kept} of {len(found.jobs)} results, which exist already "
              f"(--overwrite replaces them)", flush=True)  # fmt: skip
    asked = len(found.jobs) - planned.kept
    if not asked:
        return SOME_FAILED if found.left_out.lost else 0
    restorer = None
    if planned.todo:
        restorer = load(options)
        if options.color_fix:
            restorer.check_color_fix()
        if options.samples > 1:
            restorer.check_samples()
        print(one_line(f"{options.checkpoint or options.model}: {restorer.title}"), flush=True)
    with Progress(asked) as progress:
        for job, error in planned.refused:
            progress.left_out(job, error)
        if restorer is not None:
            _Work(restorer, recipe, options, progress).restore(planned.todo)
    failed = len(progress.failed)
    print(one_line(f"restored {asked - failed} of {asked} into {options.output}"
                   + (f"; {failed} failed, named above" if failed else "")
                   + told_of_frames(progress.framed)))  # fmt: skip
    return SOME_FAILED if failed or found.left_out.lost else 0


class _Work:
    """The loop over groups."""

    def __init__(self, restorer: AnyRestorer, recipe: Recipe, options, progress: Progress):
        self.restorer, self.recipe, self.options = restorer, recipe, options
        self.progress = progress

    def restore(self, jobs: Sequence[Job]) -> None:
        """Restore and write; whatever cannot be is told."""
        sizes: list[tuple[int, int]] = []
        readable: list[Job] = []
        for job in jobs:
            try:
                sizes.append(self._size(job))
                readable.append(job)
            except UserError as error:
                self.progress.left_out(job, error)
        groups = self.restorer.groups(sizes, self.options.batch)

        def begin(group: Group) -> Future:
            some = [[known[i] for i in group.numbers] for known in (readable, sizes)]
            return reader.submit(read_all, *some, self.options.upscale)

        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            writing: Future | None = None
            coming: Future | None = None
            for number, group in enumerate(groups):
                pictures = (coming or begin(group)).result()
                following = groups[number + 1 : number + 2]
                # Never hold two large pictures in memory.
                ahead = following and group.small and following[0].small
                coming = begin(following[0]) if ahead else None
                good = self._good([readable[i] for i in group.numbers], pictures)
                del pictures
                results = self._restored(good, group.batch) if good else None
                self._finish(writing)
                writing = None
                if results is None:
                    continue
                writing = writer.submit(self._write_all, good, results)
                if not group.small:
                    self._finish(writing)
                    writing = None
                del good, results
            self._finish(writing)

    def _size(self, job: Job) -> tuple[int, int]:
        """The (height, width) of the result. Raises UserError if it is too large."""
        height, width = (side * self.options.upscale for side in read_shape(job.source))
        if height * width > self.options.max_pixels:
            raise UserError(
                f"{job.source}: {width}x{height} pixels are more than {self.options.max_pixels}; "
                f"split it into smaller pictures, or raise --max-pixels"
            )
        return height, width

    def _good(self, jobs: Sequence[Job], pictures: Sequence[Loaded | UserError]) -> list[Loaded]:
        for job, picture in zip(jobs, pictures, strict=True):
            if isinstance(picture, UserError):
                self.progress.left_out(job, picture)
        good = [picture for picture in pictures if isinstance(picture, Loaded)]
        self.progress.framed += sum(picture.like.frames > 1 for picture in good)
        return good

    def _restored(self, good: Sequence[Loaded], batch: int) -> list[Results] | None:
        """The results of a group; None if there is not enough memory for them."""
        options, pictures = self.options, [one.samples for one in good]
        how = {"batch": batch, "color_fix": options.color_fix}
        try:
            found = self.restorer.stages(pictures, options.seed, every=options.intermediate, **how)
            if options.samples == 1:
                return [Results(stages) for stages in found]

            def restore(seed: int) -> list[AnyPixels]:
                first = seed == options.seed
                again = found if first else self.restorer.stages(pictures, seed, **how)
                return [stages[-1] for stages in again]

            seeds = seeds_from(options.seed, options.samples)
            more = sampled(restore, seeds, lambda i, x: integers(good[i].like)(x))
            return [Results(stages, one) for stages, one in zip(found, more, strict=True)]
        except Exception as error:
            if not _of_memory(error):
                raise
            reason = f"cannot be restored here ({str(error).splitlines()[0][:100]})"
        for one in good:
            self.progress.left_out(one.job, f"{one.job.source}: {reason}")
        return None

    def _write_all(self, good: Sequence[Loaded], results) -> list[tuple[Job, UserError | None]]:
        return [(one.job, self._written(one, found))
                for one, found in zip(good, results, strict=True)]  # fmt: skip

    def _written(self, picture: Loaded, results: Results) -> UserError | None:
        """Write the pictures of a job; an error if one cannot be."""
        job = picture.job
        try:
            for kind, path in job.outputs().items():
                # Hours may have passed since the plan was made.
                if self.recipe.check(path, kind, lambda: picture.source):
                    shown = picture_of(kind, picture, results, self.restorer.stage_names)
                    record = self.recipe.record(kind, picture.source)
                    write_picture(path, *shown, record.sealed)
        except UserError as error:
            return UserError(f"{job.source}: {error}")
        except OSError as error:
            if error.errno in DISK:  # nothing more can be written
                raise
            return UserError(f"{job.target}: cannot be written ({error.strerror})")
        return None

    def _finish(self, writing: Future | None) -> None:
        """Wait until a group is written."""
        for job, error in writing.result() if writing is not None else ():
            if error is not None:
                self.progress.left_out(job, error)
            elif job.source not in self.progress.failed:
                self.progress.finished()


def _of_memory(error: Exception) -> bool:
    """Whether the runtime had too little memory; XLA's error says so in its own way."""
    jax = sys.modules.get("jax")  # if it is not loaded, it has raised nothing
    return isinstance(error, MemoryError) or (
        jax is not None and isinstance(error, jax.errors.JaxRuntimeError)
    )
