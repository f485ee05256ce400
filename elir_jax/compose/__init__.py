"""Composition root: a configuration becomes a run.

A method is a row of ``METHODS``: the function of its file that builds it. Here it meets its data,
the weights that it starts from, the step and the evaluation. A wrong field or value raises a
UserError at the start.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict

from elir_jax.compose.data import build_data
from elir_jax.compose.measuring import build_measuring, check_best
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.devices.mesh import check_batch, parallel_step
from elir_jax.errors import UserError
from elir_jax.evaluation.measure import Evaluation
from elir_jax.fields import choose, make, plain
from elir_jax.methods.autoencoder import build_autoencoder_training
from elir_jax.methods.directflow import build_directflow
from elir_jax.methods.elir import build_elir
from elir_jax.methods.latent_pmrf import build_latent_pmrf
from elir_jax.methods.method import Method, untrained, with_precision
from elir_jax.methods.pmrf import build_pmrf
from elir_jax.methods.posterior_mean import build_posterior_mean
from elir_jax.methods.sim_vae import build_sim_vae_training
from elir_jax.running.loop import Plan
from elir_jax.running.run import Run
from elir_jax.storage.place import Place
from elir_jax.training.optim import AdamW, Ema
from elir_jax.training.state import TrainState, create_state
from elir_jax.training.step import Prepare, as_sent, train_step
from elir_jax.types import Params
from elir_jax.weights.files import write_tensors
from elir_jax.weights.own import FILE as WEIGHTS
from elir_jax.weights.own import check_weights, has_weights, read_weights
from elir_jax.weights.sim_vae import sim_vae_tensors
from elir_jax.weights.taesd import write_autoencoder

METHODS: dict[str, Callable[[ConfigDict], Method]] = {
    "autoencoder": build_autoencoder_training,
    "directflow": build_directflow,
    "elir": build_elir,
    "latent_pmrf": build_latent_pmrf,
    "pmrf": build_pmrf,
    "posterior_mean": build_posterior_mean,
    "sim_vae": build_sim_vae_training,
}
# Who writes the autoencoder that a method trains: (path, parameters, metadata)
WRITERS: dict[str, Callable[[Path, Params, dict[str, str]], None]] = {
    "autoencoder": write_autoencoder,
    "sim_vae": lambda path, params, about: write_tensors(path, sim_vae_tensors(params), about),
}


def build_method(config: ConfigDict) -> Method:
    """The method that the configuration names. Raises UserError."""
    return with_precision(config, choose(METHODS, "method", config.method)(config))


def build(config: ConfigDict) -> Run:
    """Everything that training and evaluating this configuration needs. Raises UserError."""
    method = build_method(config)
    check_ranges(config, method.multiple)
    found = build_data(config, method.extra)
    measuring = build_measuring(config, method, found.held_out)
    check_best(config, measuring.stages)
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

    def evaluate(params: Params, frozen: Params, *given, **options) -> Evaluation | None:
        weights = method.for_inference(params, frozen), frozen
        return measuring.evaluate(weights, *given, **options)

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
        evaluate=evaluate,
        about=measuring.about,
        export=lambda state, workdir: export_autoencoder(
            config, method, state.frozen | state.ema, workdir
        ),
    )


def export_autoencoder(
    config: ConfigDict, method: Method, params: Params, workdir: Path
) -> list[Path]:
    """Write the autoencoder of a method that trains one; the paths of what was written.

    ``params`` are the averaged and the frozen parameters.
    """
    if method.autoencoder is None:
        return []
    path = workdir / "autoencoder.safetensors"
    about = {"steps": str(config.num_steps)}
    WRITERS[config.method](path, method.autoencoder(params), about)
    return [path]


def inference_shapes(method: Method) -> tuple[Params, Params]:
    """Shapes of the (trained, frozen) parameters that the method restores with."""
    params, frozen = untrained_shapes(method)
    return jax.eval_shape(method.for_inference, params, frozen), frozen


def for_inference(
    method: Method, given: Params, path: Place, frozen: Params | None = None
) -> tuple[Params, Params]:
    """(trained, frozen) parameters to restore with, from the parameters ``given`` in ``path``.

    A name may be both of a trained and of a frozen network, as ELIR's encoder is. Then ``given``
    has the trained one, and ``frozen`` the other; without it, the trained one stands for both
    (:func:`lacks_frozen`). Raises UserError if they belong to another network.
    """
    params, still = untrained_shapes(method)
    trained = {name: tree for name, tree in given.items() if name in params}
    rest = {name: tree for name, tree in given.items() if name not in trained}
    params = jax.eval_shape(method.for_inference, params, still)
    made = method.for_inference(trained, given | (frozen or {}))
    check_weights(path, rest | made, still | params)
    if frozen is not None:
        check_weights(path, frozen, still)
    held = made | rest | (frozen or {})
    return {name: made[name] for name in params}, {name: held[name] for name in still}


def lacks_frozen(method: Method, frozen: Params | None) -> bool:
    """Whether a frozen network is missing because the trained one of its name is all there is."""
    trained, still = untrained_shapes(method)
    return frozen is None and bool(trained.keys() & still.keys())


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
