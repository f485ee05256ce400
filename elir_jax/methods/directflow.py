"""The method directflow: a one-step student of a frozen flow, of each method that can teach.

Objective and student are those of :mod:`elir_jax.methods.distillation`. The restoration is encode,
one step of the flow, decode; or the teacher's parts, for a teacher whose posterior mean is one of
pixels.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elir_jax.errors import UserError
from elir_jax.fields import Config, choose, make, plain, sizes
from elir_jax.flow.path import Sampler
from elir_jax.inference.parts import Part, Whole
from elir_jax.methods import elir, pmrf, posterior_mean
from elir_jax.methods.autoencoder import build_autoencoder, decode_part, encode_part
from elir_jax.methods.distillation import (
    TEACHER,
    Conditioning,
    Distillation,
    Distilled,
    StudentInput,
    Teacher,
    distillation_objective,
    distilled_elir,
    distilled_pmrf,
    student_params,
)
from elir_jax.methods.latent_pmrf import (
    LATENTS,
    build_velocity,
    latent_pmrf_parts,
    latent_target_part,
)
from elir_jax.methods.method import Method
from elir_jax.networks.applying import apply_fn, variables_fn
from elir_jax.networks.conditioning import KINDS, adapter_of, copied, describe, spatial_encoder_of
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.initializing import initialize
from elir_jax.networks.lora import LoRA
from elir_jax.networks.swinir import FACTOR
from elir_jax.networks.taesd import CLAMP
from elir_jax.networks.taesd import FACTOR as PIXELS
from elir_jax.networks.unet import UNet
from elir_jax.networks.winograd import transform_kernels
from elir_jax.types import Params

STAGES = ("a", "b", "full")
PLAIN = "input=mmse, adapter=none and control=False"
LEAST = 8  # latents a side, to draw untrained parameters with


class Settings(NamedTuple):
    """The sections of the configuration that name no network, as objects."""

    teacher: Teacher
    start: StudentInput
    objective: Distillation
    lora: LoRA
    sampler: Sampler


def settings_of(config: Config) -> Settings:
    """Raises UserError for a student that cannot be trained."""
    _check_student(config)
    teacher = make(Teacher, "teacher", _fields(config.teacher, "num_steps", "sigma_s", "bridge"))
    chosen = Settings(
        teacher,
        make(StudentInput, "student", _fields(config.student, "input", "share_noise")),
        make(Distillation, "objective", config.objective),
        make(LoRA, "student", _fields(config.student, "rank", "alpha", "targets")),
        make(Sampler, "sampler", config.sampler, sigma_s=teacher.sigma_s),
    )
    pmrf.check_whole(chosen.sampler)
    if chosen.sampler.num_steps != 1:
        raise UserError(
            f"--config.sampler.num_steps={chosen.sampler.num_steps}: a student takes 1 step"
        )
    if chosen.sampler.noise != chosen.start.share_noise:
        raise UserError(
            f"--config.sampler.noise={chosen.sampler.noise}: must be that of --config.student."
            f"share_noise={chosen.start.share_noise}, with which the student is trained"
        )
    return chosen


def init_student(config: Config, chosen: Settings, key: jax.Array, base: Params) -> Params:
    """What a fresh student trains of the velocity ``base``, by name."""
    if config.student.stage == "b":
        return {"lora": chosen.lora.init(key, base)}
    return {"velocity": jax.tree.map(jnp.copy, base)} if config.student.stage == "full" else {}


def check_unconditioned(config: Config) -> None:
    """Raise UserError for what only a student of ELIR can have."""
    student = config.student
    for field, value in (("input", "mmse"), ("adapter", "none"), ("control", False)):
        if student[field] != value:
            raise UserError(
                f"--config.student.{field}={student[field]}: only a student of elir can have it; "
                f"set {field}={value}"
            )


def _fields(section: Config, *names: str) -> dict:
    return {name: section[name] for name in names}


def _check_student(config: Config) -> None:
    student = config.student
    for field, known in (("stage", STAGES), ("adapter", KINDS)):
        if student[field] not in known:
            raise UserError(
                f"--config.student.{field}={student[field]}: unknown; one of {', '.join(known)}"
            )
    if student.stage == "a" and student.adapter == "none" and not student.control:
        raise UserError("--config.student.stage=a: trains the adapter or control; switch one on")
    if student.stage == "b" and student.control and not student.weights:
        raise UserError(
            "--config.student.control=True: stage b does not train it; name the run of stage a "
            "with --config.student.weights=WORKDIR, or set control=False"
        )


def build_elir_student(config: Config) -> Method:
    """A student of ``elir``, which may see the degraded picture besides.

    That of a teacher whose posterior mean is one of pixels sees the mean alone, and restores by the
    parts of its teacher.
    """
    chosen = settings_of(config)
    pixels = elir.in_pixels(config)
    if pixels:
        _check_plain(config, f"estimator.kind={config.estimator.kind}")
    autoencoder = build_autoencoder(config)
    estimator, velocity = elir.latent_networks(config, autoencoder.dtype)
    trained, restoring = elir.build_networks(config)
    form = elir.inference_form(autoencoder.dtype)
    conditions = _conditions(config, velocity)

    def draw_teacher(key):
        first, second, third = jax.random.split(key, 3)
        channels = autoencoder.latent_channels
        latent = elir.init_estimator(second, channels, estimator)
        return autoencoder.init(first) | latent | elir.init_velocity(third, channels, velocity)

    def init(key, start):
        first, second, third, fourth = jax.random.split(key, 4)
        frozen = start("autoencoder", lambda: autoencoder.init(first))
        taught = start("teacher", lambda: draw_teacher(second))
        frozen["decoder"] = taught.pop("decoder")
        base = taught["velocity"]
        params = start("student", lambda: conditions.init(third, autoencoder.latent_channels, base))
        if config.student.stage == "b" and "control" in params:
            frozen["control"] = params.pop("control")
        params |= init_student(config, chosen, fourth, base)
        return params, frozen | {TEACHER: taught}

    def for_inference(params: Params, frozen: Params) -> Params:
        found = student_params(chosen.lora, params, frozen)
        if pixels:
            found["estimator"] = frozen[TEACHER]["estimator"]
        elif chosen.start.input == "mmse":
            found |= {name: frozen[TEACHER][name] for name in ("encoder", "estimator")}
        if form == "plain":
            return found
        latent = ("velocity",) if pixels else ("velocity", "estimator")
        return {n: transform_kernels(tree) if n in latent else tree for n, tree in found.items()}

    networks = distilled_elir(trained, chosen.lora, conditions.parts, chosen.start.input == "lq")
    if pixels:
        parts = elir.elir_parts(restoring, chosen.sampler, velocity.factor)
    else:
        parts = directflow_parts(restoring, conditions.parts, chosen.sampler, velocity.factor)
    return Method(
        init=init,
        objective=distillation_objective(networks, chosen.teacher, chosen.start, chosen.objective),
        for_inference=for_inference,
        parts=parts,
        target=elir.target_part(restoring),
        alone=lambda given: _as_elir(config, chosen.lora, given),
    )


class Conditions(NamedTuple):
    """The student's conditioning, and how it starts."""

    parts: Conditioning
    init: Callable[..., Params]  # (key, channels, the velocity's parameters) -> by name


