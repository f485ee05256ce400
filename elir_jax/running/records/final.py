"""The curves and the report of a run that has reached its last step."""

from pathlib import Path

from elir_jax.evaluation.measure import Evaluation
from elir_jax.evaluation.present import write_evaluation
from elir_jax.running.records.report import draw_curves, read_evaluations


def write_final_report(workdir: Path, step: int, evaluation: Evaluation) -> list[Path]:
    """Draw the loss curves and write the evaluation of ``step``; returns the paths."""
    curves = draw_curves(workdir)
    report = write_evaluation(
        workdir,
        evaluation,
        title=f"{workdir.name}: step {step}",
        course=read_evaluations(workdir),
    )
    return [curves, *report] if curves else report
