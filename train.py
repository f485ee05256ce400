"""Train: python train.py --config configs/NAME.py [--workdir DIR] [--config.FIELD=VALUE ...].

The same command resumes a run. See docs/training.md, and docs/pods.md for many hosts.
"""

from elir_jax.commands import frame
from elir_jax.commands.compile_for import compile_for


def main(config: frame.ConfigDict, workdir: frame.Place, options: frame.Options) -> int:
    """Train to the configuration's last step, then evaluate the averaged weights."""
    import signal

    from elir_jax.compose import build
    from elir_jax.devices import hosts
    from elir_jax.running.failure import NotFinite, keep_for_inspection
    from elir_jax.running.finishing import finish
    from elir_jax.running.loop import fit
    from elir_jax.running.profiling import Profiler, parse_profile
    from elir_jax.running.records.writers import open_writers
    from elir_jax.running.starting import begin, how_it_starts
    from elir_jax.running.stopping import StopRequest

    profile = parse_profile(options.profile)
    with StopRequest() as stop:
        stop.nothing_to_save = options.alone
        run = hosts.agreed(lambda: build(config))
        data = hosts.agreed(run.data)
        state, position = begin(run, workdir, options.allow_config_change)
        if position is not None:
            data.set_state(position)
        step = int(state.step)
        frame.say(how_it_starts(workdir, step, position is not None, config.num_steps))
        frame.say(f"training in {workdir} on {hosts.devices()}; the first step compiles")
        with open_writers(
            workdir,
            start=step,
            num_steps=config.num_steps,
            batch_size=config.batch_size,
            keep=config.keep_checkpoints,
            keep_every=config.keep_every,
            keep_best=config.keep_best,
            evaluation=run.about["evaluation"],
            began=options.began,
        ) as writers:
            try:
                state, stopped = fit(
                    state, data, run.step, run.plan, writers=writers, stop=stop, config=run.config,
                    evaluate=run.evaluate, image_name=run.image_name,
                    profiler=Profiler(workdir / "tensorboard", profile),
                )  # fmt: skip
            except NotFinite as error:
                raise keep_for_inspection(error, workdir, run.image_name, run.config) from error
            stop.nothing_to_save = True
            if hosts.any_of(stopped or stop.signum is not None):
                signum = stop.signum or signal.SIGTERM  # of another host's
                frame.say(writers.summary())
                name = signal.Signals(signum).name
                frame.say(f"stopped by {name}: saved step {int(state.step)} in {workdir}")
                frame.say("run the same command again to resume")
                return 128 + signum

            for line in finish(run, state, writers, workdir):
                frame.say(line)
    return 0


if __name__ == "__main__":
    frame.run(main, trains=True, instead=compile_for)