def _conditions(config: Config, velocity: UNet) -> Conditions:
    kind, has_control = config.student.adapter, config.student.control
    adapter, control = adapter_of(velocity, kind), spatial_encoder_of(velocity)
    dtype = velocity.dtype

    def init(key, channels, base):
        first, second = jax.random.split(key)
        z, params = jax.ShapeDtypeStruct((1, LEAST, LEAST, channels), jnp.float32), {}
        if kind != "none":
            description = jax.eval_shape(describe, z).shape
            params["adapter"] = initialize(adapter, first, description)["params"]
        if has_control:
            params["control"] = copied(initialize(control, second, z.shape)["params"], base)
        return params

    return Conditions(
        Conditioning(
            apply_fn(adapter, dtype) if kind != "none" else None,
            apply_fn(control, dtype) if has_control else None,
        ),
        init,
    )


def directflow_parts(
    networks: elir.ElirNetworks, conditioning: Conditioning, sampler: Sampler, multiple: int
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
            Whole(multiple, elir.OVERLAP, elir.LATENTS_AT_ONCE),
            noisy=True,
            shows=("start", noisy, *sampler.steps),
            through=("decode",),
        ),
        decode_part(networks.decode, lambda params, frozen: frozen["decoder"]),
    )


def _as_elir(config: Config, lora: LoRA, given: Params) -> tuple[dict, Params]:
    """The ELIR of one step that a student without conditioning is. Raises UserError for others."""
    if not _is_plain(config):
        raise UserError(
            f"only a student with {PLAIN} is a model by itself; restore with the folder of this run"
        )
    fields = plain(config)
    for section in ("teacher", "student"):
        del fields[section]
    fields |= {
        "method": "elir",
        "objective": dataclasses.asdict(elir.ElirObjective(sigma_s=config.teacher.sigma_s)),
    }
    fields["autoencoder"] |= {"trainable_encoder": not elir.in_pixels(config), "linear": False}
    for section in ("estimator", "velocity"):
        form = {} if section == "estimator" and elir.in_pixels(config) else {"form": "plain"}
        fields[section] |= {"weights": ""} | form
    taught = given[TEACHER]
    params = {"estimator": taught["estimator"], "decoder": given["decoder"]}
    params["encoder"] = (given if elir.in_pixels(config) else taught)["encoder"]
    return fields, params | {"velocity": student_params(lora, given, given)["velocity"]}


