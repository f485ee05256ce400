"""Train: python train.py --config configs/NAME.py [--workdir DIR] [--config.FIELD=VALUE ...].

Running the same command again resumes. See README.md.
"""

import json
import signal
from pathlib import Path

from ml_collections import ConfigDict

from elir_jax import cli


def main(config: ConfigDict, workdir: Path) -> int:
    """Train to the configuration's last step, then evaluate the averaged weights."""
    from elir_jax.build import build
    from elir_jax.evaluation.present import format_table, write_evaluation
    from elir_jax.training.checkpoint import Checkpoints
    from elir_jax.training.loop import fit
    from elir_jax.training.report import Report, draw_curves
    from elir_jax.training.stopping import StopRequest

    cli.open_workdir(workdir)
    run = build(config)
    data = iter(run.data())
    like = run.state_like()
    checkpoints = Checkpoints(workdir / "checkpoints", config.keep_checkpoints)
    if checkpoints.latest_step() is not None:
        state, position = checkpoints.restore(like)
        data.set_state(position)
        print(f"resuming {workdir} at step {int(state.step)}", flush=True)
    else:
        state = run.init_state(workdir)

    print(f"training in {workdir}; the first step takes long, it compiles", flush=True)
    report = Report(
        workdir,
        start=int(state.step),
        num_steps=run.plan.num_steps,
        batch_size=config.batch_size,
    )
    with StopRequest() as stop:
        try:
            state = fit(
                state,
                data,
                run.step,
                run.plan,
                checkpoints=checkpoints,
                report=report,
                stop=stop,
                config=json.loads(config.to_json_best_effort()),
            )
        finally:
            report.close()
            checkpoints.close()
    if stop.signum is not None:
        name = signal.Signals(stop.signum).name
        print(f"stopped by {name}: saved step {int(state.step)} in {workdir}", flush=True)
        print("run the same command again to go on", flush=True)
        return 128 + stop.signum

    curves = draw_curves(workdir)
    evaluation = run.evaluate(state.ema, state.frozen)
    print(format_table(evaluation))
    print("wrote", curves, *write_evaluation(workdir, evaluation), *run.export(state, workdir))
    return 0


if __name__ == "__main__":
    cli.run(main)
