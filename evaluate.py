"""Evaluate: python evaluate.py --config configs/NAME.py [--workdir DIR] [--fid FOLDER|FILE.npz]

or, on your own pictures: python evaluate.py --lq DIR --hq DIR --checkpoint WORKDIR|FILE.

Prints the figures of every stage and writes a table, a picture and a report: docs/evaluation.md.
"""

from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from elir_jax.commands import frame
from elir_jax.errors import UserError

FLAGS = flags.FLAGS


def main(config: ConfigDict, workdir: frame.Place, options: frame.Options) -> int:
    """Evaluate the averaged weights of ``--checkpoint`` or of the newest one, or converted ones."""
    from elir_jax.compose import build
    from elir_jax.devices import hosts
    from elir_jax.metrics.perceptual import open_perceptual
    from elir_jax.running.records.report import read_evaluations
    from elir_jax.running.starting import averaged

    run = hosts.agreed(lambda: build(config))
    step, weights = averaged(run, workdir, _path("checkpoint"))
    what = "converted weights" if step is None else f"step {step}"
    frame.say(f"{workdir}: {what}")
    perceptual, missing = hosts.agreed(lambda: open_perceptual(_path("fid")))
    evaluation = run.evaluate(*weights, perceptual)
    if options.first:
        notes, course = [*missing, *perceptual.notes], read_evaluations(workdir)
        _report(evaluation, workdir, f"{workdir.name}: {what}", notes, course)
    return 0


def pairs(config: ConfigDict | None, workdir: frame.Place | None) -> int | None:
    """Evaluate on two folders; the report goes to ``--workdir`` (runs/CHECKPOINT-on-LQ)."""
    if not (FLAGS.lq or FLAGS.hq):
        return None
    frame.refuse_to_join("--lq --hq")
    for name in ("lq", "hq", "checkpoint"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; give --lq, --hq and --checkpoint")
    from elir_jax.commands.picture_files import check_output
    from elir_jax.evaluation.folders import evaluate_folders
    from elir_jax.metrics.perceptual import open_perceptual
    from elir_jax.restorer import Restorer

    frame.keep_programs()
    checkpoint, lq = Path(FLAGS.checkpoint), Path(FLAGS.lq)
    place = workdir or Path("runs") / f"{checkpoint.stem}-on-{lq.resolve().name}"
    check_output(place / "evaluation", "--workdir")
    restorer = Restorer.load(checkpoint, config)
    print(f"{checkpoint}: {restorer.title}", flush=True)
    perceptual, missing = open_perceptual(_path("fid"))
    evaluation = evaluate_folders(restorer.restoring(), lq, Path(FLAGS.hq), perceptual=perceptual)
    _report(evaluation, place, f"{FLAGS.lq}: {restorer.title}", [*missing, *perceptual.notes])
    return 0


def _path(flag: str) -> Path | None:
    return Path(FLAGS[flag].value) if FLAGS[flag].value else None


def _report(evaluation, workdir: frame.Place, title: str, notes: list[str], course=None) -> None:
    from elir_jax.evaluation.present import format_table, write_evaluation

    print(format_table(evaluation), *notes, sep="\n", flush=True)
    print("wrote", *write_evaluation(workdir, evaluation, title=title, notes=notes, course=course))


if __name__ == "__main__":
    flags.DEFINE_string("fid", "", "images, or their statistics (.npz), to compute the FID with")
    flags.DEFINE_string("lq", "", "folder of degraded pictures; needs --hq and --checkpoint")
    flags.DEFINE_string("hq", "", "folder of their originals, with the same names")
    flags.DEFINE_string("checkpoint", "", "the weights: a run's folder, a checkpoint or a file")
    frame.run(main, instead=pairs)
