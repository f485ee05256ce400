"""Array types and the batch, with the names that every other file uses.

Glossary (the paper's symbols, https://arxiv.org/abs/2502.03500):

=============  ==========================================================================
``x``          pixels, RGB in [0, 1], NHWC; ``x_hq`` the original, ``x_lq`` the degraded
``z``          latents, NHWC at 1/8 of the pixels; ``z_hq = E(x_hq)``, ``z_lq = E_w(x_lq)``
``z_mmse``     the estimate of the posterior mean, ``g_phi(z_lq)``
``t``, ``r``   flow time in [0, 1]; ``r = t + dt``
``z_t``        the path's point at ``t``; ``z_0 = z_mmse + sigma_s * eps``, ``z_1 = z_hq``
``v``          velocity, ``v_theta(z_t, t)``
``K``, ``M``   segments of the consistency loss; Euler steps of the sampler
=============  ==========================================================================
"""

from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int, Key, UInt8, UInt32

Image = Float[Array, "b h w 3"]
Latent = Float[Array, "b lh lw lc"]
Time = Float[Array, " b"]
SampleKeys = Key[Array, " b"]
Scalar = Float[Array, ""]
Step = Int[Array, ""]  # steps made so far, skipped ones included
Params = Any  # a tree of arrays, as flax.linen makes it


class Batch(NamedTuple):
    """Training pairs, with the numbers that make each one reproducible.

    Images travel to the device as 8-bit levels where they are (``elir_jax.training.step.as_sent``).
    ``extra`` holds any further arrays of a method's data, by name, with one row for each pair.
    """

    x_hq: Image
    x_lq: Image
    record: Int[Array, " b"]  # number of the photograph in its source, to name it in messages
    slot: Int[Array, " b"]  # place in the global batch: seeds the sample's own noise
    extra: dict[str, Array] = {}


class Originals(NamedTuple):
    """What the host sends if the device degrades: 8-bit originals, each with random bits."""

    pixels: UInt8[Array, "b h w 3"]  # windows to degrade; the pairs are cut out of them
    bits: UInt32[Array, "b 2"]  # the key of the sample's degradation, from (seed, sample's number)
    record: Int[Array, " b"]  # as in Batch
    slot: Int[Array, " b"]


Sent = Batch | Originals  # what a host sends to its devices
