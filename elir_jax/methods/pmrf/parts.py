"""PMRF's restoration: the posterior mean, then the flow, each in windows of the trained size.

Latent-PMRF's has an autoencoder around the flow.

Positions and attention over all tokens follow the size of a picture, so no other size gives what
was trained.
"""

from collections.abc import Callable

from elir_jax.flow.path import Sampler
from elir_jax.inference.parts import Local, Part, Window
from elir_jax.methods.autoencoder.parts import LOCAL, Reach, decode_part, encode_part
from elir_jax.methods.pmrf.networks import Networks, variables
from elir_jax.methods.pmrf.objective import RectifiedFlow
from elir_jax.methods.posterior_mean.parts import PIXELS_AT_ONCE, posterior_mean_part
from elir_jax.types import Image, Latent, Params

DECODED = ("decode",)


def pmrf_parts(
    networks: Networks, objective: RectifiedFlow, sampler: Sampler, window: Window
) -> tuple[Part, ...]:
    """Both parts, or the flow alone if it is given the degraded picture."""
    flow = flow_part(networks, objective, sampler, window)
    if objective.given == "degraded":
        return (flow,)
    shown = ("posterior_mean",)
    return posterior_mean_part(networks.estimate, _estimator, window, shown), flow


def latent_pmrf_parts(
    networks: Networks,
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
    return posterior_mean_part(networks.estimate, _estimator, window, shown), *latent


def latent_target_part(encode: Callable[[Params, Image], Latent], reach: Reach = LOCAL) -> Part:
    """The encoded original: where a flow in latents should end."""
    return encode_part(encode, encoder_of, "target", reach)


def flow_part(
    networks: Networks,
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


def _estimator(params, frozen):
    return frozen["estimator"]


def encoder_of(params: Params, frozen: Params) -> Params:
    """The frozen encoder's weights."""
    return frozen["encoder"]


def decoder_of(params: Params, frozen: Params) -> Params:
    """The frozen decoder's weights."""
    return frozen["decoder"]
