"""One-step distillation of the transported posterior mean (DirectFlow), whoever the teacher is.

A frozen teacher carries ``z_0 = mean + sigma_s eps`` to ``z_1`` in M Euler steps. That end is the
only target: originals are not regressed. The student takes one step,
``z = z_in + v(z_in, 0)``, and learns

``latent |z - z_1|^2 + l1 |D(z) - x_1| + perceptual P(D(z), x_1) + sgcl |z - clean(z)|^2``

(equation 6; P is the L1 distance of the pictures' differences). A weight of 0 leaves a term and its
computation out. The source noise is shared by teacher and student, so the target is a function of
the student's input; otherwise the student could at best learn the mean over the noise, which is
blurred. Only the student has a gradient.

The student's velocity is the teacher's with low-rank adapters (``lora``), a copy of it
(``velocity``), or the teacher's itself. Beside it there may be a token (``adapter``) and a spatial
encoder (``control``) of the degraded picture. Adapters are merged into the kernels inside the
objective, so that gradients have the adapters' size when devices exchange them.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.flow.losses import (
    clean_estimate,
    gradient_l1,
    mean_absolute_error,
    mean_squared_error,
    score_guidance,
)
from elir_jax.flow.path import State, Velocity, euler_trajectory
from elir_jax.methods.elir import ElirNetworks
from elir_jax.methods.pmrf import PmrfNetworks, variables
from elir_jax.networks.conditioning import describe
from elir_jax.networks.lora import LoRA
from elir_jax.networks.taesd import CLAMP
from elir_jax.ranges import check_ascending, check_fields, check_weights
from elir_jax.types import Batch, Image, Params, SampleKeys, Scalar, Step, Time

TEACHER = "teacher"  # the frozen subtree of the teacher's networks


class Given(NamedTuple):
    """The student's input and the posterior mean, of a degraded picture."""

    seen: State
    mean: State


class Distilled(NamedTuple):
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
    elir: ElirNetworks, lora: LoRA, conditioning: Conditioning, sees_degraded: bool
) -> Distilled:
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

    return Distilled(
        given,
        lambda frozen, z, t: elir.velocity(frozen[TEACHER]["velocity"], z, t),
        student,
        encode=lambda frozen, x: elir.encode(frozen["encoder"], x),
        decode=lambda frozen, z: elir.decode(frozen["decoder"], z),
        limits=(-CLAMP, CLAMP),
    )


def distilled_pmrf(
    pmrf: PmrfNetworks,
    decode: Callable[[Params, State], Image],
    lora: LoRA,
    limits: tuple[float, float],
) -> Distilled:
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

    return Distilled(
        given,
        lambda frozen, z, t: velocity(frozen[TEACHER], frozen, z, t),
        student,
        encode=pmrf.encode,
        decode=decode,
        limits=limits,
    )


@dataclasses.dataclass(frozen=True)
class Teacher:
    """How the teacher makes the target. Raises ValueError if a value is out of range.

    ``bridge`` pixel decodes, clips and encodes its end, as a teacher in pixels needs it (the
    paper's); latent takes the end itself.
    """

    num_steps: int = 25  # M
    sigma_s: float = 0.1  # of the source noise that it was trained with, in units of the state
    bridge: str = "latent"

    def __post_init__(self):
        check_fields(self, num_steps="[1, inf)", sigma_s="[0, inf)", bridge=("latent", "pixel"))


@dataclasses.dataclass(frozen=True)
class StudentInput:
    """Where the student starts: ``mmse`` the posterior mean, ``lq`` the encoded degraded picture.

    With ``share_noise`` it has the teacher's source noise besides.
    """

    input: str = "mmse"
    share_noise: bool = True

    def __post_init__(self):
        check_fields(self, input=("mmse", "lq"))


@dataclasses.dataclass(frozen=True)
class Distillation:
    """Weights of the terms and how SGCL asks the teacher. Raises ValueError if out of range.

    ``sgcl_source``: what is mixed with the student's result. ``start`` is the sample's own start of
    the teacher, ``fresh`` the posterior mean with other noise, ``noise`` unit noise (equation 7 to
    the letter, where a flow that starts at posterior means was never trained).
    """

    latent: float = 1.0
    l1: float = 0.0
    perceptual: float = 0.0
    sgcl: float = 0.0
    band: tuple[float, float] = (0.05, 0.2)  # of SGCL's times
    sgcl_probability: float = 0.25  # that a sample has the term
    sgcl_source: str = "start"
    sgcl_space: str = "latent"  # or "pixel": both are decoded, the estimate is clipped
    pixel_target: str = "teacher"  # x_1 is the teacher's picture; or "hq": the original

    def __post_init__(self):
        check_fields(
            self,
            band="(0, 1)",
            sgcl_probability="(0, 1]",
            sgcl_source=("start", "fresh", "noise"),
            sgcl_space=("latent", "pixel"),
            pixel_target=("teacher", "hq"),
        )
        check_ascending(self, "band")
        check_weights(self, "latent", "l1", "perceptual", "sgcl")


