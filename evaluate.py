"""Evaluate a run: python evaluate.py --workdir RUN [--config.FIELD=VALUE ...] [--fid FOLDER|FILE]

or weights on your own pictures: python evaluate.py --lq DIR --hq DIR --checkpoint RUN|FILE.

Prints the figures of every stage, and writes them with a picture and a report into a folder of its
own: docs/evaluation.md. Weights without a configuration need --config configs/NAME.py.
"""

import sys
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from elir_jax.commands import frame
from elir_jax.commands.overriding import fields_of
from elir_jax.errors import UserError

FLAGS = flags.FLAGS


def main(config: ConfigDict | None, workdir: frame.Place, options: frame.Options) -> int:
    """Evaluate the averaged weights of ``--checkpoint`` or of the newest one, or converted ones."""
    from elir_jax.commands.evaluating import Asked, Weights, on_held_out

    path, allow = _path("checkpoint") or workdir, options.allow_config_change
    weights = Weights(path, config, options.overrides, allow)
    return on_held_out(Asked(workdir, FLAGS.name, _path("fid"), options.first), weights)


def pairs(config: ConfigDict | None, workdir: frame.Place | None) -> int | None:
    """Evaluate on two folders; the report goes to ``--workdir`` (runs/CHECKPOINT-on-LQ)."""
    if not (FLAGS.lq or FLAGS.hq):
        return None
    from elir_jax.commands.evaluating import Asked, Weights, on_folders

    frame.refuse_to_join("--lq --hq")
    for name in ("lq", "hq", "checkpoint"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; give --lq, --hq and --checkpoint")
    frame.keep_programs()
    checkpoint, lq = Path(FLAGS.checkpoint), Path(FLAGS.lq)
    of = home() if checkpoint.parent.name == "checkpoints" else checkpoint
    place = workdir or Path("runs") / f"{of.stem}-on-{lq.resolve().name}"
    asked = Asked(place, FLAGS.name, _path("fid"))
    weights = Weights(checkpoint, config, fields_of(sys.argv), FLAGS["allow-config-change"].value)
    return on_folders(asked, weights, lq, Path(FLAGS.hq))


def home() -> Path | None:
    """The folder of the run that ``--checkpoint`` names, or one for what is no run."""
    from elir_jax.compose.finding import run_of

    path = _path("checkpoint")
    return path and (run_of(path) or Path("runs") / path.stem)


def _path(flag: str) -> Path | None:
    return Path(FLAGS[flag].value) if FLAGS[flag].value else None


if __name__ == "__main__":
    flags.DEFINE_string("fid", "", "images, or their statistics (.npz), to compute the FID with")
    flags.DEFINE_string("lq", "", "folder of degraded pictures; needs --hq and --checkpoint")
    flags.DEFINE_string("hq", "", "folder of their originals, with the same names")
    flags.DEFINE_string("checkpoint", "", "the weights: a run's folder, a checkpoint or a file")
    flags.DEFINE_string("name", "", "folder below WORKDIR/evaluation; default: by what differs")
    flags.DEFINE_bool(
        "allow-config-change", False, "evaluate with another configuration than the weights' own"
    )
    frame.run(main, instead=pairs, home=home)
