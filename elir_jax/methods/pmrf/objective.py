"""Rectified flow from an estimate of the posterior mean to originals (Ohayon et al., 2025).

``z_0 = E(clip(f(y))) + sigma_s eps``, not clipped, ``z_t = t z_1 + (1 - t) z_0``, and the loss is
``mean (v(z_t, t) - (z_1 - z_0))^2``, with the noise in its target
(https://arxiv.org/abs/2410.00418). ``E`` is the identity in PMRF and an encoder in Latent-PMRF.
Other sources and conditions are the baselines of PMRF's controlled experiments.
"""

import dataclasses

import jax
import jax.numpy as jnp

from elir_jax.flow.sampler import Sampler, State
from elir_jax.flow.solvers import Velocity
from elir_jax.flow.times import TIMES, draw_times
from elir_jax.losses.flow_matching import flow_matching
from elir_jax.methods.pmrf.networks import Networks, variables
from elir_jax.types import Batch, Image, Latent, Params, SampleKeys, Scalar, Step, Time

SOURCES = ("mean", "degraded", "noise")
CONDITIONS = ("none", "degraded", "mean")


@dataclasses.dataclass(frozen=True)
class RectifiedFlow:
    """Where the flow starts, what else the velocity sees, and at which times it is trained.

    ``source`` mean is PMRF, degraded its baseline "flow from y"; both have noise of ``sigma_s``.
    ``source`` noise is a unit normal, with ``condition`` degraded or mean the baselines that sample
    the posterior. The flow is given one picture, so source and condition cannot name different
    ones. Raises ValueError for such a pair and for values that are not known.
    """

    source: str = "mean"
    condition: str = "none"
    sigma_s: float = 0.1  # standard deviation of the source noise
    time: str = "stratified"

    def __post_init__(self):
        choices = {"source": SOURCES, "condition": CONDITIONS, "time": TIMES}
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} must be one of {allowed}, got {getattr(self, field)!r}")
        if self.sigma_s < 0:
            raise ValueError(f"sigma_s must not be negative, got {self.sigma_s}")
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
        """Standard deviation of the source noise: 1 if the source is noise alone."""
        return 1.0 if self.source == "noise" else self.sigma_s

    def centre(self, given: State) -> State:
        """The source without its noise."""
        return jnp.zeros_like(given) if self.source == "noise" else given

    def velocity(self, networks: Networks, weights: Params, given: State) -> Velocity:
        """The velocity of a state, with the given picture's channels behind it if it sees them."""

        def velocity(z: State, t: Time) -> State:
            seen = jnp.concatenate([z, given], axis=-1) if self.conditional else z
            return networks.velocity(weights, seen, t)

        return velocity


def rectified_flow_loss(
    networks: Networks,
    objective: RectifiedFlow,
    params: Params,
    frozen: Params,
    x_hq: Image,
    x_lq: Image,
    t: Time,
    eps: Latent,
) -> Scalar:
    """The loss for given times ``t`` in [0, 1] and unit noise ``eps``; the velocity alone learns.

    The noise has the shape of the flow's states: pixels in PMRF, latents in Latent-PMRF.
    ``params`` holds ``velocity``; ``frozen`` its ``constants``, the ``estimator`` if it is used and
    whatever ``networks.encode`` takes.
    """
    given = x_lq
    if objective.given == "mean":
        given = jnp.clip(networks.estimate(frozen["estimator"], x_lq, None), 0, 1)
    given, z_1 = (jax.lax.stop_gradient(networks.encode(frozen, x)) for x in (given, x_hq))
    z_0 = Sampler(1, objective.noise_scale).source(objective.centre(given), eps)
    velocity = objective.velocity(networks, variables(params, frozen), given)
    return flow_matching(velocity, z_0, z_1, t, sigma_min=0.0).loss


def rectified_flow_objective(networks: Networks, objective: RectifiedFlow, batch_size: int):
    """The objective as the train step calls it; ``batch_size`` is the global one."""

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        shape = jax.eval_shape(networks.encode, frozen, batch.x_hq).shape[1:]
        pairs = jax.vmap(jax.random.split)(keys)
        t = draw_times(objective.time, pairs[:, 0], batch.slot, batch_size)
        eps = jax.vmap(lambda key: jax.random.normal(key, shape))(pairs[:, 1])
        loss = rectified_flow_loss(
            networks, objective, params, frozen, batch.x_hq, batch.x_lq, t, eps
        )
        return loss, {"flow_matching": loss}

    return loss_fn
