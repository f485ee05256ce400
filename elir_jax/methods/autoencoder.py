"""The autoencoder that ships with the project, TAESD's kind, and its training.

``l1_weight * L1 + mse_weight * MSE + log_mse_weight * mean of each image's log MSE +
gradient_weight * L1 of the image's differences + sharpness_weight * L1 of their local mean size +
latent_weight * (mean^2 + (var - 1)^2)``. PSNR averages the logarithm of the squared error: a smooth
image counts as much as one with texture, whose squared error is a hundred times larger. The
differences keep edges sharp; their local mean size asks for as much texture as the original has,
wherever its grains are; the last term keeps each latent channel near zero mean and unit variance,
which the decoder's clamp and the flow's noise level rely on.

The parts are local. ELIR begins and ends with them.
"""

import dataclasses
from collections.abc import Callable
from fractions import Fraction

import flax.linen as nn
import jax
import jax.numpy as jnp

from elir_jax.errors import UserError
from elir_jax.fields import Config, make
from elir_jax.flow.losses import (
    gradient_l1,
    mean_absolute_error,
    mean_squared_error,
    squared_error_per_sample,
)
from elir_jax.inference.parts import Local, Part, Reach
from elir_jax.methods.method import Method, dtype_of
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.networks.linear_autoencoder import LinearAutoencoder, embed
from elir_jax.networks.taesd import FACTOR, HALO
from elir_jax.ranges import check_weights
from elir_jax.training.step import AXIS
from elir_jax.types import Batch, Image, Latent, Params, SampleKeys, Scalar, Step

TILE = 8  # pixels, as many as a latent's position stands for
FLOOR = 1e-5  # of the squared error in log MSE: 50 dB, where the error is that of 8-bit images
PIXELS_AT_ONCE = 1024 * 1024  # in either network, on each device
LOCAL = Local(HALO, PIXELS_AT_ONCE // FACTOR**2)


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


def encode_part(
    encode: Callable[[Params, Image], Latent],
    encoder: Callable[[Params, Params], Params],
    name: str = "encode",
    reach: Reach = LOCAL,
) -> Part:
    """The part image -> latent; ``encoder(params, frozen)`` chooses its weights."""

    def apply(params, frozen, x, eps):
        return [encode(encoder(params, frozen), x)]

    return Part(name, apply, reach, Fraction(1, FACTOR))


def decode_part(
    decode: Callable[[Params, Latent], Image],
    decoder: Callable[[Params, Params], Params],
    reach: Reach = LOCAL,
) -> Part:
    """The part latent -> image; ``decoder(params, frozen)`` chooses its weights."""

    def apply(params, frozen, z, eps):
        return [decode(decoder(params, frozen), z)]

    return Part("decode", apply, reach, Fraction(FACTOR))


def autoencoder_parts(
    encode: Callable[[Params, Image], Latent],
    decode: Callable[[Params, Latent], Image],
    reach: Reach = LOCAL,
) -> tuple[Part, ...]:
    """Encode and decode, the latter with trained weights."""
    return (
        encode_part(encode, encoder_of, reach=reach),
        decode_part(decode, lambda params, frozen: params["decoder"], reach),
    )


def encoder_of(params: Params, frozen: Params) -> Params:
    """The encoder's weights; they are frozen if only the decoder is trained."""
    return (params if "encoder" in params else frozen)["encoder"]


def build_autoencoder(config: Config) -> Autoencoder:
    """The autoencoder of the configured size, without weights."""
    return Autoencoder(
        width=config.autoencoder.width,
        latent_channels=config.autoencoder.latent_channels,
        dtype=dtype_of(config),
        rematerialize=config.rematerialize,
    )


def build_autoencoder_training(config: Config) -> Method:
    """The method that trains encoder and decoder, from scratch or from named weights.

    If not ``autoencoder.trainable_encoder``, it trains the decoder alone: latents stay as they are,
    and so do networks that were trained in them. If ``autoencoder.linear``, it trains linear
    networks of half the width, and exports the autoencoder that computes the same.
    """
    autoencoder = build_autoencoder(config)
    linear = config.autoencoder.linear
    if linear and config.autoencoder.width % 2:
        raise UserError("--config.autoencoder.width: must be even for a linear start")
    trained = LinearAutoencoder(autoencoder) if linear else autoencoder
    encode = apply_fn(trained.encoder, autoencoder.dtype)
    decode = apply_fn(trained.decoder, autoencoder.dtype)
    objective = make(AutoencoderObjective, "objective", config.objective)
    if config.accumulate > 1:
        raise UserError(
            "--config.accumulate: must be 1 for the autoencoder, whose latent moments need a whole "
            "batch"
        )

    def init(key, start):
        params = start("autoencoder", lambda: trained.init(key))
        if config.autoencoder.trainable_encoder:
            return params, {}
        return {"decoder": params["decoder"]}, {"encoder": params["encoder"]}

    def shipped(params):
        return embed(params, autoencoder.init(jax.random.key(config.seed))) if linear else params

    return Method(
        init=init,
        objective=autoencoder_objective(encode, decode, objective, AXIS),
        parts=autoencoder_parts(encode, decode),
        shows_input=False,
        autoencoder=shipped,
    )
