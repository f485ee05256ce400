"""Build the method ELIR: the networks, objective and sampler of a configuration."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from elir_jax.compose.autoencoder import build_autoencoder
from elir_jax.compose.fields import choose, make, sizes
from elir_jax.compose.starting_weights import trained_encoder
from elir_jax.errors import UserError
from elir_jax.flow.path import Sampler
from elir_jax.methods.elir.networks import Networks, init_estimator, init_velocity, latent_flow
from elir_jax.methods.elir.objective import ElirObjective, elir_objective
from elir_jax.methods.elir.parts import elir_parts, target_part
from elir_jax.methods.method import Method
from elir_jax.networks.layers import Form, collapse
from elir_jax.networks.pixel_unet import PixelUNet
from elir_jax.networks.rrdb import RRDBNet
from elir_jax.networks.target import target
from elir_jax.networks.unet import UNet
from elir_jax.networks.winograd import transform_kernels
from elir_jax.types import Params

ESTIMATORS = {"rrdb": RRDBNet, "pixel_unet": PixelUNet}


def build_elir(config: ConfigDict, form: Form | None = None) -> Method:
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


def build_sampler(config: ConfigDict) -> Sampler:
    """The sampler; with as many steps as the objective has segments if none are chosen, M = K."""
    section = dict(config.sampler)
    section["num_steps"] = section["num_steps"] or config.objective.num_segments
    return make(Sampler, "sampler", section, sigma_s=config.objective.sigma_s)


def build_networks(config: ConfigDict, form: Form | None = None) -> tuple[Networks, Networks]:
    """The networks in the form for training and in ``form``, for inference (None: the fastest)."""
    autoencoder = build_autoencoder(config)
    form = form or inference_form(autoencoder.dtype)
    latent = latent_networks(config, autoencoder.dtype)
    return (
        latent_flow(autoencoder, *map(_seen, latent)),
        latent_flow(autoencoder, *(_in_form(network, form) for network in latent)),
    )


def latent_networks(config: ConfigDict, dtype: DTypeLike) -> tuple[RRDBNet | PixelUNet, UNet]:
    """Estimator and velocity in the form that their parameters have."""
    estimator = choose(ESTIMATORS, "estimator.kind", config.estimator.get("kind", "rrdb"))
    return (
        make(estimator, "estimator", sizes(config.estimator), dtype=dtype),
        make(UNet, "velocity", sizes(config.velocity), dtype=dtype),
    )


def in_pixels(config: ConfigDict) -> bool:
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
