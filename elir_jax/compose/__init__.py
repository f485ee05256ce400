"""Composition root: the only room that turns a configuration into objects.

A method (ELIR, the autoencoder; later ones) is a row of ``METHODS``: what it trains, its objective
and its parts. A wrong field or value raises a UserError at the start.
"""

import functools
from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict

from elir_jax.compose.autoencoder import build_autoencoder_training
from elir_jax.compose.data import build_data
from elir_jax.compose.directflow import build_directflow
from elir_jax.compose.elir import build_elir
from elir_jax.compose.fields import choose, make, plain
from elir_jax.compose.latent_pmrf import build_latent_pmrf
from elir_jax.compose.pmrf import build_pmrf
from elir_jax.compose.posterior_mean import build_posterior_mean
from elir_jax.compose.precision import with_precision
from elir_jax.compose.restoring import restoring
from elir_jax.compose.sim_vae import build_sim_vae_training
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.devices.mesh import (
    check_batch,
    parallel_step,
    replicate,
)
from elir_jax.errors import UserError
from elir_jax.evaluation.measure import METRICS, Evaluation
from elir_jax.methods.method import Method, untrained
from elir_jax.metrics.perceptual import NOTHING, Perceptual
from elir_jax.running.evaluating import HeldOut, evaluate_held_out
from elir_jax.running.loop import Plan
from elir_jax.running.run import Run
from elir_jax.storage.place import Place
from elir_jax.training.optim import AdamW, Ema
from elir_jax.training.state import TrainState, create_state
from elir_jax.training.step import Prepare, as_sent, train_step
from elir_jax.types import Params
from elir_jax.weights.own import FILE as WEIGHTS
from elir_jax.weights.own import check_weights, has_weights, read_weights

METHODS: dict[str, Callable[[ConfigDict], Method]] = {
    "autoencoder": build_autoencoder_training,
    "directflow": build_directflow,
    "elir": build_elir,
    "latent_pmrf": build_latent_pmrf,
    "pmrf": build_pmrf,
    "posterior_mean": build_posterior_mean,
    "sim_vae": build_sim_vae_training,
}


def build_method(config: ConfigDict) -> Method:
    """The method that the configuration names. Raises UserError."""
    return with_precision(config, choose(METHODS, "method", config.method)(config))


