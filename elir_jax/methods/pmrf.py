"""The method pmrf: rectified flow from an estimate of the posterior mean (Ohayon et al., 2025).

``z_0 = E(clip(f(y))) + sigma_s eps``, not clipped, ``z_t = t z_1 + (1 - t) z_0``, and the loss is
``mean (v(z_t, t) - (z_1 - z_0))^2``, with the noise in its target
(https://arxiv.org/abs/2410.00418). ``E`` is the identity here and an encoder in Latent-PMRF, which
takes objective and flow from this file. Other sources and conditions are the baselines of PMRF's
controlled experiments.

Latents may be drawn from the autoencoder's posterior, ``N(m, s^2)``, in place of its mean: then
``z_0 = m + (s^2 + sigma_s^2)^(1/2) eps``, which is both noises in one.

The parts are the posterior mean, then the flow, each in windows of the trained size: positions and
attention over all tokens follow the size of a picture, so no other size gives what was trained.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.errors import UserError
from elir_jax.fields import Config, make, sizes
from elir_jax.flow.losses import flow_matching
from elir_jax.flow.path import TIMES, Sampler, State, Velocity, draw_times, on_grid
from elir_jax.inference.parts import Local, Part, Window
from elir_jax.methods.method import Method
from elir_jax.methods.posterior_mean import (
    PIXELS_AT_ONCE,
    Estimate,
    build_estimator,
    check_size,
    init_estimator,
    posterior_mean_part,
    window_of,
)
from elir_jax.networks.applying import variables_fn
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.initializing import initialize
from elir_jax.networks.swinir import FACTOR
from elir_jax.ranges import check_fields
from elir_jax.types import Batch, Image, Latent, Params, SampleKeys, Scalar, Step, Time

COLORS = 3
CONSTANTS = "constants"  # of the velocity: random frequencies, which are never trained
Encoded = Float[Array, "b h w e"]  # a state; if latents are sampled, deviations follow the means
SOURCES = ("mean", "degraded", "noise")
CONDITIONS = ("none", "degraded", "mean")


class PmrfNetworks(NamedTuple):
    """The networks; ``encode`` takes the frozen parameters, the velocity all its variables.

    If latents are sampled, ``encode`` gives their means and, behind these, as many channels of
    standard deviations. An estimator that is trained beside the velocity works on latents.
    """

    estimate: Estimate
    velocity: Callable[[Params, Latent, Time], Latent]
    encode: Callable[[Params, Image], Latent] = lambda frozen, x: x


def variables(params: Params, frozen: Params) -> Params:
    """The velocity's variables, of which the constants are kept with what is frozen."""
    return {"params": params["velocity"], "constants": frozen[CONSTANTS]}


