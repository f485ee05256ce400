"""What follows the last step of a run: its evaluation, its report and the files for others."""

from collections.abc import Iterator
from pathlib import Path

from elir_jax.devices import hosts
from elir_jax.evaluation.present import format_table
from elir_jax.running.records.final import write_final_report
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
        written = write_final_report(workdir, int(state.step), evaluation)
        yield " ".join(map(str, ["wrote", *written, *run.export(state, workdir)]))
    yield writers.summary()