def _is_plain(config: Config) -> bool:
    student = config.student
    return student.input == "mmse" and student.adapter == "none" and not student.control


def _check_plain(config: Config, teacher: str) -> None:
    if not _is_plain(config):
        raise UserError(f"--config.student: a teacher with {teacher} needs {PLAIN}")


def build_pmrf_student(config: Config) -> Method:
    """A student of ``pmrf``: estimator and velocity in pixels."""
    chosen = settings_of(config)
    check_unconditioned(config)
    estimator, estimate = posterior_mean.build_estimator(config)
    velocity = make(HDiT, "velocity", sizes(config.velocity), dtype=estimator.dtype)
    posterior_mean.check_size(config, math.lcm(FACTOR, velocity.factor), velocity.least)
    networks = pmrf.PmrfNetworks(estimate, variables_fn(velocity, velocity.dtype))
    flow = pmrf.RectifiedFlow(sigma_s=chosen.teacher.sigma_s)

    def draw(key):
        first, second = jax.random.split(key)
        return posterior_mean.init_estimator(first, estimator) | pmrf.init_velocity(
            second, velocity, pmrf.COLORS
        )

    student = distilled_pmrf(networks, lambda frozen, x: x, chosen.lora, (0.0, 1.0))
    parts = pmrf.pmrf_parts(
        networks, flow, chosen.sampler, posterior_mean.window_of(config.data.size)
    )
    return _method(config, chosen, student, draw, parts, pmrf.target_part())


def build_latent_pmrf_student(config: Config) -> Method:
    """A student of ``latent_pmrf``: estimator in pixels, velocity in an autoencoder's latents.

    Raises UserError for an estimator in latents.
    """
    chosen = settings_of(config)
    check_unconditioned(config)
    if config.estimator.get("kind", "swinir") != "swinir":
        raise UserError(
            f"--config.estimator.kind={config.estimator.kind}: only a teacher whose posterior mean "
            f"is an image can be distilled; use kind=swinir"
        )
    estimator, estimate = posterior_mean.build_estimator(config)
    kind = config.autoencoder.kind
    latents = choose(LATENTS, "autoencoder.kind", kind)(config)
    autoencoder, encode, decode = latents.autoencoder, latents.encode, latents.decode
    velocity = build_velocity(config)
    posterior_mean.check_size(
        config, math.lcm(FACTOR, PIXELS * velocity.factor), PIXELS * velocity.least
    )
    networks = pmrf.PmrfNetworks(
        estimate,
        variables_fn(velocity, velocity.dtype),
        lambda frozen, x: encode(frozen["encoder"], x),
    )
    flow = pmrf.RectifiedFlow(sigma_s=chosen.teacher.sigma_s)

    def draw(key):
        first, second, third = jax.random.split(key, 3)
        return (
            autoencoder.init(third)
            | posterior_mean.init_estimator(first, estimator)
            | pmrf.init_velocity(second, velocity, autoencoder.latent_channels)
        )

    limit = CLAMP if kind == "taesd" else math.inf
    student = distilled_pmrf(
        networks, lambda frozen, z: decode(frozen["decoder"], z), chosen.lora, (-limit, limit)
    )
    windows = (
        posterior_mean.window_of(config.data.size),
        posterior_mean.window_of(config.data.size // PIXELS),
    )
    parts = latent_pmrf_parts(
        networks, encode, decode, flow, chosen.sampler, *windows, latents.reach
    )
    return _method(config, chosen, student, draw, parts, latent_target_part(encode, latents.reach))


def _method(
    config: Config,
    chosen: Settings,
    networks: Distilled,
    draw: Callable[[jax.Array], Params],
    parts: tuple[Part, ...],
    target: Part,
) -> Method:
    """The method of a student whose teacher has PMRF's networks; ``draw`` gives them untrained."""

    def init(key, start):
        first, second = jax.random.split(key)
        frozen = start("teacher", lambda: draw(first))
        taught = {"velocity": frozen.pop("velocity")}
        return init_student(config, chosen, second, taught["velocity"]), frozen | {TEACHER: taught}

    return Method(
        init=init,
        objective=distillation_objective(networks, chosen.teacher, chosen.start, chosen.objective),
        for_inference=lambda params, frozen: student_params(chosen.lora, params, frozen),
        parts=parts,
        target=target,
    )


TEACHERS = {
    "elir": build_elir_student,
    "latent_pmrf": build_latent_pmrf_student,
    "pmrf": build_pmrf_student,
}


def build_directflow(config: Config) -> Method:
    """The student is trained; the teacher and the autoencoder are frozen."""
    return choose(TEACHERS, "teacher.method", config.teacher.method)(config)
