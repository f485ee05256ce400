"""The student's restoration: encode, one step of the flow, decode."""

from elir_jax.flow.path import Sampler
from elir_jax.inference.parts import Part, Whole
from elir_jax.methods.autoencoder.parts import decode_part, encode_part
from elir_jax.methods.directflow.networks import Conditioning
from elir_jax.methods.elir.networks import Networks
from elir_jax.methods.elir.parts import LATENTS_AT_ONCE, OVERLAP


def directflow_parts(
    networks: Networks, conditioning: Conditioning, sampler: Sampler, multiple: int
) -> tuple[Part, ...]:
    """The three parts, of parameters by the names that :func:`student_params` gives.

    The flow starts at the posterior mean if ``params`` has an estimator, else at what it sees.
    ``multiple`` must divide the sides of the velocity's input, in latents.
    """

    def encoder(params, frozen):
        return params.get("encoder", frozen["encoder"])

    def flow(params, frozen, seen, eps):
        start = seen
        if "estimator" in params:
            start = networks.estimate(params["estimator"], seen)
        velocity = conditioning.bind(networks.velocity, params, seen)
        return [start, *sampler.states(velocity, start, eps)]

    noisy = "start_noisy" if sampler.noise else ""
    return (
        encode_part(networks.encode, encoder),
        Part(
            "flow",
            flow,
            Whole(multiple, OVERLAP, LATENTS_AT_ONCE),
            noisy=True,
            shows=("start", noisy, *sampler.steps),
            through=("decode",),
        ),
        decode_part(networks.decode, lambda params, frozen: frozen["decoder"]),
    )
