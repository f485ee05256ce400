"""Composition root: a configuration becomes objects, here and nowhere else.

A method (ELIR, the autoencoder; later ones) is a row of ``METHODS``: what it trains, its objective
and the stages that evaluation looks at. A wrong field or value is a UserError at the start.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from elir_jax.data.degradations import BlindFaceRestoration, Denoising, Identity
from elir_jax.data.pipeline import Degradation, evaluation_pairs, training_batches
from elir_jax.data.sources import (
    Source,
    check_sizes,
    choose_sources,
)
from elir_jax.errors import UserError
from elir_jax.evaluation.evaluate import Evaluation, Stages, evaluate, measure
from elir_jax.inference.restore import Sampler, restoration_stages, restore
from elir_jax.interop.hub import download
from elir_jax.interop.taesd import read_autoencoder, write_autoencoder
from elir_jax.models.latent_flow import Autoencoder, apply_fn, init_latent_flow, latent_flow
from elir_jax.models.layers import collapse
from elir_jax.models.rrdb import RRDBNet
from elir_jax.models.taesd import FACTOR
from elir_jax.models.unet import UNet
from elir_jax.objectives.autoencoder import AutoencoderObjective, autoencoder_objective
from elir_jax.objectives.elir import ElirObjective, elir_objective
from elir_jax.training.loop import Plan
from elir_jax.training.optim import AdamW, Ema
from elir_jax.training.parallel import (
    AXIS,
    check_batch,
    parallel_map,
    parallel_step,
    replicate,
    replicated_like,
)
from elir_jax.training.state import TrainState, create_state
from elir_jax.training.step import Metrics, Objective, train_step
from elir_jax.types import Batch, Image, Params, SampleKeys

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
DEGRADATIONS: dict[str, Callable[..., Degradation]] = {
    "blind_face_restoration": BlindFaceRestoration,
    "denoising": Denoising,
    "identity": Identity,
}
EMBEDDED_WEIGHTS = Path(__file__).parent / "assets" / "autoencoder.safetensors"
HUB = "hub:"


class Method(NamedTuple):
    """What distinguishes one way of training from another."""

    # (key, name of the pretrained weights) -> (trained, frozen) parameters
    init: Callable[[jax.Array, str], tuple[Params, Params]]
    objective: Objective
    restore: Callable[[Params, Params, Image, SampleKeys], Image]  # by inference parameters
    stages: Stages  # the same, step by step
    stage_names: tuple[str, ...]
    for_inference: Callable[[Params], Params]  # trained parameters -> inference parameters
    factor: int  # what must divide the images' height and width
    export: Callable[[Params, Path], list[Path]] = lambda params, workdir: []  # averaged weights


class Run(NamedTuple):
    """A configuration's objects, ready for the loop."""

    init_state: Callable[[], TrainState]  # on every device
    state_like: Callable[[], TrainState]  # its shapes and placement, without weights
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
    data: Callable[[], Any]  # endless batches with a position
    plan: Plan
    evaluate: Callable[[TrainState], Evaluation]
    export: Callable[[TrainState, Path], list[Path]]  # files for others to use, once trained


