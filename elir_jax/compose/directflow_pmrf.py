"""The method directflow for a teacher of PMRF's kind, in pixels or in latents."""

import math

import jax
from ml_collections import ConfigDict

from elir_jax.compose.fields import choose, make, sizes
from elir_jax.compose.latent_pmrf import LATENTS, build_velocity
from elir_jax.compose.pmrf import COLORS, init_velocity
from elir_jax.compose.posterior_mean import build_estimator, check_size, init_estimator
from elir_jax.compose.student import begin, check_unconditioned, init_student
from elir_jax.errors import UserError
from elir_jax.methods.directflow.networks import TEACHER, distilled_pmrf, student_params
from elir_jax.methods.directflow.objective import distillation_objective
from elir_jax.methods.method import Method
from elir_jax.methods.pmrf.networks import Networks
from elir_jax.methods.pmrf.objective import RectifiedFlow
from elir_jax.methods.pmrf.parts import (
    latent_pmrf_parts,
    latent_target_part,
    pmrf_parts,
    target_part,
)
from elir_jax.methods.posterior_mean.parts import window_of
from elir_jax.networks.applying import variables_fn
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.swinir import FACTOR
from elir_jax.networks.taesd import CLAMP
from elir_jax.networks.taesd import FACTOR as PIXELS


def build_pmrf_student(config: ConfigDict) -> Method:
    """A student of ``pmrf``: estimator and velocity in pixels."""
    plan = begin(config)
    check_unconditioned(config)
    estimator, estimate = build_estimator(config)
    velocity = make(HDiT, "velocity", sizes(config.velocity), dtype=estimator.dtype)
    check_size(config, math.lcm(FACTOR, velocity.factor), velocity.least)
    networks = Networks(estimate, variables_fn(velocity, velocity.dtype))
    flow = RectifiedFlow(sigma_s=plan.teacher.sigma_s)

    def draw(key):
        first, second = jax.random.split(key)
        return init_estimator(first, estimator) | init_velocity(second, velocity, COLORS)

    student = distilled_pmrf(networks, lambda frozen, x: x, plan.lora, (0.0, 1.0))
    parts = pmrf_parts(networks, flow, plan.sampler, window_of(config.data.size))
    return _method(config, plan, student, draw, parts, target_part())


def build_latent_pmrf_student(config: ConfigDict) -> Method:
    """A student of ``latent_pmrf``: estimator in pixels, velocity in an autoencoder's latents.

    Raises UserError for an estimator in latents.
    """
    plan = begin(config)
    check_unconditioned(config)
    if config.estimator.get("kind", "swinir") != "swinir":
        raise UserError(
            f"--config.estimator.kind={config.estimator.kind}: only a teacher whose posterior mean "
            f"is an image can be distilled; use kind=swinir"
        )
    estimator, estimate = build_estimator(config)
    kind = config.autoencoder.kind
    latents = choose(LATENTS, "autoencoder.kind", kind)(config)
    autoencoder, encode, decode = latents.autoencoder, latents.encode, latents.decode
    velocity = build_velocity(config)
    check_size(config, math.lcm(FACTOR, PIXELS * velocity.factor), PIXELS * velocity.least)
    networks = Networks(
        estimate,
        variables_fn(velocity, velocity.dtype),
        lambda frozen, x: encode(frozen["encoder"], x),
    )
    flow = RectifiedFlow(sigma_s=plan.teacher.sigma_s)

    def draw(key):
        first, second, third = jax.random.split(key, 3)
        return (
            autoencoder.init(third)
            | init_estimator(first, estimator)
            | init_velocity(second, velocity, autoencoder.latent_channels)
        )

    limit = CLAMP if kind == "taesd" else math.inf
    student = distilled_pmrf(
        networks, lambda frozen, z: decode(frozen["decoder"], z), plan.lora, (-limit, limit)
    )
    windows = window_of(config.data.size), window_of(config.data.size // PIXELS)
    parts = latent_pmrf_parts(networks, encode, decode, flow, plan.sampler, *windows, latents.reach)
    return _method(config, plan, student, draw, parts, latent_target_part(encode, latents.reach))


def _method(config, plan, networks, draw, parts, target) -> Method:
    def init(key, start):
        first, second = jax.random.split(key)
        frozen = start("teacher", lambda: draw(first))
        taught = {"velocity": frozen.pop("velocity")}
        return init_student(config, plan, second, taught["velocity"]), frozen | {TEACHER: taught}

    return Method(
        init=init,
        objective=distillation_objective(networks, plan.teacher, plan.start, plan.objective),
        for_inference=lambda params, frozen: student_params(plan.lora, params, frozen),
        parts=parts,
        target=target,
    )
