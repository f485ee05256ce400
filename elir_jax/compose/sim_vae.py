"""The method sim_vae: the autoencoder of Latent-PMRF, and its training."""

import jax
from ml_collections import ConfigDict

from elir_jax.compose.autoencoder import DTYPES
from elir_jax.compose.fields import choose, make, sizes
from elir_jax.inference.parts import Local, Whole
from elir_jax.methods.autoencoder.parts import LOCAL, autoencoder_parts
from elir_jax.methods.method import Method
from elir_jax.methods.sim_vae.objective import SimVaeObjective, sim_vae_objective
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.sim_vae import SimVae
from elir_jax.networks.taesd import FACTOR
from elir_jax.networks.vgg import Vgg19
from elir_jax.weights.files import write_tensors
from elir_jax.weights.sim_vae import sim_vae_tensors
from elir_jax.weights.vgg import init_vgg


def build_sim_vae(config: ConfigDict) -> SimVae:
    """The autoencoder of the configured size, without weights."""
    dtype = choose(DTYPES, "dtype", config.dtype)
    return make(SimVae, "autoencoder", sizes(config.autoencoder), dtype=dtype)


def reach_of(vae: SimVae) -> Local | Whole:
    """Group norms see the whole picture, all else a neighbourhood."""
    if vae.norm == "layer":
        return Local(vae.halo, LOCAL.at_once)
    return Whole(FACTOR, vae.halo, LOCAL.at_once)


def build_sim_vae_training(config: ConfigDict) -> Method:
    """Encoder and decoder are trained; VGG19, if its weights are named, is frozen."""
    vae = build_sim_vae(config)
    encode, decode = apply_fn(vae.encoder, vae.dtype), apply_fn(vae.decoder, vae.dtype)
    objective = make(SimVaeObjective, "objective", config.objective)
    features = apply_fn(Vgg19(vae.dtype), vae.dtype) if config.perceptual.weights else None

    def init(key, start):
        first, second = jax.random.split(key)
        frozen = {} if features is None else start("perceptual", lambda: init_vgg(second))
        return start("autoencoder", lambda: vae.init(first)), frozen

    def export(params, workdir):
        path = workdir / "autoencoder.safetensors"
        both = {part: params[part] for part in ("encoder", "decoder")}
        write_tensors(path, sim_vae_tensors(both), {"steps": str(config.num_steps)})
        return [path]

    return Method(
        init=init,
        objective=sim_vae_objective(encode, decode, features, objective),
        parts=autoencoder_parts(lambda p, x: encode(p, x).mean, decode, reach_of(vae)),
        shows_input=False,
        export=export,
    )