def build(config: ConfigDict) -> Run:
    """Everything that training and evaluating this configuration needs. Raises UserError."""
    method = choose(METHODS, "method", config.method)(config)
    check_ranges(config, method.factor)
    train_source, eval_source, degrade = build_data(config)
    optimizer, step = build_step(config, method)
    measure_batch = parallel_map(measure(method.stages, config.seed))

    def data():
        check_batch(config.batch_size, config.accumulate)
        return training_batches(
            train_source,
            degrade,
            size=config.data.size,
            batch_size=config.batch_size,
            seed=config.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def new_state(weights: str) -> TrainState:
        params, frozen = method.init(jax.random.key(config.seed), weights)
        return create_state(params, frozen, optimizer)

    def state_like() -> TrainState:
        try:
            return replicated_like(jax.eval_shape(lambda: new_state("untrained")))
        except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise UserError(
                f"these networks cannot be built: {error}; check their sizes"
            ) from error

    def evaluate_state(state: TrainState) -> Evaluation:
        return evaluate(
            evaluation_pairs(eval_source, degrade, size=config.evaluation.size, seed=config.seed),
            measure_batch,
            (method.for_inference(state.ema), state.frozen),
            method.stage_names,
            batch_size=config.evaluation.batch_size,
            num_samples=config.evaluation.num_samples,
        )

    return Run(
        init_state=lambda: replicate(new_state(config.autoencoder.weights)),
        state_like=state_like,
        step=parallel_step(step),
        data=data,
        plan=Plan(config.num_steps, config.log_every, config.checkpoint_every),
        evaluate=evaluate_state,
        export=lambda state, workdir: method.export(state.ema, workdir),
    )


def check_ranges(config: ConfigDict, factor: int) -> None:
    """Raise UserError for a number that no run can use."""
    for section in ("data", "evaluation"):
        size = config[section].size
        if size < 1 or size % factor:
            raise UserError(
                f"--config.{section}.size={size}: must be a positive multiple of {factor}"
            )
    least = {"seed": 0, "num_steps": 1, "log_every": 1, "checkpoint_every": 1, "accumulate": 1,
             "keep_checkpoints": 1, "data.held_out": 1, "evaluation.batch_size": 1,
             "evaluation.num_samples": 1}  # fmt: skip
    for field, bound in least.items():
        value = functools.reduce(getattr, field.split("."), config)
        if value < bound:
            raise UserError(f"--config.{field}={value}: must be at least {bound}")


def build_step(config: ConfigDict, method: Method):
    """(optimizer, train step); the step still wants ``axis_name``."""
    optimizer = make(AdamW, "optimizer", config.optimizer).build()
    step = functools.partial(
        train_step,
        objective=method.objective,
        optimizer=optimizer,
        ema=make(Ema, "ema", config.ema),
        seed=config.seed,
        accumulate=config.accumulate,
    )
    return optimizer, step


def build_data(config: ConfigDict) -> tuple[Source, Source, Degradation]:
    """(training images, held-out images, degradation)."""
    data, name = config.data, config.degradation.name
    train, held_out = choose_sources(data.path, data.eval_path, data.held_out, data.embedded)
    check_sizes(held_out, config.evaluation.size)
    kind = choose(DEGRADATIONS, "degradation.name", name)
    return train, held_out, make(kind, f"degradation.{name}", config.degradation.get(name, {}))


def build_elir(config: ConfigDict) -> Method:
    """ELIR: estimator, velocity and (unless frozen) the encoder are trained."""
    autoencoder = build_autoencoder(config)
    trainable_encoder = config.autoencoder.trainable_encoder
    dtype = autoencoder.dtype
    objective = make(ElirObjective, "objective", config.objective)
    estimator = make(RRDBNet, "estimator", config.estimator, dtype=dtype)
    velocity = make(UNet, "velocity", config.velocity, dtype=dtype)
    networks = latent_flow(autoencoder, estimator, velocity)
    collapsed = latent_flow(
        autoencoder, estimator.clone(form="plain"), velocity.clone(form="plain")
    )
    section = dict(config.sampler)
    section["num_steps"] = section["num_steps"] or objective.num_segments  # M = K
    sampler = make(Sampler, "sampler", section, sigma_s=objective.sigma_s)

    def init(key, weights):
        first, second = jax.random.split(key)
        params = init_latent_flow(first, autoencoder.latent_channels, estimator, velocity)
        frozen = pretrained_autoencoder(weights, autoencoder, second)
        if trainable_encoder:
            params["encoder"] = jax.tree.map(jnp.copy, frozen["encoder"])
        return params, frozen

    return Method(
        init=init,
        objective=elir_objective(networks, objective),
        restore=functools.partial(restore, collapsed, sampler),
        stages=functools.partial(restoration_stages, collapsed, sampler),
        stage_names=sampler.stage_names,
        for_inference=collapse,
        factor=FACTOR * velocity.factor,
    )


def build_autoencoder_training(config: ConfigDict) -> Method:
    """The autoencoder from scratch; both its parts are trained, nothing is frozen."""
    autoencoder = build_autoencoder(config)
    encode = apply_fn(autoencoder.encoder, autoencoder.dtype)
    decode = apply_fn(autoencoder.decoder, autoencoder.dtype)
    objective = make(AutoencoderObjective, "objective", config.objective)
    if config.accumulate > 1:
        raise UserError("--config.accumulate: the autoencoder's latent moments need a whole batch")

    def reconstruct(params, frozen, x, keys):
        return decode(params["decoder"], encode(params["encoder"], x))

    def export(params, workdir):
        path = workdir / "autoencoder.safetensors"
        write_autoencoder(path, params, {"steps": str(config.num_steps)})
        return [path]

    return Method(
        init=lambda key, weights: (autoencoder.init(key), {}),
        objective=autoencoder_objective(encode, decode, objective, AXIS),
        restore=reconstruct,
        stages=lambda *inputs: {"restored": reconstruct(*inputs)},
        stage_names=("restored",),
        for_inference=lambda params: params,
        factor=FACTOR,
        export=export,
    )


METHODS: dict[str, Callable[[ConfigDict], Method]] = {
    "autoencoder": build_autoencoder_training,
    "elir": build_elir,
}


def build_autoencoder(config: ConfigDict) -> Autoencoder:
    """The autoencoder of this size, without weights."""
    return Autoencoder(
        width=config.autoencoder.width,
        latent_channels=config.autoencoder.latent_channels,
        dtype=choose(DTYPES, "dtype", config.dtype),
    )


def pretrained_autoencoder(weights: str, autoencoder: Autoencoder, key: jax.Array) -> Params:
    """Weights by name: ``embedded``, ``hub:OWNER/NAME``, a file or a folder of two, ``untrained``.

    ``untrained`` draws them from ``key``; it serves measurements of speed and shape.
    """
    if weights == "untrained":
        return autoencoder.init(key)
    if weights == "embedded":
        path = EMBEDDED_WEIGHTS
    elif weights.startswith(HUB):
        path = download(weights.removeprefix(HUB))
    else:
        path = Path(weights)
    return read_autoencoder(path, jax.eval_shape(autoencoder.init, key))


def choose(table: dict[str, Any], field: str, name: str) -> Any:
    """The table's entry, or a UserError that lists what there is."""
    if name not in table:
        raise UserError(f"--config.{field}={name}: unknown; one of {', '.join(sorted(table))}")
    return table[name]


def make(cls: Callable[..., Any], section: str, fields: Any, **extra: Any) -> Any:
    """``cls(**fields, **extra)``; an unknown field or a bad value becomes a UserError."""
    try:
        return cls(**fields, **extra)
    except (TypeError, ValueError) as error:
        raise UserError(f"--config.{section}: {error}") from error
