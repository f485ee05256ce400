"""Every degradation of the host with its counterpart on the device.

A counterpart is two pure functions of one picture: ``draw(key)`` gives the parameters, a NamedTuple
of arrays, and ``apply(parameters, key, x_hq)`` the degraded picture; its key draws the arrays of
the picture's shape: noise and masks. Both work under ``jax.jit`` and ``jax.vmap``, with one key for
each sample.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float32, Key

from elir_jax.data.degradations.blind_face_restoration import BlindFaceRestoration
from elir_jax.data.degradations.blind_super_resolution import BlindSuperResolution
from elir_jax.data.degradations.tasks import (
    Colorization,
    Denoising,
    Identity,
    Inpainting,
    SuperResolution,
)
from elir_jax.device_degradations import blind_face_restoration, blind_super_resolution, simple

Picture = Float32[Array, "h w 3"]
Parameters = Any  # a NamedTuple of arrays; each degradation has its own


class DeviceDegradation(NamedTuple):
    """A degradation on the device, for one float32 picture in [0, 1]."""

    draw: Callable[[Key[Array, ""]], Parameters]
    apply: Callable[[Parameters, Key[Array, ""], Picture], Picture]


COUNTERPARTS = {
    BlindFaceRestoration: (blind_face_restoration.draw, blind_face_restoration.apply),
    BlindSuperResolution: (blind_super_resolution.draw, blind_super_resolution.apply),
    Colorization: (simple.draw_nothing, simple.colorization),
    Denoising: (simple.draw_deviation, simple.denoising),
    Identity: (simple.draw_nothing, simple.identity),
    Inpainting: (simple.draw_nothing, simple.inpainting),
    SuperResolution: (simple.draw_nothing, simple.super_resolution),
}


def on_device(settings: Any) -> DeviceDegradation:
    """The counterpart of a degradation of ``elir_jax.data``. Raises TypeError if it has none."""
    if type(settings) not in COUNTERPARTS:
        raise TypeError(f"{type(settings).__name__} has no counterpart on the device")
    draw, apply = COUNTERPARTS[type(settings)]
    return DeviceDegradation(functools.partial(draw, settings), functools.partial(apply, settings))


def degrade(degradation: DeviceDegradation, key: Key[Array, ""], x_hq: Picture) -> Picture:
    """Draw parameters and noise from the sample's ``key``, and degrade ``x_hq``."""
    parameters_key, noise_key = jax.random.split(key)
    return degradation.apply(degradation.draw(parameters_key), noise_key, x_hq)