@dataclasses.dataclass(frozen=True)
class RectifiedFlow:
    """Where the flow starts, what else the velocity sees, and at which times it is trained.

    ``grid`` is the number of times that the release's scheduler knows, 1000; 0 for any time in
    [0, 1]. ``source`` mean is PMRF, degraded its baseline "flow from y"; both have noise of
    ``sigma_s``. ``source`` noise is a unit normal, with ``condition`` degraded or mean the
    baselines that sample the posterior. The flow is given one picture, so source and condition
    cannot name different ones. Raises ValueError for such a pair and for values that are not known.
    """

    source: str = "mean"
    condition: str = "none"
    sigma_s: float = 0.1  # standard deviation of the source noise
    time: str = "stratified"
    grid: int = 0
    sample_latents: bool = False  # of the given picture and of the original

    def __post_init__(self):
        check_fields(
            self,
            source=SOURCES,
            condition=CONDITIONS,
            time=tuple(TIMES),
            sigma_s="[0, inf)",
            grid="[0, inf)",
        )
        if len({self.source, self.condition} - {"noise", "none"}) != 1:
            raise ValueError(
                f"source={self.source}, condition={self.condition}: the flow is given one picture, "
                f"the mean or the degraded one"
            )

    @property
    def given(self) -> str:
        """The picture that the flow is given: ``mean`` or ``degraded``."""
        return self.source if self.source != "noise" else self.condition

    @property
    def conditional(self) -> bool:
        """Whether the velocity sees the given picture beside the state."""
        return self.condition != "none"

    @property
    def noise_scale(self) -> float:
        """The sampler's standard deviation of the source noise; 1 if :meth:`noise` scales it."""
        return 1.0 if self.source == "noise" or self.sample_latents else self.sigma_s

    def mean(self, encoded: Encoded) -> State:
        """The latents of an encoded picture, without the deviations behind them."""
        return jnp.split(encoded, 2, axis=-1)[0] if self.sample_latents else encoded

    def noise(self, given: Encoded, eps: Encoded) -> State:
        """The source noise over :attr:`noise_scale`, from unit noise in the shape of ``given``."""
        if not self.sample_latents:
            return eps
        unit = self.mean(eps)
        if self.source == "noise":
            return unit
        spread = jnp.split(given, 2, axis=-1)[1]
        return jnp.sqrt(spread**2 + self.sigma_s**2) * unit

    def target(self, encoded: Encoded, eps: Encoded) -> State:
        """``z_1`` of an encoded original; a sample's noise is the half that the source leaves."""
        if not self.sample_latents:
            return encoded
        mean, spread = jnp.split(encoded, 2, axis=-1)
        return mean + spread * jnp.split(eps, 2, axis=-1)[1]

    def centre(self, given: Encoded) -> State:
        """The source without its noise."""
        mean = self.mean(given)
        return jnp.zeros_like(mean) if self.source == "noise" else mean

    def velocity(self, networks: PmrfNetworks, weights: Params, given: Encoded) -> Velocity:
        """The velocity of a state, with the given picture's channels behind it if it sees them."""

        def velocity(z: State, t: Time) -> State:
            seen = z
            if self.conditional:
                seen = jnp.concatenate([z, self.mean(given)], axis=-1)
            return networks.velocity(weights, seen, t)

        return velocity


class Draw(NamedTuple):
    """The random numbers of the loss, for each sample."""

    t: Time
    eps: Encoded  # unit noise in the shape of what ``encode`` gives


def draw(
    networks: PmrfNetworks,
    objective: RectifiedFlow,
    frozen: Params,
    batch: Batch,
    keys: SampleKeys,
    batch_size: int,
) -> Draw:
    """Time and noise from each sample's own key; ``batch_size`` is the global one."""
    shape = jax.eval_shape(networks.encode, frozen, batch.x_hq).shape[1:]
    pairs = jax.vmap(jax.random.split)(keys)
    t = draw_times(objective.time, pairs[:, 0], batch.slot, batch_size)
    if objective.grid:
        t = on_grid(t, objective.grid)
    return Draw(t, jax.vmap(lambda key: jax.random.normal(key, shape))(pairs[:, 1]))


def flow_loss(
    networks: PmrfNetworks,
    objective: RectifiedFlow,
    params: Params,
    frozen: Params,
    given: Encoded,
    encoded: Encoded,
    noise: Draw,
) -> tuple[Scalar, dict[str, Scalar]]:
    """The loss from ``given`` to the ``encoded`` original, with its terms; the velocity learns.

    ``latent_std`` among the terms is the mean of the samples' standard deviations of ``z_1``: with
    it, ``sigma_s`` can be judged. Nothing in the loss depends on it.
    """
    given, encoded = jax.lax.stop_gradient((given, encoded))
    z_1 = objective.target(encoded, noise.eps)
    sampler = Sampler(1, objective.noise_scale)
    z_0 = sampler.source(objective.centre(given), objective.noise(given, noise.eps))
    velocity = objective.velocity(networks, variables(params, frozen), given)
    loss = flow_matching(velocity, z_0, z_1, noise.t, sigma_min=0.0).loss
    return loss, {"flow_matching": loss, "latent_std": jnp.mean(jnp.std(z_1, (1, 2, 3)))}


