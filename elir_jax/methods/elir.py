"""ELIR: networks, training (section 4.3), restoration (Algorithm 1) and how a configuration asks.

``loss = L_mmse + (1 - beta) L_flow + beta L_pixel``. Times and noise are drawn once for each
sample; the terms are pure functions of them. Gradients of the flow stop at ``z_mmse``: encoder and
estimator learn only from the posterior-mean term. The latent of the original comes from the frozen
encoder.

The parts are encode, posterior mean, flow and decode. An estimator of pixels comes first, and the
encoder sees its estimate. Then the restoration is the estimate with the flow's change added,
``x_mmse + w (D(z_1) - D(E(x_mmse)))``, so that what the autoencoder cannot keep is not lost: where
the flow changes nothing, the estimate stays as it is.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from elir_jax.errors import UserError
from elir_jax.fields import Config, choose, make, sizes
from elir_jax.flow.losses import (
    Consistency,
    FlowMatching,
    consistency,
    flow_matching,
    latent_mmse,
    mean_squared_error,
    pixel_l2,
)
from elir_jax.flow.path import Sampler, Velocity, expand_time
from elir_jax.inference.parts import Local, Part, Whole
from elir_jax.methods.autoencoder import build_autoencoder, decode_part, encode_part
from elir_jax.methods.method import Method, trained_encoder
from elir_jax.methods.posterior_mean import local_of
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.networks.initializing import initialize
from elir_jax.networks.layers import Form, collapse
from elir_jax.networks.pixel_unet import PixelUNet
from elir_jax.networks.rrdb import RRDBNet
from elir_jax.networks.target import target
from elir_jax.networks.unet import UNet
from elir_jax.networks.winograd import transform_kernels
from elir_jax.ranges import check_fields
from elir_jax.types import Batch, Image, Latent, Params, SampleKeys, Scalar, Step, Time

ESTIMATORS = {"rrdb": RRDBNet, "pixel_unet": PixelUNet}
LATENTS_AT_ONCE = 1024 * 640  # in the estimator and the U-Net, on each device
OVERLAP = 32  # latents that blended windows see beyond the seam between them
PIXELS_AT_ONCE = 2048 * 2048  # where pictures are only added


class ElirNetworks(NamedTuple):
    """The four networks as pure functions of (parameters, input)."""

    encode: Callable[[Params, Image], Latent]
    estimate: Callable[[Params, Latent | Image], Latent | Image]
    velocity: Callable[[Params, Latent, Time], Latent]
    decode: Callable[[Params, Latent], Image]
    reach: Local | None = None  # how far an estimator of pixels sees; None: it is one of latents


def latent_flow(
    autoencoder: Autoencoder, estimator: RRDBNet | PixelUNet, velocity: UNet
) -> ElirNetworks:
    """The networks of these modules as pure functions."""
    return ElirNetworks(
        encode=apply_fn(autoencoder.encoder, autoencoder.dtype),
        estimate=apply_fn(estimator, estimator.dtype),
        velocity=apply_fn(velocity, velocity.dtype),
        decode=apply_fn(autoencoder.decoder, autoencoder.dtype),
        reach=local_of(estimator) if isinstance(estimator, PixelUNet) else None,
    )


def init_latent_flow(
    key: jax.Array, latent_channels: int, estimator: RRDBNet | PixelUNet, velocity: UNet
) -> Params:
    """Untrained ``{"estimator": ..., "velocity": ...}``."""
    first, second = jax.random.split(key)
    return init_estimator(first, latent_channels, estimator) | init_velocity(
        second, latent_channels, velocity
    )


def init_estimator(key: jax.Array, latent_channels: int, estimator: RRDBNet | PixelUNet) -> Params:
    """Untrained ``{"estimator": ...}``."""
    channels = 3 if isinstance(estimator, PixelUNet) else latent_channels
    return {"estimator": initialize(estimator, key, (1, 8, 8, channels))["params"]}


def init_velocity(key: jax.Array, latent_channels: int, velocity: UNet) -> Params:
    """Untrained ``{"velocity": ...}``."""
    return {"velocity": initialize(velocity, key, (1, 8, 8, latent_channels), (1,))["params"]}


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
    networks: ElirNetworks,
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
    result, flow_terms = _flow_loss(objective, velocity, target_velocity, z_0, z_hq, noise.u)
    terms |= flow_terms
    if not objective.beta:
        return mmse + result.loss, terms
    pixel = terms["pixel"] = pixel_l2(decode, _restored(velocity, result), x_hq)
    return mmse + (1.0 - objective.beta) * result.loss + objective.beta * pixel, terms


def _flow_loss(
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


def elir_objective(networks: ElirNetworks, objective: ElirObjective):
    """The objective in the form that the train step calls."""

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        latent = jax.eval_shape(networks.encode, frozen["encoder"], batch.x_hq)
        noise = draw(keys, latent.shape[1:])
        return elir_loss(networks, objective, params, ema, frozen, batch.x_hq, batch.x_lq, noise)

    return loss_fn


def elir_parts(networks: ElirNetworks, sampler: Sampler, multiple: int) -> tuple[Part, ...]:
    """The parts in order. ``multiple`` must divide the sides of the velocity's input, in latents.

    The restoration lies at ``sampler.fidelity`` on the line from the decoded posterior mean to the
    decoded end of the flow; at 0 there is no flow.
    """
    if networks.reach is not None:
        return _in_pixels(networks, sampler, multiple)
    whole = Whole(multiple, OVERLAP, LATENTS_AT_ONCE)

    def posterior_mean(params, frozen, z, eps):
        return [networks.estimate(params["estimator"], z)]

    def encoder(params, frozen):
        return params.get("encoder", frozen["encoder"])

    mean = Part(
        "posterior_mean", posterior_mean, whole, shows=("latent_mmse",), through=("decode",)
    )
    encode, decode = encode_part(networks.encode, encoder), decode_part(networks.decode, _decoder)
    if not sampler.fidelity:
        return encode, mean, decode
    if sampler.fidelity < 1:
        decode = _decode_between(networks, sampler.fidelity)
    return encode, mean, _flow_part(networks, sampler, whole, ("decode",)), decode


def _in_pixels(networks: ElirNetworks, sampler: Sampler, multiple: int) -> tuple[Part, ...]:
    def posterior_mean(params, frozen, x, eps):
        return [jnp.clip(networks.estimate(params["estimator"], x), 0, 1)]

    def change(params, frozen, both, eps):
        end, start = (networks.decode(_decoder(params, frozen), z) for z in both)
        return [sampler.fidelity * (end - start)]

    def add(params, frozen, both, eps):
        change, mean = both
        return [mean + change]

    mean = Part("posterior_mean", posterior_mean, networks.reach, shows=("posterior_mean",))
    if not sampler.fidelity:
        return (mean,)
    whole, through = Whole(multiple, OVERLAP, LATENTS_AT_ONCE), ("decode", "add")
    return (
        mean,
        encode_part(networks.encode, _frozen_encoder),
        _flow_part(networks, sampler, whole, through),
        decode_part(networks.decode, _decoder)._replace(apply=change, also="encode"),
        Part("add", add, Local(0, PIXELS_AT_ONCE), also="posterior_mean"),
    )


def _flow_part(
    networks: ElirNetworks, sampler: Sampler, whole: Whole, through: tuple[str, ...]
) -> Part:
    def flow(params, frozen, z, eps):
        return sampler.states(lambda z, t: networks.velocity(params["velocity"], z, t), z, eps)

    noisy = "latent_mmse_noisy" if sampler.noise else ""
    return Part("flow", flow, whole, noisy=True, shows=(noisy, *sampler.steps), through=through)


def _decode_between(networks: ElirNetworks, fidelity: float) -> Part:
    """Decodes both ends of the line and gives the point at ``fidelity`` between them."""

    def decode(params, frozen, both, eps):
        end, start = (networks.decode(_decoder(params, frozen), z) for z in both)
        return [start + fidelity * (end - start)]

    return decode_part(networks.decode, _decoder)._replace(apply=decode, also="posterior_mean")


def _decoder(params, frozen):
    return frozen["decoder"]


def _frozen_encoder(params, frozen):
    return frozen["encoder"]


def target_part(networks: ElirNetworks) -> Part:
    """The frozen encoder, original -> ``z_hq``: the flow's target."""
    return encode_part(networks.encode, _frozen_encoder, "target")


