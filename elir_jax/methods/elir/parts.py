"""ELIR's restoration (Algorithm 1): encode, posterior mean, flow, decode.

An estimator of pixels comes first, and the encoder sees its estimate. Then the restoration is the
estimate with the flow's change added, ``x_mmse + w (D(z_1) - D(E(x_mmse)))``, so that what the
autoencoder cannot keep is not lost: where the flow changes nothing, the estimate stays as it is.
"""

import jax.numpy as jnp

from elir_jax.flow.path import Sampler
from elir_jax.inference.parts import Local, Part, Whole
from elir_jax.methods.autoencoder.parts import decode_part, encode_part
from elir_jax.methods.elir.networks import Networks

LATENTS_AT_ONCE = 1024 * 640  # in the estimator and the U-Net, on each device
OVERLAP = 32  # latents that blended windows see beyond the seam between them
PIXELS_AT_ONCE = 2048 * 2048  # where pictures are only added


def elir_parts(networks: Networks, sampler: Sampler, multiple: int) -> tuple[Part, ...]:
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
    return encode, mean, _flow(networks, sampler, whole, ("decode",)), decode


def _in_pixels(networks: Networks, sampler: Sampler, multiple: int) -> tuple[Part, ...]:
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
        _flow(networks, sampler, whole, through),
        decode_part(networks.decode, _decoder)._replace(apply=change, also="encode"),
        Part("add", add, Local(0, PIXELS_AT_ONCE), also="posterior_mean"),
    )


def _flow(networks: Networks, sampler: Sampler, whole: Whole, through: tuple[str, ...]) -> Part:
    def flow(params, frozen, z, eps):
        return sampler.states(lambda z, t: networks.velocity(params["velocity"], z, t), z, eps)

    noisy = "latent_mmse_noisy" if sampler.noise else ""
    return Part("flow", flow, whole, noisy=True, shows=(noisy, *sampler.steps), through=through)


def _decode_between(networks: Networks, fidelity: float) -> Part:
    """Decodes both ends of the line and gives the point at ``fidelity`` between them."""

    def decode(params, frozen, both, eps):
        end, start = (networks.decode(_decoder(params, frozen), z) for z in both)
        return [start + fidelity * (end - start)]

    return decode_part(networks.decode, _decoder)._replace(apply=decode, also="posterior_mean")


def _decoder(params, frozen):
    return frozen["decoder"]


def _frozen_encoder(params, frozen):
    return frozen["encoder"]


def target_part(networks: Networks) -> Part:
    """The frozen encoder, original -> ``z_hq``: the flow's target."""
    return encode_part(networks.encode, _frozen_encoder, "target")