def rectified_flow_loss(
    networks: PmrfNetworks,
    objective: RectifiedFlow,
    params: Params,
    frozen: Params,
    x_hq: Image,
    x_lq: Image,
    noise: Draw,
) -> tuple[Scalar, dict[str, Scalar]]:
    """The loss for given times in [0, 1] and unit noise, and its terms; the velocity alone learns.

    The noise has the shape of the flow's states: pixels in PMRF, latents in Latent-PMRF.
    ``params`` holds ``velocity``; ``frozen`` its ``constants``, the ``estimator`` if it is used and
    whatever ``networks.encode`` takes.
    """
    given = x_lq
    if objective.given == "mean":
        given = jnp.clip(networks.estimate(frozen["estimator"], x_lq, None), 0, 1)
    given, encoded = (networks.encode(frozen, x) for x in (given, x_hq))
    return flow_loss(networks, objective, params, frozen, given, encoded, noise)


def rectified_flow_objective(networks: PmrfNetworks, objective: RectifiedFlow, batch_size: int):
    """The objective as the train step calls it; ``batch_size`` is the global one."""

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        noise = draw(networks, objective, frozen, batch, keys, batch_size)
        return rectified_flow_loss(
            networks, objective, params, frozen, batch.x_hq, batch.x_lq, noise
        )

    return loss_fn


def pmrf_parts(
    networks: PmrfNetworks, objective: RectifiedFlow, sampler: Sampler, window: Window
) -> tuple[Part, ...]:
    """Both parts, or the flow alone if it is given the degraded picture."""
    flow = flow_part(networks, objective, sampler, window)
    if objective.given == "degraded":
        return (flow,)
    shown = ("posterior_mean",)
    return posterior_mean_part(networks.estimate, estimator_of, window, shown), flow


def flow_part(
    networks: PmrfNetworks,
    objective: RectifiedFlow,
    sampler: Sampler,
    window: Window,
    through: tuple[str, ...] = (),
) -> Part:
    """Given picture -> the flow's end; states become pictures by the parts named ``through``."""

    def apply(params, frozen, given, eps):
        velocity = objective.velocity(networks, variables(params, frozen), given)
        return sampler.states(velocity, objective.centre(given), objective.noise(given, eps))

    shown = "source" if sampler.noise else ""
    return Part("flow", apply, window, noisy=True, shows=(shown, *sampler.steps), through=through)


def target_part() -> Part:
    """The original itself: where a flow in pixels should end."""
    return Part("target", lambda params, frozen, x, eps: [x], Local(0, PIXELS_AT_ONCE))


def estimator_of(params: Params, frozen: Params) -> Params:
    """The frozen estimator's weights."""
    return frozen["estimator"]


def build_pmrf(config: Config) -> Method:
    """The velocity is trained; the estimator, if the flow is given its mean, is frozen."""
    estimator, estimate = build_estimator(config)
    objective = make(RectifiedFlow, "objective", config.objective)
    velocity = make(HDiT, "velocity", sizes(config.velocity), dtype=estimator.dtype)
    sampler = build_sampler(config, objective)
    check_size(config, math.lcm(FACTOR, velocity.factor), velocity.least)
    networks = PmrfNetworks(estimate, variables_fn(velocity, velocity.dtype))
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


def build_sampler(config: Config, objective: RectifiedFlow) -> Sampler:
    """The sampler, with the objective's noise. Raises UserError if the flow starts at noise only
    and the sampler has none.
    """
    sampler = make(Sampler, "sampler", config.sampler, sigma_s=objective.noise_scale)
    check_whole(sampler)
    if objective.source == "noise" and not sampler.noise:
        raise UserError("--config.sampler.noise=False: a flow that starts at noise needs it")
    return sampler


def check_whole(sampler: Sampler) -> None:
    """Raise UserError if a method that has no such knob is asked for a part of the full sample."""
    if sampler.fidelity != 1:
        raise UserError(
            f"--config.sampler.fidelity={sampler.fidelity}: only the method elir has a fidelity; "
            f"leave it at 1"
        )


def init_velocity(key: jax.Array, velocity: HDiT, channels: int) -> Params:
    """Untrained ``{"velocity": ..., "constants": ...}``."""
    side = velocity.factor * -(-velocity.least // velocity.factor)
    found = initialize(velocity, key, (1, side, side, channels), (1,))
    return {"velocity": found["params"], CONSTANTS: found["constants"]}
