"""What follows the last step of a run: its evaluation, its report and the files for others."""

from collections.abc import Iterator
from pathlib import Path

from elir_jax.devices import hosts
from elir_jax.evaluation.present import format_table, write_evaluation
from elir_jax.running.records.report import draw_curves, read_evaluations
from elir_jax.running.records.writers import Writers
from elir_jax.running.run import Run
from elir_jax.training.state import TrainState


def finish(run: Run, state: TrainState, writers: Writers, workdir: Path) -> Iterator[str]:
    """Evaluate the averaged weights on every host and write the report on the first.

    Gives the lines to print, each as soon as it is known. Raises UserError if a file fails.
    """
    writers.ledger.turn("evaluation")
    evaluation = run.evaluate(state.ema, state.frozen)
    if run.plan.evaluate_every:
        writers.log_evaluation(int(state.step), evaluation.figures)
    yield format_table(evaluation)
    if hosts.is_first():
        title, course = f"{workdir.name}: step {int(state.step)}", read_evaluations(workdir)
        written = [
            draw_curves(workdir),
            *write_evaluation(workdir, evaluation, title=title, course=course),
        ]
        files = [path for path in [*written, *run.export(state, workdir)] if path is not None]
        yield " ".join(map(str, ["wrote", *files]))
    yield writers.summary()
