"""ELIR's networks: encoder, estimator, velocity and decoder as one set of pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from elir_jax.inference.parts import Local
from elir_jax.methods.posterior_mean.parts import local_of
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.networks.initializing import initialize
from elir_jax.networks.pixel_unet import PixelUNet
from elir_jax.networks.rrdb import RRDBNet
from elir_jax.networks.unet import UNet
from elir_jax.types import Image, Latent, Params, Time


class Networks(NamedTuple):
    """The four networks as pure functions of (parameters, input)."""

    encode: Callable[[Params, Image], Latent]
    estimate: Callable[[Params, Latent | Image], Latent | Image]
    velocity: Callable[[Params, Latent, Time], Latent]
    decode: Callable[[Params, Latent], Image]
    reach: Local | None = None  # how far an estimator of pixels sees; None: it is one of latents


def latent_flow(
    autoencoder: Autoencoder, estimator: RRDBNet | PixelUNet, velocity: UNet
) -> Networks:
    """The networks of these modules as pure functions."""
    return Networks(
        encode=apply_fn(autoencoder.encoder, autoencoder.dtype),
        estimate=apply_fn(estimator, estimator.dtype),
        velocity=apply_fn(velocity, velocity.dtype),
        decode=apply_fn(autoencoder.decoder, autoencoder.dtype),
        reach=local_of(estimator) if isinstance(estimator, PixelUNet) else None,
    )


def init_latent_flow(
    key: jax.Array, latent_channels: int, estimator: RRDBNet | PixelUNet, velocity: UNet
) -> Params:
    """Untrained ``{"estimator": ..., "velocity": ...}``."""
    first, second = jax.random.split(key)
    return init_estimator(first, latent_channels, estimator) | init_velocity(
        second, latent_channels, velocity
    )


def init_estimator(key: jax.Array, latent_channels: int, estimator: RRDBNet | PixelUNet) -> Params:
    """Untrained ``{"estimator": ...}``."""
    channels = 3 if isinstance(estimator, PixelUNet) else latent_channels
    return {"estimator": initialize(estimator, key, (1, 8, 8, channels))["params"]}


def init_velocity(key: jax.Array, latent_channels: int, velocity: UNet) -> Params:
    """Untrained ``{"velocity": ...}``."""
    return {"velocity": initialize(velocity, key, (1, 8, 8, latent_channels), (1,))["params"]}
