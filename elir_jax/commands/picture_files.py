"""The files of a restoration: which pictures a command names, and where each result goes."""

import argparse
import collections
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elir_jax.errors import DISK, UserError
from elir_jax.files import new_file
from elir_jax.pictures.anybody import Picture, Samples, read_picture, write_picture
from elir_jax.pictures.images import (
    EXTENSIONS,
    AnyPixels,
    FloatPixels,
    to_float,
    to_uint8,
    to_uint16,
    write_png,
)
from elir_jax.pictures.opencv import opencv
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place

NO_PIXELS = np.empty((0, 0, 3), np.float32)
WIDEST = 1024  # pixels: the longer side of a panel in NAME.steps.png


class Job(NamedTuple):
    """A picture and the file of its restoration."""

    source: Path
    target: Path

    def beside(self, kind: str) -> Path:
        """The file of another picture of the same restoration, next to it."""
        return self.target.with_suffix(f".{kind}.png")

    def outputs(self, kinds: Sequence[str]) -> list[Path]:
        """The file of the restoration, and those of the other ``kinds`` of pictures."""
        return [self.target, *map(self.beside, kinds)]


class Loaded(NamedTuple):
    """A picture that was read: its samples in the file's depth, and all but the pixels."""

    job: Job
    samples: Samples  # a quarter or half of the memory of floats
    like: Picture  # without its pixels


def find_jobs(inputs: Sequence[Path], output: Path, kinds: Sequence[str] = ()) -> list[Job]:
    """Every named file and every image below the named folders, in order, each once.

    Results keep the subfolders and names of their inputs, below ``output``. If two would get the
    same name, they keep their extensions too. Links to folders are not followed. Raises UserError
    if an input does not exist, if there is no image, or if two results (including the ``kinds`` of
    pictures next to them) would be the same file.
    """
    found: dict[str, tuple[Path, Path]] = {}  # absolute name -> the file, its path below output
    for path in inputs:
        if path.is_dir():
            # If the output folder lies inside the input, its files are no inputs.
            ours = output.resolve() if path.resolve() in output.resolve().parents else None
            for file in sorted(path.rglob("*")):
                image = file.suffix.lower() in EXTENSIONS and file.is_file()
                if image and ours not in file.resolve().parents:
                    found.setdefault(os.path.abspath(file), (file, file.relative_to(path)))
        elif path.exists():
            found.setdefault(os.path.abspath(path), (path, Path(path.name)))
        else:
            raise UserError(f"{path}: no such file or folder")
    if not found:
        raise UserError(
            f"no images in {', '.join(map(str, inputs))}; these kinds can be read: "
            f"{' '.join(sorted(EXTENSIONS))}"
        )
    times = collections.Counter(place.with_suffix("") for _, place in found.values())
    jobs = []
    for file, place in found.values():
        alone = times[place.with_suffix("")] == 1
        jobs.append(Job(file, output / (place.with_suffix(".png") if alone else f"{place}.png")))
    targets = collections.Counter(path for job in jobs for path in job.outputs(kinds))
    for job in jobs:
        clash = next((path for path in job.outputs(kinds) if targets[path] > 1), None)
        if clash is not None:
            raise UserError(
                f"{job.source}: two results would be written to {clash}; restore them into "
                f"different folders"
            )
        if job.target.resolve() == job.source.resolve():
            raise UserError(
                f"{job.source}: its restoration would replace it; choose another --output"
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
            picture = read_picture(job.source)
            samples = _enlarged(picture, upscale)
            if samples.shape[:2] != size:
                raise UserError(f"{job.source}: its header gives another size; save it again")
            found.append(Loaded(job, samples, picture._replace(rgb=NO_PIXELS)))
            del picture  # large floats
        except UserError as error:
            found.append(error)
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
    return to_uint16(rgb) if picture.bits == 16 else to_uint8(rgb)


def write_all(
    restored: list[Loaded],
    results: list[list[AnyPixels]],
    names: tuple[str, ...],
    options: argparse.Namespace,
) -> list[UserError | None]:
    """Write the files that ``options`` ask for and that are missing; an error or None for each.

    ``names`` are the stages in ``results``, if these hold more than the restoration.
    """
    return [
        _write_one(picture, stages, names, options)
        for picture, stages in zip(restored, results, strict=True)
    ]


def _write_one(picture: Loaded, stages, names, options) -> UserError | None:
    job = picture.job

    def wanted(path: Path) -> bool:
        return options.overwrite or not path.exists()

    try:
        if options.compare and wanted(path := job.beside("compare")):
            panels = [to_float(picture.samples), stages[-1]]
            write_png(path, _panels(["input", "restored"], panels))
        if options.intermediate and wanted(path := job.beside("steps")):
            panels = [_shrunk(image) for image in (to_float(picture.samples), *stages)]
            write_png(path, _panels(["input", *names], panels))
        if wanted(job.target):
            write_picture(job.target, stages[-1], picture.like)
    except OSError as error:
        if error.errno in DISK:  # nothing more can be written
            raise
        return UserError(f"{job.target}: cannot be written ({error.strerror})")
    return None


def _panels(names: Sequence[str], row: Sequence[np.ndarray]) -> np.ndarray:
    from elir_jax.evaluation.present import draw_panels  # here: it loads jax

    return draw_panels(names, [row])


def _shrunk(image: FloatPixels) -> FloatPixels:
    scale = WIDEST / max(image.shape[:2])
    if scale >= 1:
        return image
    cv2 = opencv("--intermediate")
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
