"""The files of a restoration: which pictures a command names, where results go, what is read."""

import collections
import functools
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elir_jax.data.walking import RESULTS, LeftOut, walk
from elir_jax.errors import UserError
from elir_jax.files import new_file
from elir_jax.inference.sampling import Sampled
from elir_jax.pictures.anybody import Picture, read_picture
from elir_jax.pictures.images import AnyPixels, FloatPixels, to_float, to_uint8, to_uint16
from elir_jax.pictures.opencv import opencv
from elir_jax.pictures.opening import EXTENSIONS
from elir_jax.pictures.results import digest_of_file, is_result
from elir_jax.pictures.samples import Samples
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place

RESTORED = "restored"  # the kind of picture that is the restoration itself
NO_PIXELS = np.empty((0, 0, 3), np.float32)
SAMPLE, DEVIATION = "sample", "deviation"  # beginnings of kinds, numbers follow
WHITE = 1 / 8  # the deviation that a map shows as white: 32 grey levels of 255
WIDEST = 1024  # pixels: the longer side of a panel in NAME.steps.png


class Job(NamedTuple):
    """A picture, the file of its restoration, and the pictures to write."""

    source: Path
    target: Path
    kinds: tuple[str, ...] = (RESTORED,)

    def outputs(self) -> dict[str, Path]:
        """Kind -> file: that of the restoration, and those next to it."""
        return {
            kind: self.target if kind == RESTORED else self.target.with_suffix(f".{kind}.png")
            for kind in self.kinds
        }


class Loaded(NamedTuple):
    """A picture that was read: its samples in the file's depth, and all but the pixels."""

    job: Job
    samples: Samples  # a quarter or half of the memory of floats
    like: Picture  # without its pixels
    source: str  # the digest of its file


class Results(NamedTuple):
    """What was made of a picture."""

    stages: Sequence[AnyPixels]  # the last one is the restoration
    sampled: Sampled | None = None


class Jobs(NamedTuple):
    """The work that a command names, and what it passes over."""

    jobs: list[Job]
    left_out: LeftOut


class _Input(NamedTuple):
    file: Path
    place: Path  # its path below the output folder


def find_jobs(inputs: Sequence[Path], output: Path, kinds: Sequence[str] = ()) -> Jobs:
    """Every named file and every image below the named folders, in order, each once.

    Results of ours are no inputs, wherever they are; nothing in the output folder is one if that
    lies inside an input. Results keep the subfolders and names of their inputs, below ``output``.
    If two would get the same name, or one that of an input, they keep their extensions too. What
    else the folders hold is told in the log. Raises UserError if an input does not exist or is no
    file, if there is no image, or if two pictures (including the ``kinds`` next to results) would
    be the same file.
    """
    left_out = LeftOut()
    found: dict[str, _Input] = {}  # by real folder and name
    for path in inputs:
        if path.is_dir():
            names = walk(str(path), EXTENSIONS, left_out, without=str(output))
            some = [_Input(path / name, Path(name)) for name in names]
        elif path.is_file():
            some = [_Input(path, Path(path.name))]
        elif path.exists():  # a picture is read twice: its header first
            raise UserError(f"{path}: a pipe or device; write the picture to a file, and name that")
        else:
            raise UserError(f"{path}: no such file or folder")
        for one in some:
            if is_result(one.file):
                left_out.add(RESULTS, str(one.file))
            else:
                found.setdefault(_identity(one.file), one)
    left_out.tell()
    if not found:
        results = left_out.counts[RESULTS]
        but = f" but {results} results of ours" if results else ""
        raise UserError(
            f"no images in {', '.join(map(str, inputs))}{but}; these kinds can be read: "
            f"{' '.join(sorted(EXTENSIONS))}"
        )
    return Jobs(_named(list(found.values()), output, (RESTORED, *kinds)), left_out)


def kinds_of_samples(count: int) -> list[str]:
    """The pictures next to a result of ``count`` samples, the first of which is the result."""
    if count == 1:
        return []
    return [*(f"{SAMPLE}{number}" for number in range(2, count + 1)), f"{DEVIATION}{count}"]


def told_of_frames(count: int) -> str:
    """How a summary tells of pictures of which only the first frame was restored."""
    if not count:
        return ""
    return f"; {count} of more than one page or frame, of which the first was taken"


def _identity(file: Path) -> str:
    """The same for one file by two paths; a link to a file is one of its own."""
    return os.path.join(os.path.realpath(file.parent), file.name)


