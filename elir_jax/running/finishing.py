"""What follows the last step of a run: its evaluation, its report and the files for others."""

from collections.abc import Iterator
from contextlib import closing

from elir_jax.devices import hosts
from elir_jax.evaluation.present import format_table, write_evaluation
from elir_jax.running.records.report import draw_curves, read_evaluations
from elir_jax.running.records.writers import Writers
from elir_jax.running.run import Run
from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place
from elir_jax.training.state import TrainState


def finish(run: Run, state: TrainState, writers: Writers, workdir: Place) -> Iterator[str]:
    """Evaluate the averaged weights on every host and write the report on the first.

    Gives the lines to print, each as soon as it is known. Raises UserError if a file fails.
    """
    writers.ledger.turn("evaluation")
    evaluation = run.evaluate(state.ema, state.frozen)
    if run.plan.evaluate_every:
        writers.log_evaluation(int(state.step), evaluation.figures)
    yield format_table(evaluation)
    if hosts.is_first():
        writers.send()
        title, course = f"{workdir.name}: step {int(state.step)}", read_evaluations(workdir)
        with closing(storage_of(workdir).outgoing(workdir)) as out:
            curves, exported = draw_curves(workdir, out.folder), run.export(state, out.folder)
        report = write_evaluation(workdir, evaluation, title=title, course=course)
        drawn = [] if curves is None else [workdir / curves.name]
        files = [workdir / path.relative_to(out.folder) for path in exported]
        yield " ".join(map(str, ["wrote", *drawn, *report, *files]))
    yield writers.summary()
