"""The work of ``evaluate.py``: on held-out images, or on two folders of pictures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from elir_jax.commands import frame
from elir_jax.commands.picture_files import check_output
from elir_jax.compose.data import build_held_out
from elir_jax.compose.measuring import Measuring, about, build_measuring
from elir_jax.compose.restoration import naming_fields
from elir_jax.compose.restoring import restoring
from elir_jax.compose.subject import Subject, find_subject
from elir_jax.devices import hosts
from elir_jax.devices.mesh import replicate
from elir_jax.errors import UserError
from elir_jax.evaluation.folders import evaluate_folders
from elir_jax.evaluation.measure import Evaluation
from elir_jax.evaluation.present import FOLDER, describe, format_table, write_evaluation
from elir_jax.metrics.perceptual import open_perceptual
from elir_jax.running.records.report import read_evaluations
from elir_jax.storage.opening import storage_of

NAME = re.compile(r"\w[\w.-]*")


class Asked(NamedTuple):
    """What the command line asks for."""

    workdir: frame.Place
    name: str  # "": what differs from the run's own
    fid: Path | None
    first: bool = True  # whether this process writes and prints


class Weights(NamedTuple):
    """Where the weights are, and what the command line says of their configuration."""

    path: frame.Place
    config: Any  # None: their own
    fields: Sequence[str]  # words of the command line
    allow: bool  # to change what belongs to the weights


def on_held_out(asked: Asked, weights: Weights) -> int:
    """Evaluate on the held-out images of the configuration, on every host."""
    path, config, fields, allow = weights
    hosts.agreed(lambda: check_name(asked))
    subject = find_subject(path, config, fields, allow=allow)
    frame.say(f"{path}: {subject.title}")
    measuring = hosts.agreed(lambda: _measuring(subject))
    hosts.check_same({"held_out": measuring.about["held_out"]}, "held-out images")
    perceptual, missing = hosts.agreed(lambda: open_perceptual(asked.fid))
    evaluation = measuring.evaluate(subject.weights, perceptual)
    if asked.first:
        _report(asked, subject, evaluation, measuring.about, [*missing, *perceptual.notes])
    return 0


def _measuring(subject: Subject) -> Measuring:
    with naming_fields():
        images = build_held_out(subject.config)
        return build_measuring(subject.config, subject.method, images)


def on_folders(asked: Asked, weights: Weights, lq: Path, hq: Path) -> int:
    """Evaluate on two folders of pictures, at their full size, in this process."""
    path, config, fields, allow = weights
    check_output(asked.workdir / FOLDER, "--workdir")
    check_name(asked)
    subject = find_subject(path, config, fields, allow=allow, held_out=False)
    frame.say(f"{path}: {subject.title}")
    perceptual, missing = open_perceptual(asked.fid)
    by_weights = restoring(subject.method, subject.config.seed)
    ready = by_weights(replicate(subject.weights))
    evaluation = evaluate_folders(ready, lq, hq, perceptual=perceptual)
    measured = about(subject.config, subject.method) | {"lq": str(lq), "hq": str(hq)}
    notes = [*missing, *perceptual.notes]
    _report(asked, subject, evaluation, measured, notes, "on", lq.resolve().name)
    return 0


def check_name(asked: Asked) -> None:
    """Raise UserError for a name that is none, or is taken."""
    if not asked.name:
        return
    if not NAME.fullmatch(asked.name):
        raise UserError(f"--name={asked.name}: letters, digits and .-_ only, as in step-20")
    place = asked.workdir / FOLDER / asked.name
    if asked.first and storage_of(place).exists(place):
        raise UserError(f"{place}: exists already, and is kept; choose another --name")


def _report(
    asked: Asked,
    subject: Subject,
    evaluation: Evaluation,
    measured: dict[str, Any],
    missing: Sequence[str],
    *of: str,
) -> None:
    """Write everything, then print it: nothing is lost if nobody reads, or if a file fails."""
    workdir, fid = asked.workdir, [] if asked.fid is None else ["fid", asked.fid.stem]
    name = asked.name or subject.name(workdir, *of, *fid)
    facts = subject.facts(workdir, measured)
    notes = [*subject.notes, *missing]
    lines = [*describe(facts, evaluation), format_table(evaluation), *notes]
    try:
        course = None if subject.run is None or of else read_evaluations(subject.run)
        place = subject.run or workdir
        title = f"{place.name}: {' '.join([subject.title, *of])}"
        written = write_evaluation(
            workdir, evaluation, name=name, title=title, facts=facts, notes=notes, course=course
        )
        lines.append(" ".join(map(str, ["wrote", *written])))
    finally:
        print(*lines, sep="\n", flush=True)