def _named(found: Sequence[_Input], output: Path, kinds: tuple[str, ...]) -> list[Job]:
    """Where each result goes."""
    resolved = functools.cache(Path.resolve)

    def entry(path: Path) -> Path:
        """The path itself, if it is a link, but without links to its folders."""
        return resolved(path.parent) / path.name

    sources = {entry(one.file) for one in found}
    times = collections.Counter(one.place.with_suffix("") for one in found)
    jobs = []
    for file, place in found:
        target = output / place.with_suffix(".png")
        if times[place.with_suffix("")] > 1 or entry(target) in sources:
            target = output / f"{place}.png"
        jobs.append(Job(file, target, kinds))
    targets = collections.Counter(path for job in jobs for path in job.outputs().values())
    for job in jobs:
        clash = next((path for path in job.outputs().values() if targets[path] > 1), None)
        if clash is not None:
            raise UserError(
                f"{job.source}: two results would be written to {clash}; restore them into "
                f"different folders"
            )
        if entry(job.target) in sources:
            raise UserError(
                f"{job.source}: its restoration would replace {job.target}; choose another --output"
            )
    return jobs


def check_output(output: Place, option: str = "--output") -> None:
    """Create the folder. Raises UserError if it cannot be written, before the work begins."""
    try:
        with closing(storage_of(output).outgoing(output)) as out:
            out.folder.mkdir(parents=True, exist_ok=True)
            new_file(out.folder).unlink()
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror}); choose another {option}"
        ) from error


def read_all(
    jobs: Sequence[Job], sizes: Sequence[tuple[int, int]], upscale: int
) -> list[Loaded | UserError]:
    """Read pictures, ``upscale`` times as large; an error for each that cannot be used.

    ``sizes`` are the enlarged sizes (height, width) that the headers gave.
    """
    found: list[Loaded | UserError] = []
    for job, size in zip(jobs, sizes, strict=True):
        try:
            digest = digest_of_file(job.source)  # first: a later change is then seen as one
            picture = read_picture(job.source)
            samples = _enlarged(picture, upscale)
            if samples.shape[:2] != size:
                raise UserError(f"{job.source}: its header gives another size; save it again")
            found.append(Loaded(job, samples, picture._replace(rgb=NO_PIXELS), digest))
            del picture  # large floats
        except UserError as error:
            found.append(error)
        except OSError as error:
            found.append(UserError(f"{job.source}: cannot be read ({error.strerror})"))
        except MemoryError:
            found.append(UserError(f"{job.source}: too large for this machine's memory"))
    return found


def _enlarged(picture: Picture, upscale: int) -> Samples:
    rgb = picture.rgb
    if upscale > 1:
        height, width = rgb.shape[:2]
        size = (width * upscale, height * upscale)
        cv2 = opencv("--upscale")
        try:
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
        except cv2.error as error:
            raise MemoryError(str(error)) from error
    return integers(picture)(rgb)


def integers(like: Picture) -> Callable[[FloatPixels], Samples]:
    """What turns floats into samples of the depth that a file has."""
    return to_uint16 if like.bits == 16 else to_uint8


def picture_of(
    kind: str, picture: Loaded, results: Results, names: Sequence[str]
) -> tuple[AnyPixels, Picture]:
    """(pixels, all but the pixels) of a picture of that kind.

    ``names`` are those of the stages, if these are more than the restoration.
    """
    stages = results.stages
    if kind == RESTORED:
        return stages[-1], picture.like
    if kind.startswith(SAMPLE):
        return to_float(results.sampled.restorations[int(kind[len(SAMPLE) :]) - 1]), picture.like
    if kind.startswith(DEVIATION):
        shown = np.clip(results.sampled.deviation / WHITE, 0, 1)
        return np.repeat(shown[..., None], 3, axis=-1), Picture(NO_PIXELS, None, 8, None)
    if kind == "compare":
        panels = _panels(["input", "restored"], [to_float(picture.samples), stages[-1]])
    else:
        row = [_shrunk(image) for image in (to_float(picture.samples), *stages)]
        panels = _panels(["input", *names], row)
    return to_float(panels), Picture(NO_PIXELS, None, 8, None)


def _panels(names: Sequence[str], row: Sequence[np.ndarray]) -> np.ndarray:
    from elir_jax.evaluation.present import draw_panels  # here: it loads jax

    return draw_panels(names, [row])


def _shrunk(image: FloatPixels) -> FloatPixels:
    scale = WIDEST / max(image.shape[:2])
    if scale >= 1:
        return image
    cv2 = opencv("--intermediate")
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
