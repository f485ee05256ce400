"""Which results are to be written: those that are not there, and with --overwrite others of ours.

A result is known by its record (:mod:`elir_jax.pictures.results`). One that is whole, of the same
picture, weights and options, is kept; a damaged one is written again. Whatever else is in its place
is kept too, and said: only --overwrite replaces our other results, and nothing replaces what is
not ours.
"""

import argparse
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from elir_jax.commands.picture_files import Job
from elir_jax.errors import UserError
from elir_jax.pictures.results import Found, Record, State, digest_of_file, examine

# The options that change a result.
OPTIONS = ("steps", "seed", "no_noise", "fidelity", "color_fix", "upscale", "dtype")


class Recipe(NamedTuple):
    """What all results of a command have in common."""

    weights: str  # a digest
    options: dict[str, object]
    overwrite: bool

    @classmethod
    def of(cls, options: argparse.Namespace, weights: str) -> "Recipe":
        """The recipe of a command line."""
        return cls(weights, {name: getattr(options, name) for name in OPTIONS}, options.overwrite)

    def record(self, kind: str, source: str) -> Record:
        """The record of a picture; ``source`` is the digest of the file that is restored."""
        return Record(kind, source, self.weights, self.options)

    def check(self, path: Path, kind: str, source: Callable[[], str]) -> bool:
        """Whether the picture ``path`` is to be written; false if it is there already.

        Raises UserError if something else is there that must stay.
        """
        found = examine(path)
        if found.state is State.FOREIGN:
            raise UserError(
                f"{path} exists, and is not as a restoration of ours was written; move it, or "
                f"choose another --output"
            )
        if self.overwrite or found.state is not State.OURS:
            return True
        differs = self._differences(found, kind, source)
        if differs:
            raise UserError(f"{path} exists, a result of {differs}; --overwrite replaces it")
        return False

    def _differences(self, found: Found, kind: str, source: Callable[[], str]) -> str:
        """In what a result differs from the one that would be written, in words; "": in nothing."""
        there, wanted = found.record, self.record(kind, source())
        assert there is not None
        names = {**there.options, **wanted.options}
        other = [
            f"--{name.replace('_', '-')}"
            for name in names
            if there.options.get(name) != wanted.options.get(name)
        ]
        words = {
            "another kind": there.kind != wanted.kind,
            "another picture": there.source != wanted.source or not wanted.source,
            "other weights": there.weights != wanted.weights,
            f"other options ({', '.join(other)})": bool(other),
        }
        return " and ".join(word for word, differs in words.items() if differs)


class Plan(NamedTuple):
    """What a command has to do."""

    todo: list[Job]  # each with the kinds of pictures that are to be written
    kept: int
    refused: list[tuple[Job, UserError]]  # for each thing that must stay


def plan(jobs: Sequence[Job], recipe: Recipe) -> Plan:
    """Look at what is there. A job is kept if all of its pictures are."""
    todo, kept, refused = [], 0, []
    for job in jobs:
        source = functools.cache(functools.partial(digest_of_file, job.source))
        missing, mistakes = [], []
        for kind, path in job.outputs().items():
            try:
                if recipe.check(path, kind, source):
                    missing.append(kind)
            except UserError as error:
                mistakes.append((job, UserError(f"{job.source}: {error}")))
            except OSError as error:  # the picture's own file
                mistakes.append((job, UserError(f"{job.source}: {error.strerror}")))
        if missing:
            todo.append(job._replace(kinds=tuple(missing)))
        kept += not missing and not mistakes
        refused += mistakes
    return Plan(todo, kept, refused)
