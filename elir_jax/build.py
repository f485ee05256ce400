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
    EMBEDDED_HELD_OUT,
    EMBEDDED_TRAIN,
    EmbeddedPhotographs,
    ImageFiles,
    Source,
    find_images,
    split_folder,
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
from elir_jax.training.parallel import check_batch, parallel_map, parallel_step, replicate
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

    init: Callable[[jax.Array], tuple[Params, Params]]  # key -> (trained, frozen) parameters
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
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
    data: Any  # endless batches with a position
    plan: Plan
    evaluate: Callable[[TrainState], Evaluation]
    export: Callable[[TrainState, Path], list[Path]]  # files for others to use, once trained


def build(config: ConfigDict) -> Run:
    """Everything that training and evaluating this configuration needs. Raises UserError."""
    check_batch(config.batch_size, config.accumulate)
    method = choose(METHODS, "method", config.method)(config)
    for section in ("data", "evaluation"):
        size = config[section].size
        if size < 1 or size % method.factor:
            raise UserError(
                f"--config.{section}.size={size}: must be a positive multiple of {method.factor}"
            )
    for field in ("num_steps", "log_every", "checkpoint_every", "evaluation.batch_size"):
        if functools.reduce(getattr, field.split("."), config) < 1:
            raise UserError(f"--config.{field}: must be at least 1")

    train_source, eval_source, degrade = build_data(config)
    data = training_batches(
        train_source,
        degrade,
        size=config.data.size,
        batch_size=config.batch_size,
        seed=config.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    optimizer = make(AdamW, "optimizer", config.optimizer).build()
    step = functools.partial(
        train_step,
        objective=method.objective,
        optimizer=optimizer,
        ema=make(Ema, "ema", config.ema),
        seed=config.seed,
        accumulate=config.accumulate,
    )
    measure_batch = parallel_map(measure(method.stages, config.seed))

    def init_state() -> TrainState:
        params, frozen = method.init(jax.random.key(config.seed))
        return replicate(create_state(params, frozen, optimizer))

    def evaluate_state(state: TrainState) -> Evaluation:
        pairs = evaluation_pairs(
            eval_source, degrade, size=config.evaluation.size, seed=config.seed
        )
        return evaluate(
            pairs,
            measure_batch,
            (method.for_inference(state.ema), state.frozen),
            method.stage_names,
            batch_size=config.evaluation.batch_size,
            num_samples=config.evaluation.num_samples,
        )

    return Run(
        init_state=init_state,
        step=parallel_step(step),
        data=data,
        plan=Plan(config.num_steps, config.log_every, config.checkpoint_every),
        evaluate=evaluate_state,
        export=lambda state, workdir: method.export(state.ema, workdir),
    )


def build_data(config: ConfigDict) -> tuple[Source, Source, Degradation]:
    """(training images, held-out images, degradation)."""
    data = config.data
    if data.path:
        if data.eval_path:
            train = ImageFiles(find_images(Path(data.path)))
            held_out = ImageFiles(find_images(Path(data.eval_path)))
        else:
            train, held_out = split_folder(Path(data.path), data.held_out)
    elif data.embedded:
        train = EmbeddedPhotographs(EMBEDDED_TRAIN)
        held_out = EmbeddedPhotographs(EMBEDDED_HELD_OUT)
    else:
        raise UserError(
            "no training images: this configuration wants your own; give a folder of them with "
            "--config.data.path=FOLDER"
        )
    section = dict(config.degradation)
    kind = choose(DEGRADATIONS, "degradation.name", section.pop("name"))
    return train, held_out, make(kind, "degradation", section)


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

    def init(key):
        first, second = jax.random.split(key)
        params = init_latent_flow(first, autoencoder.latent_channels, estimator, velocity)
        frozen = pretrained_autoencoder(config.autoencoder.weights, autoencoder, second)
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

    def reconstruct(params, frozen, x, keys):
        return decode(params["decoder"], encode(params["encoder"], x))

    def export(params, workdir):
        path = workdir / "autoencoder.safetensors"
        write_autoencoder(path, params, {"steps": str(config.num_steps)})
        return [path]

    return Method(
        init=lambda key: (autoencoder.init(key), {}),
        objective=autoencoder_objective(encode, decode, objective),
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
