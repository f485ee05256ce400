"""The method sim_vae: the autoencoder of Latent-PMRF and its training (section 4.2, equation 6).

``pixel_weight * L1 + perceptual_weight * sum_l w_l * L1 of VGG19's features + kl_weight * KL``. The
latents are sampled. L1 is a mean over all pixels in [0, 1], so that a weight of 2 is the paper's on
[-1, 1]; the divergence is a sum over a sample's latents and a mean over samples.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.fields import Config, make, sizes
from elir_jax.flow.losses import mean_absolute_error
from elir_jax.inference.parts import Local, Whole
from elir_jax.methods.autoencoder import LOCAL, autoencoder_parts
from elir_jax.methods.method import Method, dtype_of
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.sim_vae import Posterior, SimVae
from elir_jax.networks.taesd import FACTOR
from elir_jax.networks.vgg import Vgg19, init_vgg
from elir_jax.ranges import check_weights
from elir_jax.types import Batch, Image, Latent, Params, SampleKeys, Scalar, Step

LAYER_WEIGHTS = (0.1, 0.1, 1.0, 1.0, 1.0)  # of conv1_2, conv2_2, conv3_4, conv4_4, conv5_4

Features = Callable[[Params, Image], tuple[Float[Array, "..."], ...]]


@dataclasses.dataclass(frozen=True)
class SimVaeObjective:
    """Weights of the terms. Raises ValueError if one is out of range, or all are 0."""

    pixel_weight: float = 2.0
    perceptual_weight: float = 0.05
    kl_weight: float = 1e-6

    def __post_init__(self):
        check_weights(self)


def perceptual(features: Features, params: Params, x: Image, y: Image) -> Scalar:
    """The weighted L1 distances of features before ReLU; only ``x`` gets a gradient."""
    pairs = zip(features(params, x), features(params, jax.lax.stop_gradient(y)), strict=True)
    distances = [mean_absolute_error(a, b) for a, b in pairs]
    return sum(w * d for w, d in zip(LAYER_WEIGHTS, distances, strict=True))


def sim_vae_objective(
    encode: Callable[[Params, Image], Posterior],
    decode: Callable[[Params, Latent], Image],
    features: Features | None,
    objective: SimVaeObjective,
):
    """The objective as the train step calls it; without ``features`` the perceptual term is off."""

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        posterior = encode(params["encoder"], batch.x_lq)
        shape = posterior.mean.shape[1:]
        eps = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
        x = decode(params["decoder"], posterior.sample(eps))
        terms = {"l1": mean_absolute_error(x, batch.x_hq), "kl": jnp.mean(posterior.kl())}
        loss = objective.pixel_weight * terms["l1"] + objective.kl_weight * terms["kl"]
        if features is not None:
            terms["perceptual"] = perceptual(features, frozen["perceptual"], x, batch.x_hq)
            loss += objective.perceptual_weight * terms["perceptual"]
        return loss, terms

    return loss_fn


def build_sim_vae(config: Config) -> SimVae:
    """The autoencoder of the configured size, without weights."""
    return make(SimVae, "autoencoder", sizes(config.autoencoder), dtype=dtype_of(config))


def reach_of(vae: SimVae) -> Local | Whole:
    """Group norms see the whole picture, all else a neighbourhood."""
    if vae.norm == "layer":
        return Local(vae.halo, LOCAL.at_once)
    return Whole(FACTOR, vae.halo, LOCAL.at_once)


def build_sim_vae_training(config: Config) -> Method:
    """Encoder and decoder are trained; VGG19, if its weights are named, is frozen."""
    vae = build_sim_vae(config)
    encode, decode = apply_fn(vae.encoder, vae.dtype), apply_fn(vae.decoder, vae.dtype)
    objective = make(SimVaeObjective, "objective", config.objective)
    features = apply_fn(Vgg19(vae.dtype), vae.dtype) if config.perceptual.weights else None

    def init(key, start):
        first, second = jax.random.split(key)
        frozen = {} if features is None else start("perceptual", lambda: init_vgg(second))
        return start("autoencoder", lambda: vae.init(first)), frozen

    return Method(
        init=init,
        objective=sim_vae_objective(encode, decode, features, objective),
        parts=autoencoder_parts(lambda p, x: encode(p, x).mean, decode, reach_of(vae)),
        shows_input=False,
        autoencoder=lambda params: {part: params[part] for part in ("encoder", "decoder")},
    )
