"""The posterior mean estimated in latents: option 1 of Latent-PMRF's section 3.2, and ELIR's way.

``z_0 = g(E_w(y)) + sigma_s eps``: the estimator ``g`` and a copy ``E_w`` of the encoder are trained
beside the velocity, on ``mean (g(E_w(y)) - E(x))^2``, whose minimum is ``E[E(X) | Y]``. Option 2,
the method's own, is ``E(E[X | Y])``. The flow's gradients stop at the estimate.
"""

from collections.abc import Callable

import jax

from elir_jax.flow.losses import latent_mmse
from elir_jax.flow.path import Sampler
from elir_jax.inference.parts import Local, Part, Whole, Window
from elir_jax.methods.autoencoder.parts import decode_part, encode_part
from elir_jax.methods.pmrf.networks import Networks
from elir_jax.methods.pmrf.objective import RectifiedFlow, draw, flow_loss
from elir_jax.methods.pmrf.parts import DECODED, decoder_of, flow_part
from elir_jax.types import Batch, Image, Latent, Params, SampleKeys, Scalar, Step


def latent_mean_objective(networks: Networks, objective: RectifiedFlow, batch_size: int):
    """The objective as the train step calls it; ``batch_size`` is the global one.

    ``params`` holds ``velocity``, ``estimator`` and the ``encoder`` of degraded pictures.
    """

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        noise = draw(networks, objective, frozen, batch, keys, batch_size)
        z_hq = jax.lax.stop_gradient(networks.encode(frozen, batch.x_hq))
        z_mean = networks.estimate(params["estimator"], networks.encode(params, batch.x_lq), None)
        mmse = latent_mmse(z_mean, z_hq)
        loss, terms = flow_loss(networks, objective, params, frozen, z_mean, z_hq, noise)
        return mmse + loss, {"latent_mmse": mmse} | terms

    return loss_fn


def latent_mean_parts(
    networks: Networks,
    encode: Callable[[Params, Image], Latent],
    decode: Callable[[Params, Latent], Image],
    objective: RectifiedFlow,
    sampler: Sampler,
    latent_window: Window,
    reach: Local | Whole,
    whole: Whole,
) -> tuple[Part, ...]:
    """Encode, posterior mean in latents, flow, decode; the estimator sees the ``whole`` picture."""

    def posterior_mean(params, frozen, z, eps):
        return [networks.estimate(params["estimator"], z, None)]

    return (
        encode_part(encode, lambda params, frozen: params["encoder"], reach=reach),
        Part("posterior_mean", posterior_mean, whole, shows=("mean_decoded",), through=DECODED),
        flow_part(networks, objective, sampler, latent_window, DECODED),
        decode_part(decode, decoder_of, reach),
    )
