"""What follows the last step of a run: its evaluation, its report and the files for others."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from elir_jax.devices import hosts
from elir_jax.evaluation.measure import Evaluation
from elir_jax.evaluation.present import describe, format_table, show_newest, write_evaluation
from elir_jax.running.records.report import draw_curves, read_evaluations
from elir_jax.running.records.writers import FOLDER as CHECKPOINTS
from elir_jax.running.records.writers import Writers
from elir_jax.running.run import Run
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place
from elir_jax.training.state import TrainState


def finish(run: Run, state: TrainState, writers: Writers, workdir: Place) -> Iterator[str]:
    """Evaluate the averaged weights on every host and write the report on the first.

    Gives the lines to print when everything is on the disk, so that nothing is lost if nobody reads
    them; and the figures even if a file fails. Raises UserError if one does.
    """
    writers.ledger.turn("evaluation")
    evaluation, step = run.evaluate(state.ema, state.frozen), int(state.step)
    place = Path(CHECKPOINTS) / str(step)
    facts = {"checkpoint": str(place), "step": step, "changed": {}} | run.about
    lines = [*describe(facts, evaluation), format_table(evaluation)]
    try:
        if run.plan.evaluate_every:
            writers.log_evaluation(step, evaluation.figures)
        if hosts.is_first():
            writers.send()
            facts |= {"configuration": run.config}
            lines.append(_write(run, state, workdir, evaluation, facts))
        lines.append(writers.summary())
    finally:
        yield from lines


def _write(run: Run, state: TrainState, workdir: Place, evaluation: Evaluation, facts: dict) -> str:
    """The report, the curves and what the method exports; returns a line that names them."""
    step = facts["step"]
    report = write_evaluation(
        workdir,
        evaluation,
        name=f"step-{step}",
        title=f"{workdir.name}: step {step}",
        facts=facts,
        course=read_evaluations(workdir),
    )
    report += show_newest(report)
    with closing(storage_of(workdir).outgoing(workdir)) as out:
        curves, exported = draw_curves(workdir, out.folder), run.export(state, out.folder)
    drawn = [] if curves is None else [workdir / curves.name]
    files = [workdir / path.relative_to(out.folder) for path in exported]
    return " ".join(map(str, ["wrote", *drawn, *report, *files]))
