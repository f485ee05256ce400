"""Build the autoencoder of a configuration, and the method that trains it."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from elir_jax.compose.fields import choose, make
from elir_jax.devices.mesh import AXIS
from elir_jax.errors import UserError
from elir_jax.methods.autoencoder.objective import AutoencoderObjective, autoencoder_objective
from elir_jax.methods.autoencoder.parts import autoencoder_parts
from elir_jax.methods.method import Method
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.networks.linear_autoencoder import LinearAutoencoder, embed
from elir_jax.weights.taesd import write_autoencoder

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build_autoencoder(config: ConfigDict) -> Autoencoder:
    """The autoencoder of the configured size, without weights."""
    return Autoencoder(
        width=config.autoencoder.width,
        latent_channels=config.autoencoder.latent_channels,
        dtype=choose(DTYPES, "dtype", config.dtype),
        rematerialize=config.rematerialize,
    )


def build_autoencoder_training(config: ConfigDict) -> Method:
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

    def export(params, workdir):
        path = workdir / "autoencoder.safetensors"
        if linear:
            params = embed(params, autoencoder.init(jax.random.key(config.seed)))
        write_autoencoder(path, params, {"steps": str(config.num_steps)})
        return [path]

    return Method(
        init=init,
        objective=autoencoder_objective(encode, decode, objective, AXIS),
        parts=autoencoder_parts(encode, decode),
        shows_input=False,
        export=export,
    )
