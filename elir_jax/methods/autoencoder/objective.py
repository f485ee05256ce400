"""Training of the TAESD-style autoencoder that ships with the project.

``l1_weight * L1 + mse_weight * MSE + log_mse_weight * mean of each image's log MSE +
gradient_weight * L1 of the image's differences + sharpness_weight * L1 of their local mean size +
latent_weight * (mean^2 + (var - 1)^2)``. PSNR averages the logarithm of the squared error: a smooth
image counts as much as one with texture, whose squared error is a hundred times larger. The
differences keep edges sharp; their local mean size asks for as much texture as the original has,
wherever its grains are; the last term keeps each latent channel near zero mean and unit variance,
which the decoder's clamp and the flow's noise level rely on.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from elir_jax.flow.losses import (
    gradient_l1,
    mean_absolute_error,
    mean_squared_error,
    squared_error_per_sample,
)
from elir_jax.methods.autoencoder.parts import encoder_of
from elir_jax.ranges import check_weights
from elir_jax.types import Batch, Image, Latent, Params, SampleKeys, Scalar, Step

TILE = 8  # pixels, as many as a latent's position stands for
FLOOR = 1e-5  # of the squared error in log MSE: 50 dB, where the error is that of 8-bit images


@dataclasses.dataclass(frozen=True)
class AutoencoderObjective:
    """Weights of the terms. Raises ValueError if one is out of range, or all are 0."""

    l1_weight: float = 1.0
    mse_weight: float = 0.0
    log_mse_weight: float = 0.0
    gradient_weight: float = 0.5
    sharpness_weight: float = 0.0
    latent_weight: float = 0.01

    def __post_init__(self):
        check_weights(self)


def sharpness_l1(x: Image, y: Image) -> Scalar:
    """Mean absolute difference of the local mean absolute differences between neighbours.

    Both directions are added; local means are those of 8x8 pixels, every 4 pixels.
    """

    def local(image, axis):
        return nn.avg_pool(jnp.abs(jnp.diff(image, axis=axis)), (TILE, TILE), (TILE // 2,) * 2)

    return sum(jnp.mean(jnp.abs(local(x, axis) - local(y, axis))) for axis in (1, 2))


def log_mse(x: Image, y: Image) -> Scalar:
    """Mean over images of ``log(MSE + FLOOR)``: PSNR in dB divided by -4.343."""
    return jnp.mean(jnp.log(squared_error_per_sample(x, y) + FLOOR))


def latent_moments(z: Latent, axis_name: str) -> Scalar:
    """Mean over channels of ``mean^2 + (var - 1)^2``; zero for standardised latents.

    The moments are those of the global batch, over the devices of ``axis_name``.
    """
    mean = jax.lax.pmean(jnp.mean(z, axis=(0, 1, 2)), axis_name)
    centred = z - mean.reshape(1, 1, 1, -1)
    var = jax.lax.pmean(jnp.mean(centred**2, axis=(0, 1, 2)), axis_name)
    return jnp.mean(mean**2 + (var - 1.0) ** 2)


def autoencoder_objective(
    encode: Callable[[Params, Image], Latent],
    decode: Callable[[Params, Latent], Image],
    objective: AutoencoderObjective,
    axis_name: str,
):
    """The objective in the form that the train step calls."""

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        z = encode(encoder_of(params, frozen), batch.x_lq)
        x = decode(params["decoder"], z)
        terms = {
            "l1": mean_absolute_error(x, batch.x_hq),
            "mse": mean_squared_error(x, batch.x_hq),
            "log_mse": log_mse(x, batch.x_hq),
            "gradient_l1": gradient_l1(x, batch.x_hq),
            "sharpness_l1": sharpness_l1(x, batch.x_hq),
            "latent_moments": latent_moments(z, axis_name),
        }
        loss = (
            objective.l1_weight * terms["l1"]
            + objective.mse_weight * terms["mse"]
            + objective.log_mse_weight * terms["log_mse"]
            + objective.gradient_weight * terms["gradient_l1"]
            + objective.sharpness_weight * terms["sharpness_l1"]
            + objective.latent_weight * terms["latent_moments"]
        )
        return loss, terms

    return loss_fn
