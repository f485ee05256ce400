"""Files in, files out: which pictures a command names, and where each result goes."""

import collections
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from elir_jax.data.images import EXTENSIONS
from elir_jax.errors import UserError


class Job(NamedTuple):
    """A picture and the file that its restoration goes to."""

    source: Path
    target: Path

    def beside(self, what: str) -> Path:
        """Another picture of the same restoration."""
        return self.target.with_suffix(f".{what}.png")


def find_jobs(inputs: Sequence[Path], output: Path) -> list[Job]:
    """Every file named and every image below every folder named, in order, each once.

    A folder's tree is kept below ``output``, and a picture its name; where two would have one name
    they keep their extensions too. Raises UserError where an input is not there or nothing is.
    """
    found: dict[Path, Path] = {}  # the file -> its place below the output, without extension
    for path in inputs:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                ours = output.resolve() in file.resolve().parents and path.resolve() != file.parent
                if file.suffix.lower() in EXTENSIONS and file.is_file() and not ours:
                    found.setdefault(file, file.relative_to(path))
        elif path.exists():
            found.setdefault(path, Path(path.name))
        else:
            raise UserError(f"{path}: no such file or folder")
    if not found:
        raise UserError(f"no images in {', '.join(map(str, inputs))}; it wants some of "
                        f"{' '.join(sorted(EXTENSIONS))}")  # fmt: skip
    times = collections.Counter(place.with_suffix("") for place in found.values())
    jobs = []
    for file, place in found.items():
        alone = times[place.with_suffix("")] == 1
        jobs.append(Job(file, output / (place.with_suffix(".png") if alone else f"{place}.png")))
    targets = collections.Counter(job.target for job in jobs)
    for job in jobs:
        if targets[job.target] > 1:
            raise UserError(f"{job.source}: another input would be written to {job.target} too; "
                            f"restore them into different folders")  # fmt: skip
        if job.target.resolve() == job.source.resolve():
            raise UserError(f"{job.source}: its restoration would replace it; choose another "
                            f"--output")  # fmt: skip
    return jobs


def check_output(output: Path) -> None:
    """Make the folder. Raises UserError where it cannot be written, before the work begins."""
    probe = output / f".writable-{os.getpid()}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror}); choose another --output"
        ) from error
