"""The method posterior_mean: an estimator in image space, and its training."""

from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from elir_jax.compose.autoencoder import DTYPES
from elir_jax.compose.fields import choose, make, sizes
from elir_jax.errors import UserError
from elir_jax.inference.parts import Reach
from elir_jax.methods.method import Method
from elir_jax.methods.posterior_mean.objective import (
    Estimate,
    PosteriorMeanObjective,
    posterior_mean_objective,
)
from elir_jax.methods.posterior_mean.parts import local_of, posterior_mean_part, window_of
from elir_jax.networks import pixel_unet, swinir
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.initializing import initialize
from elir_jax.networks.pixel_unet import PixelUNet
from elir_jax.networks.swinir import SwinIR
from elir_jax.types import Params


class Kind(NamedTuple):
    """A kind of estimator in pixels."""

    module: type[SwinIR] | type[PixelUNet]
    factor: int  # that must divide the sides of a picture


KINDS = {
    "swinir": Kind(SwinIR, swinir.FACTOR),
    "pixel_unet": Kind(PixelUNet, pixel_unet.FACTOR),
}


def build_posterior_mean(config: ConfigDict) -> Method:
    """The estimator is all that is trained."""
    module, estimate = build_estimator(config)
    check_size(config, kind_of(config).factor)

    def init(key, start):
        return start("estimator", lambda: init_estimator(key, module)), {}

    def estimator(params, frozen):
        return params["estimator"]

    objective = make(PosteriorMeanObjective, "objective", config.objective)
    return Method(
        init=init,
        objective=posterior_mean_objective(estimate, objective),
        parts=(posterior_mean_part(estimate, estimator, estimator_reach(config, module)),),
    )


def kind_of(config: ConfigDict) -> Kind:
    """The kind of the configured estimator; SwinIR if the section names none."""
    return choose(KINDS, "estimator.kind", config.estimator.get("kind", "swinir"))


def estimator_reach(config: ConfigDict, module: SwinIR | PixelUNet) -> Reach:
    """How far the estimator sees, for its part."""
    return local_of(module) if isinstance(module, PixelUNet) else window_of(config.data.size)


def build_estimator(config: ConfigDict) -> tuple[SwinIR | PixelUNet, Estimate]:
    """The estimator of this kind and size, without weights, and as a function."""
    dtype = choose(DTYPES, "dtype", config.dtype)
    module = make(kind_of(config).module, "estimator", sizes(config.estimator), dtype=dtype)
    return module, apply_fn(module, dtype)


def init_estimator(key: jax.Array, module: SwinIR | PixelUNet) -> Params:
    """Untrained ``{"estimator": ...}``."""
    side = swinir.FACTOR  # a multiple of the other's
    return {"estimator": initialize(module, key, (1, side, side, 3))["params"]}


def check_size(config: ConfigDict, multiple: int, least: int = 1) -> None:
    """Raise UserError unless the networks take pictures of the training crops' size."""
    size = config.data.size
    if size < max(least, multiple) or size % multiple:
        more = f" and at least {least}" if least > multiple else ""
        raise UserError(f"--config.data.size={size}: must be a multiple of {multiple}{more}")
