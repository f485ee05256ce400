"""ELIR's restoration (Algorithm 1): encode, posterior mean, flow, decode."""

from elir_jax.flow.sampler import Sampler
from elir_jax.inference.parts import Part, Whole
from elir_jax.methods.autoencoder.parts import decode_part, encode_part
from elir_jax.methods.elir.networks import Networks

LATENTS_AT_ONCE = 1024 * 640  # in the estimator and the U-Net, on each device
OVERLAP = 32  # latents that blended windows see beyond the seam between them


def elir_parts(networks: Networks, sampler: Sampler, multiple: int) -> tuple[Part, ...]:
    """The four parts. ``multiple`` must divide the sides of the velocity's input, in latents."""
    whole = Whole(multiple, OVERLAP, LATENTS_AT_ONCE)

    def posterior_mean(params, frozen, z, eps):
        return [networks.estimate(params["estimator"], z)]

    def flow(params, frozen, z, eps):
        return sampler.states(lambda z, t: networks.velocity(params["velocity"], z, t), z, eps)

    def encoder(params, frozen):
        return params.get("encoder", frozen["encoder"])

    noisy = "latent_mmse_noisy" if sampler.noise else ""
    through = ("decode",)
    return (
        encode_part(networks.encode, encoder),
        Part("posterior_mean", posterior_mean, whole, shows=("latent_mmse",), through=through),
        Part("flow", flow, whole, noisy=True, shows=(noisy, *sampler.steps), through=through),
        decode_part(networks.decode, lambda params, frozen: frozen["decoder"]),
    )


def target_part(networks: Networks) -> Part:
    """The frozen encoder, original -> ``z_hq``: the flow's target."""
    return encode_part(networks.encode, lambda params, frozen: frozen["encoder"], "target")
