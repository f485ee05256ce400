"""Evaluate a trained model: python evaluate.py --config configs/NAME.py [--workdir DIR].

Prints PSNR and SSIM of every stage on the held-out photographs. See README.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from elir_jax import cli


def main(config: ConfigDict, workdir: Path) -> int:
    """Evaluate the averaged weights of the run's newest checkpoint, or converted ones."""
    from elir_jax.build import build
    from elir_jax.errors import UserError
    from elir_jax.evaluation.present import format_table, write_evaluation
    from elir_jax.interop.weights import has_weights
    from elir_jax.training.checkpoint import Checkpoints

    folder = workdir / "checkpoints"
    if not folder.is_dir() and not has_weights(workdir):
        raise UserError(f"{workdir}: no checkpoint here; train first, or name the run's --workdir")
    cli.open_workdir(workdir)
    run = build(config)
    if folder.is_dir():
        checkpoints = Checkpoints(folder, config.keep_checkpoints)
        state, _ = checkpoints.restore(run.state_like())
        checkpoints.close()
        weights = state.ema, state.frozen
        print(f"{workdir}: step {int(state.step)}", flush=True)
    else:
        weights = run.converted(workdir)
        print(f"{workdir}: converted weights", flush=True)
    evaluation = run.evaluate(*weights)
    print(format_table(evaluation))
    print("wrote", *write_evaluation(workdir, evaluation))
    return 0


if __name__ == "__main__":
    cli.run(main)
