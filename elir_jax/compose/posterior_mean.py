"""The method posterior_mean: an estimator in image space, and its training."""

import jax
from ml_collections import ConfigDict

from elir_jax.compose.autoencoder import DTYPES
from elir_jax.compose.fields import choose, make, sizes
from elir_jax.errors import UserError
from elir_jax.methods.method import Method
from elir_jax.methods.posterior_mean.objective import (
    Estimate,
    PosteriorMeanObjective,
    posterior_mean_objective,
)
from elir_jax.methods.posterior_mean.parts import posterior_mean_part, window_of
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.initializing import initialize
from elir_jax.networks.swinir import FACTOR, SwinIR
from elir_jax.types import Params


def build_posterior_mean(config: ConfigDict) -> Method:
    """The estimator is all that is trained."""
    module, estimate = build_estimator(config)
    check_size(config, FACTOR)

    def init(key, start):
        return start("estimator", lambda: init_estimator(key, module)), {}

    def estimator(params, frozen):
        return params["estimator"]

    objective = make(PosteriorMeanObjective, "objective", config.objective)
    return Method(
        init=init,
        objective=posterior_mean_objective(estimate, objective),
        parts=(posterior_mean_part(estimate, estimator, window_of(config.data.size)),),
    )


def build_estimator(config: ConfigDict) -> tuple[SwinIR, Estimate]:
    """The estimator of this size, without weights, and as a function."""
    dtype = choose(DTYPES, "dtype", config.dtype)
    module = make(SwinIR, "estimator", sizes(config.estimator), dtype=dtype)
    return module, apply_fn(module, dtype)


def init_estimator(key: jax.Array, module: SwinIR) -> Params:
    """Untrained ``{"estimator": ...}``."""
    return {"estimator": initialize(module, key, (1, FACTOR, FACTOR, 3))["params"]}


def check_size(config: ConfigDict, multiple: int, least: int = 1) -> None:
    """Raise UserError unless the networks take pictures of the training crops' size."""
    size = config.data.size
    if size < max(least, multiple) or size % multiple:
        more = f" and at least {least}" if least > multiple else ""
        raise UserError(f"--config.data.size={size}: must be a multiple of {multiple}{more}")
