"""Restoration of pictures of any size, with bounded memory (Algorithm 1, in three programs).

Encoder and decoder run in windows and leave no seams (:mod:`elir_jax.inference.windows`). Estimator
and velocity, whose normalisation sees the whole picture, run once on the whole latent, which is 64
times smaller. Only where that is too large too, they run in windows that blend. A picture is padded
by mirroring to one of few sizes, so that few programs are compiled, and cut back afterwards.
"""

import contextlib
import ctypes
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from elir_jax.flow.solvers import euler_trajectory
from elir_jax.inference.noise import picture_key
from elir_jax.inference.windows import (
    OnWindows,
    Plan,
    Stored,
    blend_in_windows,
    decode_in_windows,
    encode_in_windows,
    plan,
)
from elir_jax.methods.elir.sampler import Sampler
from elir_jax.networks.taesd import FACTOR
from elir_jax.pictures.images import AnyPixels
from elir_jax.types import Latent, Networks, Params

PIXELS_AT_ONCE = 1024 * 1024  # in the encoder and the decoder, on a device
LATENTS_AT_ONCE = 1024 * 640  # in the estimator and the U-Net, on a device
OVERLAP = 32  # latents that blended windows see beyond the seam between them


class Programs(NamedTuple):
    """The networks over all local devices, from host to host; rows are images or windows."""

    encode: OnWindows
    carry: Callable[[tuple], np.ndarray]  # of (z_lq, eps), as :func:`carry`
    decode: OnWindows
    devices: int


def carry(
    networks: Networks, sampler: Sampler, params: Params, z_lq: Latent, eps: Latent, every: bool
) -> Float[Array, "b s lh lw lc"]:
    """The restored latent; with ``every``, those of ``sampler.latents``, the last restored."""
    z_mmse = networks.estimate(params["estimator"], z_lq)
    z_0 = sampler.source(z_mmse, eps)
    states = euler_trajectory(
        lambda z, t: networks.velocity(params["velocity"], z, t), z_0, sampler.num_steps
    )
    found = sampler.latents(z_mmse, z_0, list(states)) if every else [states[-1]]
    return jnp.stack(found, axis=1)


def padded_side(pixels: int, factor: int) -> int:
    """The side that a picture's is padded to: ``factor`` times 1 to 8, or four sizes an octave."""
    step = factor
    while pixels > 8 * step:
        step *= 2
    return -(-pixels // step) * step


def restore_any_size(
    programs: Programs, images: Sequence[Stored], seed: int, factor: int, batch: int
) -> list[list[AnyPixels]]:
    """Each image's restorations, one a latent of ``programs.carry``; images share a padded size.

    Images are floats in [0, 1], or integers that stand for them; results are not clipped.
    ``factor`` divides the padded sides. The noise is a field over the padded picture that follows
    from its pixels and the seed. The programs are those for ``batch`` images, however many there
    are.
    """
    sides = {tuple(padded_side(n, factor) // FACTOR for n in image.shape[:2]) for image in images}
    (height, width), = sides  # fmt: skip
    windows = plan(height, width, PIXELS_AT_ONCE // FACTOR**2)
    at_once = _at_once(programs.devices, PIXELS_AT_ONCE // FACTOR**2, windows, batch)
    z_lq = encode_in_windows(programs.encode, images, windows, at_once)

    if height * width * FACTOR**2 > PIXELS_AT_ONCE:
        _give_back()
    eps = np.empty_like(z_lq)
    for noise, image in zip(eps, images, strict=True):
        noise[:] = jax.random.normal(picture_key(seed, image), noise.shape)
    whole = plan(height, width, LATENTS_AT_ONCE, OVERLAP, factor // FACTOR)
    latents = blend_in_windows(
        programs.carry, z_lq, eps, whole, _at_once(programs.devices, LATENTS_AT_ONCE, whole, batch)
    )

    sizes = [image.shape[:2] for image in images]
    stages = [
        decode_in_windows(programs.decode, latents[:, stage], windows, at_once, sizes)
        for stage in range(latents.shape[1])
    ]
    return [list(image) for image in zip(*stages, strict=True)]


def _give_back() -> None:
    """Give freed memory back to the system: glibc keeps what a program's temporaries took."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _at_once(devices: int, most: int, plan: Plan, batch: int) -> int:
    """Windows a call: as many as the devices take, of which no call has none."""
    height, width = plan.window
    total = batch * len(plan.rows) * len(plan.columns)
    calls = -(-total // (devices * max(1, most // (height * width))))
    return -(-total // calls)
