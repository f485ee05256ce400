"""The two parts of an autoencoder; TAESD's are local. ELIR begins and ends with them."""

from collections.abc import Callable
from fractions import Fraction

from elir_jax.inference.parts import Local, Part, Whole
from elir_jax.networks.taesd import FACTOR, HALO
from elir_jax.types import Image, Latent, Params

PIXELS_AT_ONCE = 1024 * 1024  # in either network, on each device
Reach = Local | Whole  # of encoder and decoder
LOCAL = Local(HALO, PIXELS_AT_ONCE // FACTOR**2)


def encode_part(
    encode: Callable[[Params, Image], Latent],
    encoder: Callable[[Params, Params], Params],
    name: str = "encode",
    reach: Reach = LOCAL,
) -> Part:
    """The part image -> latent; ``encoder(params, frozen)`` chooses its weights."""

    def apply(params, frozen, x, eps):
        return [encode(encoder(params, frozen), x)]

    return Part(name, apply, reach, Fraction(1, FACTOR))


def decode_part(
    decode: Callable[[Params, Latent], Image],
    decoder: Callable[[Params, Params], Params],
    reach: Reach = LOCAL,
) -> Part:
    """The part latent -> image; ``decoder(params, frozen)`` chooses its weights."""

    def apply(params, frozen, z, eps):
        return [decode(decoder(params, frozen), z)]

    return Part("decode", apply, reach, Fraction(FACTOR))


def autoencoder_parts(
    encode: Callable[[Params, Image], Latent],
    decode: Callable[[Params, Latent], Image],
    reach: Reach = LOCAL,
) -> tuple[Part, ...]:
    """Encode and decode, the latter with trained weights."""
    return (
        encode_part(encode, encoder_of, reach=reach),
        decode_part(decode, lambda params, frozen: params["decoder"], reach),
    )


def encoder_of(params: Params, frozen: Params) -> Params:
    """The encoder's weights; they are frozen if only the decoder is trained."""
    return (params if "encoder" in params else frozen)["encoder"]
