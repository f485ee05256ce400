"""Evaluate a trained model: python evaluate.py --config configs/NAME.py [--workdir DIR].

Prints PSNR and SSIM of every stage on the held-out photographs. See README.md.
"""

from pathlib import Path

from ml_collections import ConfigDict

from elir_jax import cli


def main(config: ConfigDict, workdir: Path, options: cli.Options) -> int:
    """Evaluate the averaged weights of the run's newest checkpoint, or converted ones."""
    from elir_jax.build import build
    from elir_jax.build.resume import averaged
    from elir_jax.evaluation.present import format_table, write_evaluation
    from elir_jax.training import hosts

    run = hosts.agreed(lambda: build(config))
    step, weights = averaged(run, workdir)
    cli.say(f"{workdir}: " + ("converted weights" if step is None else f"step {step}"))
    evaluation = run.evaluate(*weights)
    cli.say(format_table(evaluation))
    if options.first:
        cli.say("wrote", *write_evaluation(workdir, evaluation))
    return 0


if __name__ == "__main__":
    cli.run(main)
