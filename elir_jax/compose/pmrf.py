"""The method pmrf: a frozen posterior mean, and a velocity in pixels that is trained."""

import math

import jax
from ml_collections import ConfigDict

from elir_jax.compose.fields import check_whole, make, sizes
from elir_jax.compose.posterior_mean import build_estimator, check_size, init_estimator
from elir_jax.errors import UserError
from elir_jax.flow.path import Sampler
from elir_jax.methods.method import Method
from elir_jax.methods.pmrf.networks import CONSTANTS, Networks
from elir_jax.methods.pmrf.objective import RectifiedFlow, rectified_flow_objective
from elir_jax.methods.pmrf.parts import pmrf_parts, target_part
from elir_jax.methods.posterior_mean.parts import window_of
from elir_jax.networks.applying import variables_fn
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.initializing import initialize
from elir_jax.networks.swinir import FACTOR
from elir_jax.types import Params

COLORS = 3


def build_pmrf(config: ConfigDict) -> Method:
    """The velocity is trained; the estimator, if the flow is given its mean, is frozen."""
    estimator, estimate = build_estimator(config)
    objective = make(RectifiedFlow, "objective", config.objective)
    velocity = make(HDiT, "velocity", sizes(config.velocity), dtype=estimator.dtype)
    sampler = build_sampler(config, objective)
    check_size(config, math.lcm(FACTOR, velocity.factor), velocity.least)
    networks = Networks(estimate, variables_fn(velocity, velocity.dtype))
    channels = COLORS * (2 if objective.conditional else 1)

    def init(key, start):
        first, second = jax.random.split(key)
        frozen = {}
        if objective.given == "mean":
            frozen = start("estimator", lambda: init_estimator(first, estimator))
        flow = start("velocity", lambda: init_velocity(second, velocity, channels))
        return {"velocity": flow["velocity"]}, frozen | {CONSTANTS: flow[CONSTANTS]}

    return Method(
        init=init,
        objective=rectified_flow_objective(networks, objective, config.batch_size),
        parts=pmrf_parts(networks, objective, sampler, window_of(config.data.size)),
        target=target_part(),
    )


def build_sampler(config: ConfigDict, objective: RectifiedFlow) -> Sampler:
    """The sampler, with the objective's noise. Raises UserError if the flow starts at noise only
    and the sampler has none.
    """
    sampler = make(Sampler, "sampler", config.sampler, sigma_s=objective.noise_scale)
    check_whole(sampler)
    if objective.source == "noise" and not sampler.noise:
        raise UserError("--config.sampler.noise=False: a flow that starts at noise needs it")
    return sampler


def init_velocity(key: jax.Array, velocity: HDiT, channels: int) -> Params:
    """Untrained ``{"velocity": ..., "constants": ...}``."""
    side = velocity.factor * -(-velocity.least // velocity.factor)
    found = initialize(velocity, key, (1, side, side, channels), (1,))
    return {"velocity": found["params"], CONSTANTS: found["constants"]}