def build_elir(config: Config, form: Form | None = None) -> Method:
    """ELIR. It trains the estimator, the velocity and, unless it is frozen, the encoder.

    ``form`` is that of the latent networks for inference; None: the fastest on this machine.
    """
    autoencoder = build_autoencoder(config)
    trainable_encoder = config.autoencoder.trainable_encoder
    if trainable_encoder and in_pixels(config):
        raise UserError(
            f"--config.estimator.kind={config.estimator.kind}: the encoder sees the posterior mean "
            f"and stays frozen; set --config.autoencoder.trainable_encoder=False"
        )
    objective = make(ElirObjective, "objective", config.objective)
    estimator, velocity = latent_networks(config, autoencoder.dtype)
    forms = {"velocity": velocity.form}
    if not in_pixels(config):
        forms["estimator"] = estimator.form
    form = form or inference_form(autoencoder.dtype)
    trained, collapsed = build_networks(config, form)
    sampler = build_sampler(config)

    def init(key, start):
        first, second = jax.random.split(key)
        third, fourth = jax.random.split(first)
        channels = autoencoder.latent_channels
        params = start("estimator", lambda: init_estimator(third, channels, estimator))
        params |= start("velocity", lambda: init_velocity(fourth, channels, velocity))
        frozen = start("autoencoder", lambda: autoencoder.init(second))
        if trainable_encoder:
            params |= trained_encoder(start, frozen)
        return params, frozen

    def fold(params: Params, frozen: Params) -> Params:
        return {
            name: collapse(tree) if forms.get(name) == "collapsing" else tree
            for name, tree in params.items()
        }

    def for_inference(params: Params, frozen: Params) -> Params:
        params = collapse(params)
        if form == "plain":
            return params
        return {
            name: transform_kernels(tree) if name in forms else tree
            for name, tree in params.items()
        }

    return Method(
        init=init,
        objective=elir_objective(trained, objective),
        fold=fold,
        for_inference=for_inference,
        parts=elir_parts(collapsed, sampler, velocity.factor),
        target=target_part(collapsed),
    )


