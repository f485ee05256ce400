"""ELIR's training objective (section 4.3): its terms, their latents and their gradients.

``loss = L_mmse + (1 - beta) L_flow + beta L_pixel``. Times and noise are drawn once for each
sample; the terms are pure functions of them. Gradients of the flow stop at ``z_mmse``: encoder and
estimator learn only from the posterior-mean term. The latent of the original comes from the frozen
encoder.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elir_jax.flow.losses import (
    Consistency,
    FlowMatching,
    consistency,
    flow_matching,
    latent_mmse,
    mean_squared_error,
    pixel_l2,
)
from elir_jax.flow.path import Velocity, expand_time
from elir_jax.methods.elir.networks import Networks
from elir_jax.ranges import check_fields
from elir_jax.types import Batch, Image, Latent, Params, SampleKeys, Scalar, Step, Time


@dataclasses.dataclass(frozen=True)
class ElirObjective:
    """Hyper-parameters of the objective (Table 5) and its variants.

    Raises ValueError if a value is out of range.
    """

    num_segments: int = 5  # K
    dt: float = 0.05
    alpha: float = 0.001
    sigma_s: float = 0.1  # standard deviation of the source noise, in latent units
    sigma_min: float = 1e-5
    beta: float = 0.0  # weight of the release's decoded-pixel term
    segment_weights: tuple[float, ...] = ()  # lambda_i; empty: all 1
    flow: str = "consistency"  # or "flow_matching", the baseline of Figure 4
    target: str = "ema"  # below equation 4; or "online": below equation 8, and the release
    mmse_space: str = "latent"  # equation 6; or "pixel", equation 11

    def __post_init__(self):
        check_fields(
            self,
            num_segments="[1, inf)",
            dt="(0, 1)",
            alpha="[0, inf)",
            sigma_s="[0, inf)",
            sigma_min="[0, 1)",
            beta="[0, 1]",
            segment_weights="[0, inf)",
            flow=("consistency", "flow_matching"),
            target=("ema", "online"),
            mmse_space=("latent", "pixel"),
        )
        if not self.segment_weights:
            return
        if len(self.segment_weights) != self.num_segments:
            raise ValueError(
                f"segment_weights must have one weight for each of the {self.num_segments} "
                f"segments, got {len(self.segment_weights)}"
            )
        if not any(self.segment_weights):
            raise ValueError("segment_weights must have one above 0, or the flow learns nothing")

    @property
    def lambdas(self) -> jax.Array:
        """The weights lambda_i, one for each segment."""
        return jnp.asarray(self.segment_weights or (1.0,) * self.num_segments, jnp.float32)


class Draw(NamedTuple):
    """The random numbers of the loss: ``u`` uniform in [0, 1) and unit noise, for each sample."""

    u: Time
    eps: Latent


def draw(keys: SampleKeys, latent_shape: tuple[int, int, int]) -> Draw:
    """Time and noise from each sample's own key, so that they do not depend on other samples."""

    def one(key):
        time_key, noise_key = jax.random.split(key)
        return jax.random.uniform(time_key), jax.random.normal(noise_key, latent_shape)

    return Draw(*jax.vmap(one)(keys))


def elir_loss(
    networks: Networks,
    objective: ElirObjective,
    params: Params,
    ema: Params,
    frozen: Params,
    x_hq: Image,
    x_lq: Image,
    noise: Draw,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Loss and its terms by name, for given times and noise.

    ``params`` and ``ema`` hold ``estimator``, ``velocity`` and, if it is trained, ``encoder``;
    ``frozen`` holds the pretrained ``encoder`` and ``decoder``. ``t = (1 - dt) u`` for consistency
    and ``t = u`` for flow matching. An estimator of pixels has its own mean squared error, and the
    flow starts at the encoded estimate (Table 11).
    """
    z_hq = jax.lax.stop_gradient(networks.encode(frozen["encoder"], x_hq))

    def decode(z):
        return networks.decode(frozen["decoder"], z)

    def velocity(z, t):
        return networks.velocity(params["velocity"], z, t)

    def target_velocity(z, t):
        source = ema if objective.target == "ema" else params
        return networks.velocity(source["velocity"], z, t)

    if networks.reach is not None:
        x_mmse = networks.estimate(params["estimator"], x_lq)
        terms = {"pixel_mmse": mean_squared_error(x_mmse, x_hq)}
        z_mmse = networks.encode(frozen["encoder"], jax.lax.stop_gradient(jnp.clip(x_mmse, 0, 1)))
    else:
        z_lq = networks.encode(params.get("encoder", frozen["encoder"]), x_lq)
        z_mmse = networks.estimate(params["estimator"], z_lq)
        if objective.mmse_space == "latent":
            terms = {"latent_mmse": latent_mmse(z_mmse, z_hq)}
        else:
            terms = {"pixel_mmse": pixel_l2(decode, z_mmse, x_hq)}
    (mmse,) = terms.values()

    z_0 = jax.lax.stop_gradient(z_mmse) + objective.sigma_s * noise.eps
    result, flow_terms = _flow(objective, velocity, target_velocity, z_0, z_hq, noise.u)
    terms |= flow_terms
    if not objective.beta:
        return mmse + result.loss, terms
    pixel = terms["pixel"] = pixel_l2(decode, _restored(velocity, result), x_hq)
    return mmse + (1.0 - objective.beta) * result.loss + objective.beta * pixel, terms


def _flow(
    objective: ElirObjective,
    velocity: Velocity,
    target_velocity: Velocity,
    z_0: Latent,
    z_1: Latent,
    u: Time,
) -> tuple[Consistency | FlowMatching, dict[str, Scalar]]:
    """The flow's loss, with the latents that it reached, and its terms by name."""
    if objective.flow == "flow_matching":
        matched = flow_matching(velocity, z_0, z_1, u, sigma_min=objective.sigma_min)
        return matched, {"flow_matching": matched.loss}
    result = consistency(
        velocity,
        target_velocity,
        z_0,
        z_1,
        (1.0 - objective.dt) * u,
        dt=objective.dt,
        alpha=objective.alpha,
        sigma_min=objective.sigma_min,
        segment_weights=objective.lambdas,
    )
    return result, {
        "consistency": result.loss,
        "consistency_segment": result.segment,
        "consistency_velocity": result.velocity,
    }


def _restored(velocity: Velocity, result: Consistency | FlowMatching) -> Latent:
    """The latent at t = 1, for the decoded-pixel term."""
    if isinstance(result, FlowMatching):
        return result.z_end
    # One more velocity leads from the segment's end to t = 1. Only this step gets a gradient.
    z_end = jax.lax.stop_gradient(result.z_end)
    return z_end + expand_time(1.0 - result.t_end, z_end) * velocity(z_end, result.t_end)


def elir_objective(networks: Networks, objective: ElirObjective):
    """The objective in the form that the train step calls."""

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        latent = jax.eval_shape(networks.encode, frozen["encoder"], batch.x_hq)
        noise = draw(keys, latent.shape[1:])
        return elir_loss(networks, objective, params, ema, frozen, batch.x_hq, batch.x_lq, noise)

    return loss_fn