def build(config: ConfigDict) -> Run:
    """Everything that training and evaluating this configuration needs. Raises UserError."""
    method = build_method(config)
    check_ranges(config, method.multiple)
    found = build_data(config, method.extra)
    optimizer, step = build_step(config, method, found.prepare)

    def data():
        check_batch(config.batch_size, config.accumulate)
        return found.batches(jax.process_index(), jax.process_count())

    def init_state(workdir: Place) -> TrainState:
        params, frozen = method.init(jax.random.key(config.seed), starting_weights(config))
        if has_weights(workdir):
            given = read_weights(workdir)
            check_weights(workdir / WEIGHTS, given, frozen | params)
            frozen |= {name: given[name] for name in frozen.keys() - params.keys()}
            params = {name: given[name] for name in params}
        return create_state(params, frozen, optimizer)

    def state_like() -> TrainState:
        return jax.eval_shape(
            lambda *trees: create_state(*trees, optimizer), *untrained_shapes(method)
        )

    def converted(workdir: Place) -> tuple[Params, Params]:
        return for_inference(method, read_weights(workdir), workdir / WEIGHTS)

    sizes = (config.evaluation.batch_size, config.evaluation.num_samples)
    held_out = HeldOut(found.evaluation, len(found.held_out), *sizes)
    by_weights = restoring(method, config.seed)
    check_best(config, by_weights(({}, {})).stage_names)  # names need no weights

    def evaluate_weights(
        params: Params,
        frozen: Params,
        perceptual: Perceptual = NOTHING,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Evaluation | None:
        weights = replicate((method.for_inference(params, frozen), frozen))
        return evaluate_held_out(held_out, by_weights(weights), perceptual, stopping)

    return Run(
        config=plain(config) | {"training_images": found.fingerprint()},
        init_state=init_state,
        state_like=state_like,
        step=parallel_step(step),
        data=data,
        image_name=found.source.name,
        plan=Plan(
            config.num_steps, config.log_every, config.checkpoint_every, config.evaluate_every
        ),
        evaluate=evaluate_weights,
        converted=converted,
        converted_like=lambda: inference_shapes(method),
        export=lambda state, workdir: method.export(state.frozen | state.ema, workdir),
    )


def inference_shapes(method: Method) -> tuple[Params, Params]:
    """Shapes of the (trained, frozen) parameters that the method restores with."""
    params, frozen = untrained_shapes(method)
    return jax.eval_shape(method.for_inference, params, frozen), frozen


def for_inference(method: Method, given: Params, path: Place) -> tuple[Params, Params]:
    """(trained, frozen) parameters to restore with, from the parameters ``given`` in ``path``.

    Raises UserError if they belong to another network.
    """
    params, frozen = untrained_shapes(method)
    trained = {name: tree for name, tree in given.items() if name in params}
    params = jax.eval_shape(method.for_inference, params, frozen)
    found = {name: tree for name, tree in given.items() if name not in trained}
    found |= method.for_inference(trained, given)
    check_weights(path, found, frozen | params)
    return {name: found[name] for name in params}, {name: found[name] for name in frozen}


def untrained_shapes(method: Method) -> tuple[Params, Params]:
    """Shapes of the (trained, frozen) parameters as training has them. Raises UserError."""
    try:
        return jax.eval_shape(lambda: method.init(jax.random.key(0), untrained))
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise UserError(f"these networks cannot be built: {error}; check their sizes") from error


def check_ranges(config: ConfigDict, factor: int) -> None:
    """Raise UserError for a number that no run can use."""
    for section in ("data", "evaluation"):
        size = config[section].size
        if size < 1 or size % factor:
            raise UserError(
                f"--config.{section}.size={size}: must be a positive multiple of {factor}"
            )
    least = {"seed": 0, "num_steps": 1, "log_every": 1, "checkpoint_every": 1, "accumulate": 1,
             "keep_checkpoints": 1, "keep_every": 0, "max_skipped_steps": 0, "evaluate_every": 0,
             "data.held_out": 1, "evaluation.batch_size": 1,
             "evaluation.num_samples": 1}  # fmt: skip
    for field, bound in least.items():
        value = functools.reduce(getattr, field.split("."), config)
        if value < bound:
            raise UserError(f"--config.{field}={value}: must be at least {bound}")
    if config.seed >= 2**32:  # keys would be those of the seed without the bits above
        raise UserError(f"--config.seed={config.seed}: must be below 2^32")


def check_best(config: ConfigDict, stages: Sequence[str]) -> None:
    """Raise UserError if ``keep_best`` names no figure that training measures."""
    if not config.keep_best:
        return
    stage, _, metric = config.keep_best.rpartition(".")
    if stage not in stages or metric not in METRICS:
        raise UserError(
            f"--config.keep_best={config.keep_best}: must be STAGE.METRIC, of the stages "
            f"{', '.join(stages)} and the metrics {', '.join(METRICS)}"
        )
    if not config.evaluate_every:
        raise UserError(
            f"--config.keep_best={config.keep_best}: nothing is measured during training; give "
            f"--config.evaluate_every=STEPS"
        )


def build_step(config: ConfigDict, method: Method, prepare: Prepare = as_sent):
    """(optimizer, train step); the step still needs ``axis_name``.

    ``prepare`` makes pairs of what the host sends.
    """
    fields = config.optimizer.to_dict()
    if fields.get("groups"):
        trained = untrained_shapes(method)[0]
        for name in fields["groups"]:
            choose(trained, "optimizer.groups", name)
    adamw = make(AdamW, "optimizer", fields)
    optimizer = make(adamw.build, "optimizer", {}, num_steps=config.num_steps)
    step = functools.partial(
        train_step,
        objective=method.objective,
        fold=method.fold,
        optimizer=optimizer,
        ema=make(Ema, "ema", config.ema),
        seed=config.seed,
        accumulate=config.accumulate,
        prepare=prepare,
        max_skipped_steps=config.max_skipped_steps,
    )
    return optimizer, step