def build_sampler(config: Config) -> Sampler:
    """The sampler; with as many steps as the objective has segments if none are chosen, M = K."""
    section = dict(config.sampler)
    section["num_steps"] = section["num_steps"] or config.objective.num_segments
    return make(Sampler, "sampler", section, sigma_s=config.objective.sigma_s)


def build_networks(config: Config, form: Form | None = None) -> tuple[ElirNetworks, ElirNetworks]:
    """The networks in the form for training and in ``form``, for inference (None: the fastest)."""
    autoencoder = build_autoencoder(config)
    form = form or inference_form(autoencoder.dtype)
    latent = latent_networks(config, autoencoder.dtype)
    return (
        latent_flow(autoencoder, *map(_seen, latent)),
        latent_flow(autoencoder, *(_in_form(network, form) for network in latent)),
    )


def latent_networks(config: Config, dtype: DTypeLike) -> tuple[RRDBNet | PixelUNet, UNet]:
    """Estimator and velocity in the form that their parameters have."""
    estimator = choose(ESTIMATORS, "estimator.kind", config.estimator.get("kind", "rrdb"))
    return (
        make(estimator, "estimator", sizes(config.estimator), dtype=dtype),
        make(UNet, "velocity", sizes(config.velocity), dtype=dtype),
    )


def in_pixels(config: Config) -> bool:
    """Whether the posterior mean is estimated in pixels, and then encoded."""
    return config.estimator.get("kind", "rrdb") == "pixel_unet"


def inference_form(dtype: DTypeLike) -> Form:
    """The form of the latent networks that restores fastest on this machine."""
    fast = target() == "cpu" and jnp.dtype(dtype) == jnp.float32
    return "winograd" if fast else "plain"


def _seen(network):
    """The network in the form for training, which contracts collapsing blocks beforehand."""
    collapsing = getattr(network, "form", "plain") == "collapsing"
    return network.clone(form="plain") if collapsing else network


def _in_form(network, form: Form):
    """The network in this form, if it has forms."""
    return network.clone(form=form) if hasattr(network, "form") else network
