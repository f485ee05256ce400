"""The method posterior_mean: an estimate of the posterior mean in image space, by any network.

PMRF's first stage (Ohayon et al., 2025, https://arxiv.org/abs/2410.00418) minimises the mean
squared error of the clipped estimate: what lies outside [0, 1] has no gradient. The estimator that
PMRF takes over for faces, DifFace's, was trained by L1, unclipped.

The one part is the clipped estimate, in windows.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elir_jax.errors import UserError
from elir_jax.fields import Config, choose, make, sizes
from elir_jax.flow.losses import mean_absolute_error, mean_root_squared_error, mean_squared_error
from elir_jax.inference.parts import Local, Part, Reach, Window
from elir_jax.methods.method import Method, dtype_of
from elir_jax.networks import pixel_unet, swinir
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.initializing import initialize
from elir_jax.networks.pixel_unet import PixelUNet
from elir_jax.networks.swinir import SwinIR
from elir_jax.ranges import check_fields
from elir_jax.types import Batch, Image, Params, SampleKeys, Scalar, Step

LOCAL_AT_ONCE = 1024 * 1024  # pixels in a network of convolutions, on a device
PIXELS_AT_ONCE = 512 * 512  # in a large transformer, on a device
OVERLAP = 8  # of a window's side: neighbours share twice as much, a quarter of it
# (parameters, degraded, keys) -> estimate; with keys, one a sample, it regularises itself as in
# training, without it is what restores.
Estimate = Callable[[Params, Image, SampleKeys | None], Image]
LOSSES = {"mse": mean_squared_error, "l1": mean_absolute_error, "rmse": mean_root_squared_error}


@dataclasses.dataclass(frozen=True)
class PosteriorMeanObjective:
    """Which loss, and whether the estimate is clipped to [0, 1] inside it.

    Raises ValueError for a loss that is not known.
    """

    loss: str = "mse"  # l1; rmse: each sample's own root, so that slight degradations count too
    clip: bool = True

    def __post_init__(self):
        check_fields(self, loss=tuple(LOSSES))

    def __call__(self, estimate: Image, x_hq: Image) -> Scalar:
        """Mean over all elements."""
        found = jnp.clip(estimate, 0, 1) if self.clip else estimate
        return LOSSES[self.loss](found, x_hq)


def posterior_mean_objective(estimate: Estimate, objective: PosteriorMeanObjective):
    """The objective as the train step calls it: ``(params, ema, frozen, batch, keys, step)``."""

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        loss = objective(estimate(params["estimator"], batch.x_lq, keys), batch.x_hq)
        return loss, {objective.loss: loss}

    return loss_fn


def window_of(size: int, at_once: int = PIXELS_AT_ONCE) -> Window:
    """Windows of a network that was trained on ``size`` x ``size`` elements."""
    return Window(size, size // OVERLAP, at_once)


def local_of(net: PixelUNet) -> Local:
    """Windows on the grid of a network of convolutions, which give the same as the whole."""
    return Local(net.halo, LOCAL_AT_ONCE // pixel_unet.FACTOR**2, pixel_unet.FACTOR)


def posterior_mean_part(
    estimate: Estimate,
    estimator: Callable[[Params, Params], Params],
    reach: Reach,
    shows: tuple[str, ...] = (),
) -> Part:
    """Degraded -> ``clip(f(y), 0, 1)``, by the weights that ``estimator(params, frozen)`` gives."""

    def apply(params, frozen, x, eps):
        return [jnp.clip(estimate(estimator(params, frozen), x, None), 0, 1)]

    return Part("posterior_mean", apply, reach, shows=shows)


class Kind(NamedTuple):
    """A kind of estimator in pixels."""

    module: type[SwinIR] | type[PixelUNet]
    factor: int  # that must divide the sides of a picture


KINDS = {
    "swinir": Kind(SwinIR, swinir.FACTOR),
    "pixel_unet": Kind(PixelUNet, pixel_unet.FACTOR),
}


def build_posterior_mean(config: Config) -> Method:
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


def kind_of(config: Config) -> Kind:
    """The kind of the configured estimator; SwinIR if the section names none."""
    return choose(KINDS, "estimator.kind", config.estimator.get("kind", "swinir"))


def estimator_reach(config: Config, module: SwinIR | PixelUNet) -> Reach:
    """How far the estimator sees, for its part."""
    return local_of(module) if isinstance(module, PixelUNet) else window_of(config.data.size)


def build_estimator(config: Config) -> tuple[SwinIR | PixelUNet, Estimate]:
    """The estimator of this kind and size, without weights, and as a function."""
    dtype = dtype_of(config)
    module = make(kind_of(config).module, "estimator", sizes(config.estimator), dtype=dtype)
    return module, apply_fn(module, dtype)


def init_estimator(key: jax.Array, module: SwinIR | PixelUNet) -> Params:
    """Untrained ``{"estimator": ...}``."""
    side = swinir.FACTOR  # a multiple of the other's
    return {"estimator": initialize(module, key, (1, side, side, 3))["params"]}


def check_size(config: Config, multiple: int, least: int = 1) -> None:
    """Raise UserError unless the networks take pictures of the training crops' size."""
    size = config.data.size
    if size < max(least, multiple) or size % multiple:
        more = f" and at least {least}" if least > multiple else ""
        raise UserError(f"--config.data.size={size}: must be a multiple of {multiple}{more}")
