"""Training of Sim-VAE (Latent-PMRF, section 4.2 and equation 6).

``pixel_weight * L1 + perceptual_weight * sum_l w_l * L1 of VGG19's features + kl_weight * KL``. The
latents are sampled. L1 is a mean over all pixels in [0, 1], so that a weight of 2 is the paper's on
[-1, 1]; the divergence is a sum over a sample's latents and a mean over samples.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.flow.losses import mean_absolute_error
from elir_jax.networks.sim_vae import Posterior
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
