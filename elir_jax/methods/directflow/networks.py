"""A frozen teacher and its one-step student as pure functions, and what the student trains.

The student's velocity is the teacher's with low-rank adapters (``lora``), a copy of it
(``velocity``), or the teacher's itself. Beside it there may be a token (``adapter``) and a spatial
encoder (``control``) of the degraded picture. Adapters are merged into the kernels inside the
objective, so that gradients have the adapters' size when devices exchange them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.flow.path import Velocity
from elir_jax.methods.elir.networks import Networks as Elir
from elir_jax.methods.pmrf.networks import Networks as Pmrf
from elir_jax.methods.pmrf.networks import variables
from elir_jax.networks.conditioning import describe
from elir_jax.networks.lora import LoRA
from elir_jax.networks.taesd import CLAMP
from elir_jax.types import Image, Params, Time

State = Float[Array, "b h w c"]
TEACHER = "teacher"  # the frozen subtree of the teacher's networks


class Given(NamedTuple):
    """What a degraded picture gives: what the student sees of it, and the posterior mean."""

    seen: State
    mean: State


class Networks(NamedTuple):
    """Teacher, student and autoencoder; ``encode`` and ``decode`` take the frozen parameters."""

    given: Callable[[Params, Image], Given]  # of the frozen parameters
    teacher: Callable[[Params, State, Time], State]  # velocity, of the frozen parameters
    student: Callable[[Params, Params, State], Velocity]  # of (trained, frozen, seen)
    encode: Callable[[Params, Image], State]
    decode: Callable[[Params, State], Image]
    limits: tuple[float, float]  # of clean states


class Conditioning(NamedTuple):
    """The parts of a student that see the degraded picture; None: it has no such part."""

    adapter: Callable[[Params, Array], Array] | None = None  # description -> token
    control: Callable[..., list[Array]] | None = None  # (latent, token) -> residuals

    def bind(self, velocity: Callable[..., State], params: Params, seen: State) -> Velocity:
        """The velocity of ``params`` that sees ``seen`` beside its state."""
        token = residuals = None
        if self.adapter is not None:
            token = self.adapter(params["adapter"], describe(seen))
        if self.control is not None:
            residuals = self.control(params["control"], seen, token)
        return lambda z, t: velocity(params["velocity"], z, t, token, residuals)


def student_params(lora: LoRA, params: Params, frozen: Params) -> Params:
    """Parameters by name that the student's velocity and conditioning compute with."""
    found = {
        name: {**frozen, **params}[name]
        for name in ("velocity", "adapter", "control")
        if name in params or name in frozen
    }
    if "velocity" in found:
        return found
    base = frozen[TEACHER]["velocity"]
    return found | {"velocity": lora.merge(base, params["lora"]) if "lora" in params else base}


def distilled_elir(
    elir: Elir, lora: LoRA, conditioning: Conditioning, sees_degraded: bool
) -> Networks:
    """Teacher and student of ELIR's networks.

    The student sees what the teacher's encoder makes of the degraded picture; or, if
    ``sees_degraded``, what the frozen encoder does. Of a teacher whose posterior mean is one of
    pixels, it sees that mean, encoded.
    """

    def given(frozen, x):
        taught = frozen[TEACHER]
        if elir.reach is not None:
            mean = jnp.clip(elir.estimate(taught["estimator"], x), 0, 1)
            z = elir.encode(frozen["encoder"], mean)
            return Given(z, z)
        z = elir.encode(taught["encoder"], x)
        seen = elir.encode(frozen["encoder"], x) if sees_degraded else z
        return Given(seen, elir.estimate(taught["estimator"], z))

    def student(params, frozen, seen):
        return conditioning.bind(elir.velocity, student_params(lora, params, frozen), seen)

    return Networks(
        given,
        lambda frozen, z, t: elir.velocity(frozen[TEACHER]["velocity"], z, t),
        student,
        encode=lambda frozen, x: elir.encode(frozen["encoder"], x),
        decode=lambda frozen, z: elir.decode(frozen["decoder"], z),
        limits=(-CLAMP, CLAMP),
    )


def distilled_pmrf(
    pmrf: Pmrf,
    decode: Callable[[Params, State], Image],
    lora: LoRA,
    limits: tuple[float, float],
) -> Networks:
    """Teacher and student of PMRF's networks, which see nothing but the posterior mean."""

    def given(frozen, x):
        mean = jnp.clip(pmrf.estimate(frozen["estimator"], x, None), 0, 1)
        mean = pmrf.encode(frozen, mean)
        return Given(mean, mean)

    def velocity(weights, frozen, z, t):
        return pmrf.velocity(variables(weights, frozen), z, t)

    def student(params, frozen, seen):
        weights = student_params(lora, params, frozen)
        return lambda z, t: velocity(weights, frozen, z, t)

    return Networks(
        given,
        lambda frozen, z, t: velocity(frozen[TEACHER], frozen, z, t),
        student,
        encode=pmrf.encode,
        decode=decode,
        limits=limits,
    )
