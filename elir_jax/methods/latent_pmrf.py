"""The method latent_pmrf: a velocity in latents, from the posterior mean in pixels or latents.

Option 2 of section 3.2, the method's own, starts at ``E(E[X | Y])``: PMRF's objective with an
encoder, of a frozen estimator of images. Option 1, which is ELIR's way too, is
``z_0 = g(E_w(y)) + sigma_s eps``: the estimator ``g`` and a copy ``E_w`` of the encoder are trained
beside the velocity, on ``mean (g(E_w(y)) - E(x))^2``, whose minimum is ``E[E(X) | Y]``. The flow's
gradients stop at the estimate.

The parts are PMRF's, with an autoencoder around the flow.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elir_jax.errors import UserError
from elir_jax.fields import Config, choose, make, sizes
from elir_jax.flow.losses import latent_mmse
from elir_jax.flow.path import Sampler
from elir_jax.inference.parts import Part, Reach, Whole, Window
from elir_jax.methods.autoencoder import LOCAL, build_autoencoder, decode_part, encode_part
from elir_jax.methods.elir import LATENTS_AT_ONCE, OVERLAP
from elir_jax.methods.elir import init_estimator as init_rrdb
from elir_jax.methods.method import Method, dtype_of, trained_encoder
from elir_jax.methods.pmrf import (
    CONSTANTS,
    PmrfNetworks,
    RectifiedFlow,
    build_sampler,
    draw,
    estimator_of,
    flow_loss,
    flow_part,
    init_velocity,
    rectified_flow_objective,
)
from elir_jax.methods.posterior_mean import (
    build_estimator,
    check_size,
    init_estimator,
    posterior_mean_part,
    window_of,
)
from elir_jax.methods.sim_vae import build_sim_vae, reach_of
from elir_jax.networks.applying import apply_fn, variables_fn
from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.rrdb import RRDBNet
from elir_jax.networks.sim_vae import SimVae
from elir_jax.networks.swinir import FACTOR
from elir_jax.networks.taesd import FACTOR as PIXELS
from elir_jax.networks.transformer import LATENT
from elir_jax.training.step import Objective
from elir_jax.types import Batch, Image, Latent, Params, SampleKeys, Scalar, Step

DECODED = ("decode",)


def latent_mean_objective(networks: PmrfNetworks, objective: RectifiedFlow, batch_size: int):
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


def latent_pmrf_parts(
    networks: PmrfNetworks,
    encode: Callable[[Params, Image], Latent],
    decode: Callable[[Params, Latent], Image],
    objective: RectifiedFlow,
    sampler: Sampler,
    window: Window,
    latent_window: Window,
    reach: Reach = LOCAL,
) -> tuple[Part, ...]:
    """Posterior mean in pixels, encode, flow, decode; no mean if the degraded picture is given.

    ``mean_decoded`` is what the autoencoder makes of the picture that the flow is given.
    """
    encoded = encode_part(encode, encoder_of, reach=reach)
    encoded = encoded._replace(shows=("mean_decoded",), through=DECODED)
    latent = (
        encoded,
        flow_part(networks, objective, sampler, latent_window, DECODED),
        decode_part(decode, decoder_of, reach),
    )
    if objective.given == "degraded":
        return latent
    shown = ("posterior_mean",)
    return posterior_mean_part(networks.estimate, estimator_of, window, shown), *latent


def latent_target_part(encode: Callable[[Params, Image], Latent], reach: Reach = LOCAL) -> Part:
    """The encoded original: where a flow in latents should end."""
    return encode_part(encode, encoder_of, "target", reach)


def encoder_of(params: Params, frozen: Params) -> Params:
    """The frozen encoder's weights."""
    return frozen["encoder"]


def decoder_of(params: Params, frozen: Params) -> Params:
    """The frozen decoder's weights."""
    return frozen["decoder"]


