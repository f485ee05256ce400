"""The method latent_pmrf: a frozen posterior mean in pixels, and a velocity in latents."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from elir_jax.compose.autoencoder import build_autoencoder
from elir_jax.compose.fields import choose, make, sizes
from elir_jax.compose.pmrf import build_sampler, init_velocity
from elir_jax.compose.posterior_mean import build_estimator, check_size, init_estimator
from elir_jax.compose.sim_vae import build_sim_vae, reach_of
from elir_jax.methods.autoencoder.parts import LOCAL, Reach
from elir_jax.methods.method import Method
from elir_jax.methods.pmrf.networks import CONSTANTS, Networks
from elir_jax.methods.pmrf.objective import RectifiedFlow, rectified_flow_objective
from elir_jax.methods.pmrf.parts import latent_pmrf_parts, latent_target_part
from elir_jax.methods.posterior_mean.parts import window_of
from elir_jax.networks.applying import apply_fn, variables_fn
from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.sim_vae import SimVae
from elir_jax.networks.swinir import FACTOR
from elir_jax.networks.taesd import FACTOR as PIXELS
from elir_jax.networks.transformer import LATENT
from elir_jax.types import Image, Latent, Params


class Latents(NamedTuple):
    """An autoencoder, its two parts as functions of their parameters, and what these see."""

    autoencoder: Autoencoder | SimVae
    encode: Callable[[Params, Image], Latent]
    decode: Callable[[Params, Latent], Image]
    reach: Reach


def _taesd(config: ConfigDict) -> Latents:
    module = build_autoencoder(config)
    parts = (apply_fn(part, module.dtype) for part in (module.encoder, module.decoder))
    return Latents(module, *parts, LOCAL)


def _sim_vae(config: ConfigDict) -> Latents:
    module = build_sim_vae(config)
    posterior, decode = (apply_fn(part, module.dtype) for part in (module.encoder, module.decoder))
    return Latents(module, lambda params, x: posterior(params, x).mean, decode, reach_of(module))


LATENTS = {"taesd": _taesd, "sim_vae": _sim_vae}


def build_latent_pmrf(config: ConfigDict) -> Method:
    """The velocity is trained; the autoencoder and the estimator are frozen."""
    estimator, estimate = build_estimator(config)
    autoencoder, encode, decode, reach = choose(
        LATENTS, "autoencoder.kind", config.autoencoder.kind
    )(config)
    objective = make(RectifiedFlow, "objective", config.objective)
    channels = autoencoder.latent_channels
    velocity = make(
        HDiT,
        "velocity",
        sizes(config.velocity),
        patch=1,
        out_channels=channels,
        style=LATENT,
        dtype=estimator.dtype,
    )
    sampler = build_sampler(config, objective)
    multiple = math.lcm(FACTOR, PIXELS * velocity.factor)
    check_size(config, multiple, PIXELS * velocity.least)
    networks = Networks(
        estimate,
        variables_fn(velocity, velocity.dtype),
        lambda frozen, x: encode(frozen["encoder"], x),
    )
    seen = channels * (2 if objective.conditional else 1)

    def init(key, start):
        first, second, third = jax.random.split(key, 3)
        frozen = start("autoencoder", lambda: autoencoder.init(third))
        if objective.given == "mean":
            frozen |= start("estimator", lambda: init_estimator(first, estimator))
        flow = start("velocity", lambda: init_velocity(second, velocity, seen))
        return {"velocity": flow["velocity"]}, frozen | {CONSTANTS: flow[CONSTANTS]}

    windows = window_of(config.data.size), window_of(config.data.size // PIXELS)
    return Method(
        init=init,
        objective=rectified_flow_objective(networks, objective, config.batch_size),
        parts=latent_pmrf_parts(networks, encode, decode, objective, sampler, *windows, reach),
        target=latent_target_part(encode, reach),
    )