class Draw(NamedTuple):
    """The random numbers of the loss, one row a sample; ``u`` and ``s`` are uniform in [0, 1)."""

    eps: State  # source noise
    u: Float[Array, " b"]  # place of SGCL's time in its band
    s: Float[Array, " b"]  # below the probability: the sample has the term
    eps2: State  # noise of SGCL's source


def draw(keys: SampleKeys, shape: tuple[int, int, int]) -> Draw:
    """From each sample's own key, so that they do not depend on other samples."""

    def one(key):
        first, second, third, fourth = jax.random.split(key, 4)
        return (
            jax.random.normal(first, shape),
            jax.random.uniform(second),
            jax.random.uniform(third),
            jax.random.normal(fourth, shape),
        )

    return Draw(*jax.vmap(one)(keys))


class Transported(NamedTuple):
    """The teacher's start, where one Euler step leads from it, and its end after M steps."""

    z_0: State
    one_step: State
    z_1: State


def transport(networks: Distilled, teacher: Teacher, frozen: Params, mean, eps) -> Transported:
    """Run the teacher from the posterior mean with noise ``eps``; nothing here has a gradient."""
    frozen, z_0 = jax.lax.stop_gradient((frozen, mean + teacher.sigma_s * eps))
    states = euler_trajectory(lambda z, t: networks.teacher(frozen, z, t), z_0, teacher.num_steps)
    one_step = z_0 + teacher.num_steps * (states[0] - z_0)
    z_1 = states[-1]
    if teacher.bridge == "pixel":
        z_1 = networks.encode(frozen, jnp.clip(networks.decode(frozen, z_1), 0, 1))
    return Transported(z_0, one_step, jax.lax.stop_gradient(z_1))


def distillation_loss(
    networks: Distilled,
    teacher: Teacher,
    start: StudentInput,
    objective: Distillation,
    params: Params,
    frozen: Params,
    x_hq: Image,
    x_lq: Image,
    noise: Draw,
) -> tuple[Scalar, dict[str, Scalar]]:
    """Loss and its terms by name, for given noise.

    ``teacher_gap`` is the squared distance that one Euler step of the teacher leaves to its end:
    ``latent / teacher_gap`` is the share of the transport that is not learned yet.
    """
    given = jax.lax.stop_gradient(networks.given(frozen, x_lq))
    end = transport(networks, teacher, frozen, given.mean, noise.eps)
    z_in = given.seen if start.input == "lq" else given.mean
    if start.share_noise:
        z_in = z_in + teacher.sigma_s * noise.eps
    velocity = networks.student(params, frozen, given.seen)
    z = z_in + velocity(z_in, jnp.zeros(len(z_in)))

    terms = {
        "latent": mean_squared_error(z, end.z_1),
        "teacher_gap": mean_squared_error(end.one_step, end.z_1),
    }
    loss = objective.latent * terms["latent"]
    if objective.l1 or objective.perceptual:
        x = networks.decode(frozen, z)
        x_1 = jnp.clip(networks.decode(frozen, end.z_1), 0, 1)
        x_1 = x_hq if objective.pixel_target == "hq" else jax.lax.stop_gradient(x_1)
        terms |= {"l1": mean_absolute_error(x, x_1), "perceptual": gradient_l1(x, x_1)}
        loss += objective.l1 * terms["l1"] + objective.perceptual * terms["perceptual"]
    if objective.sgcl:
        terms["sgcl"] = guidance(networks, teacher, objective, frozen, z, given, end.z_0, noise)
        loss += objective.sgcl * terms["sgcl"]
    return loss, terms


def guidance(
    networks: Distilled,
    teacher: Teacher,
    objective: Distillation,
    frozen: Params,
    z: State,
    given: Given,
    z_0: State,
    noise: Draw,
) -> Scalar:
    """SGCL of the student's result ``z``, for the samples that the draw chooses."""
    low, high = objective.band
    sources = {
        "start": lambda: z_0,
        "fresh": lambda: given.mean + teacher.sigma_s * noise.eps2,
        "noise": lambda: noise.eps2,
    }
    clean = clean_estimate(
        lambda q, t: networks.teacher(frozen, q, t),
        z,
        sources[objective.sgcl_source](),
        low + (high - low) * noise.u,
        networks.limits,
    )
    if objective.sgcl_space == "pixel":
        z = networks.decode(frozen, z)
        clean = jax.lax.stop_gradient(jnp.clip(networks.decode(frozen, clean), 0, 1))
    return score_guidance(z, clean, noise.s < objective.sgcl_probability)


def distillation_objective(
    networks: Distilled, teacher: Teacher, start: StudentInput, objective: Distillation
):
    """The objective in the form that the train step calls."""

    def loss_fn(
        params: Params, ema: Params, frozen: Params, batch: Batch, keys: SampleKeys, step: Step
    ) -> tuple[Scalar, dict[str, Scalar]]:
        shape = jax.eval_shape(networks.given, frozen, batch.x_lq).mean.shape[1:]
        return distillation_loss(
            networks, teacher, start, objective,
            params, frozen, batch.x_hq, batch.x_lq, draw(keys, shape),
        )  # fmt: skip

    return loss_fn