def latent_mean_parts(
    networks: PmrfNetworks,
    encode: Callable[[Params, Image], Latent],
    decode: Callable[[Params, Latent], Image],
    objective: RectifiedFlow,
    sampler: Sampler,
    latent_window: Window,
    reach: Reach,
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


class Latents(NamedTuple):
    """An autoencoder, its parts as functions of their parameters, and what these see.

    ``encode_spread`` gives means and standard deviations of a posterior; None if there is none.
    """

    autoencoder: Autoencoder | SimVae
    encode: Callable[[Params, Image], Latent]
    decode: Callable[[Params, Latent], Image]
    reach: Reach
    encode_spread: Callable[[Params, Image], Latent] | None = None


class Pieces(NamedTuple):
    """Components shared by both options."""

    config: Config
    latents: Latents
    objective: RectifiedFlow
    velocity: HDiT
    sampler: Sampler

    def networks(
        self, encode: Callable[[Params, Image], Latent], estimate: Callable
    ) -> PmrfNetworks:
        """The networks, with this encoder of the frozen parameters and this estimator."""
        return PmrfNetworks(
            estimate,
            variables_fn(self.velocity, self.velocity.dtype),
            lambda frozen, x: encode(frozen["encoder"], x),
        )


class Estimation(NamedTuple):
    """How the posterior mean is estimated: the objective, the parts, and what they start from."""

    objective: Objective
    parts: tuple[Part, ...]
    draw: Callable[[jax.Array], Params]  # untrained ``{"estimator": ...}``
    trained: bool  # beside the velocity, with an encoder of its own


def _taesd(config: Config) -> Latents:
    module = build_autoencoder(config)
    parts = (apply_fn(part, module.dtype) for part in (module.encoder, module.decoder))
    return Latents(module, *parts, LOCAL)


def _sim_vae(config: Config) -> Latents:
    module = build_sim_vae(config)
    posterior, decode = (apply_fn(part, module.dtype) for part in (module.encoder, module.decoder))

    def encode_spread(params, x):
        found = posterior(params, x)
        return jnp.concatenate([found.mean, jnp.exp(0.5 * found.logvar)], axis=-1)

    return Latents(
        module, lambda p, x: posterior(p, x).mean, decode, reach_of(module), encode_spread
    )


LATENTS = {"taesd": _taesd, "sim_vae": _sim_vae}


def build_latent_pmrf(config: Config) -> Method:
    """The velocity is trained, and an estimator in latents with its encoder; the rest is frozen."""
    latents = choose(LATENTS, "autoencoder.kind", config.autoencoder.kind)(config)
    objective = make(RectifiedFlow, "objective", config.objective)
    velocity = build_velocity(config)
    sampler = build_sampler(config, objective)
    kind = config.estimator.get("kind", "swinir")
    pieces = Pieces(config, latents, objective, velocity, sampler)
    found = choose(ESTIMATORS, "estimator.kind", kind)(pieces)
    seen = latents.autoencoder.latent_channels * (2 if objective.conditional else 1)

    def init(key, start):
        first, second, third = jax.random.split(key, 3)
        params, frozen = {}, start("autoencoder", lambda: latents.autoencoder.init(third))
        if objective.given == "mean":
            estimator = start("estimator", lambda: found.draw(first))
            (params if found.trained else frozen).update(estimator)
        if found.trained:
            params |= trained_encoder(start, frozen)
        flow = start("velocity", lambda: init_velocity(second, velocity, seen))
        return params | {"velocity": flow["velocity"]}, frozen | {CONSTANTS: flow[CONSTANTS]}

    return Method(
        init=init,
        objective=found.objective,
        parts=found.parts,
        target=latent_target_part(latents.encode, latents.reach),
        reconstruction=(
            encode_part(latents.encode, encoder_of, reach=latents.reach),
            decode_part(latents.decode, decoder_of, latents.reach),
        ),
    )


def build_velocity(config: Config) -> HDiT:
    """The velocity of the configured size, without weights."""
    return make(
        HDiT,
        "velocity",
        sizes(config.velocity),
        patch=1,
        out_channels=config.autoencoder.latent_channels,
        style=LATENT,
        dtype=dtype_of(config),
    )


def _in_pixels(pieces: Pieces) -> Estimation:
    """Option 2 of section 3.2, the method's own: a frozen estimator of images."""
    config, latents, objective, velocity, sampler = pieces
    module, estimate = build_estimator(config)
    check_size(config, math.lcm(FACTOR, PIXELS * velocity.factor), PIXELS * velocity.least)
    encode, decode = latents.encode, latents.decode
    if objective.sample_latents:
        if latents.encode_spread is None:
            raise UserError(
                "--config.objective.sample_latents: this autoencoder has no posterior to sample; "
                "use --config.autoencoder.kind=sim_vae"
            )
        channels = latents.autoencoder.latent_channels
        encode = latents.encode_spread
        decode = lambda params, z: latents.decode(params, z[..., :channels])  # noqa: E731
    networks = pieces.networks(encode, estimate)
    windows = window_of(config.data.size), window_of(config.data.size // PIXELS)
    return Estimation(
        rectified_flow_objective(networks, objective, config.batch_size),
        latent_pmrf_parts(networks, encode, decode, objective, sampler, *windows, latents.reach),
        lambda key: init_estimator(key, module),
        trained=False,
    )


def _in_latents(pieces: Pieces) -> Estimation:
    """Option 1 of section 3.2, as ELIR: an encoder and an estimator that are trained beside."""
    config, latents, objective, velocity, sampler = pieces
    if objective.sample_latents or (objective.source, objective.condition) != ("mean", "none"):
        raise UserError(
            "--config.estimator.kind=rrdb: estimates the mean of latents, which are not sampled; "
            "it needs objective.source=mean, condition=none, sample_latents=False"
        )
    module = make(RRDBNet, "estimator", sizes(config.estimator), dtype=velocity.dtype)
    estimate = apply_fn(module, velocity.dtype)
    check_size(config, PIXELS * velocity.factor, PIXELS * velocity.least)
    networks = pieces.networks(latents.encode, lambda params, z, keys: estimate(params, z))
    channels = latents.autoencoder.latent_channels
    return Estimation(
        latent_mean_objective(networks, objective, config.batch_size),
        latent_mean_parts(
            networks,
            latents.encode,
            latents.decode,
            objective,
            sampler,
            window_of(config.data.size // PIXELS),
            latents.reach,
            Whole(velocity.factor, OVERLAP, LATENTS_AT_ONCE),
        ),
        lambda key: init_rrdb(key, channels, module),
        trained=True,
    )


ESTIMATORS = {"swinir": _in_pixels, "rrdb": _in_latents}
