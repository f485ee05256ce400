"""The method directflow: a one-step student of a frozen flow."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from elir_jax.compose.autoencoder import build_autoencoder
from elir_jax.compose.elir import build_networks, inference_form, latent_networks
from elir_jax.compose.fields import make
from elir_jax.errors import UserError
from elir_jax.flow.sampler import Sampler
from elir_jax.methods.directflow.networks import (
    TEACHER,
    Conditioning,
    distilled_elir,
    student_params,
)
from elir_jax.methods.directflow.objective import (
    Distillation,
    Start,
    Teacher,
    distillation_objective,
)
from elir_jax.methods.directflow.parts import directflow_parts
from elir_jax.methods.elir.networks import init_estimator, init_velocity
from elir_jax.methods.elir.parts import target_part
from elir_jax.methods.method import Method
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.conditioning import KINDS, adapter_of, copied, describe, spatial_encoder_of
from elir_jax.networks.lora import LoRA
from elir_jax.networks.unet import UNet
from elir_jax.networks.winograd import transform_kernels
from elir_jax.types import Params

STAGES = ("a", "b", "full")
LEAST = 8  # latents a side, to draw untrained parameters with


def build_directflow(config: ConfigDict) -> Method:
    """The student is trained; the teacher and the autoencoder are frozen."""
    _check_student(config)
    begin = make(Start, "student", _fields(config.student, "input", "share_noise"))
    lora = make(LoRA, "student", _fields(config.student, "rank", "alpha", "targets"))
    teacher = make(Teacher, "teacher", _fields(config.teacher, "num_steps", "sigma_s", "bridge"))
    objective = make(Distillation, "objective", config.objective)
    sampler = make(Sampler, "sampler", config.sampler, sigma_s=teacher.sigma_s)
    _check_sampler(sampler, begin)
    autoencoder = build_autoencoder(config)
    estimator, velocity = latent_networks(config, autoencoder.dtype)
    trained, restoring = build_networks(config)
    form = inference_form(autoencoder.dtype)
    conditions = _conditions(config, velocity)
    stage = config.student.stage

    def draw_teacher(key):
        first, second, third = jax.random.split(key, 3)
        channels = autoencoder.latent_channels
        latent = init_estimator(second, channels, estimator)
        return autoencoder.init(first) | latent | init_velocity(third, channels, velocity)

    def init(key, start):
        first, second, third, fourth = jax.random.split(key, 4)
        frozen = start("autoencoder", lambda: autoencoder.init(first))
        taught = start("teacher", lambda: draw_teacher(second))
        frozen["decoder"] = taught.pop("decoder")
        base = taught["velocity"]
        params = start("student", lambda: conditions.init(third, autoencoder.latent_channels, base))
        if stage == "b" and "control" in params:
            frozen["control"] = params.pop("control")
        if stage == "b":
            params["lora"] = lora.init(fourth, base)
        if stage == "full":
            params["velocity"] = jax.tree.map(jnp.copy, base)
        return params, frozen | {TEACHER: taught}

    def for_inference(params: Params, frozen: Params) -> Params:
        found = student_params(lora, params, frozen)
        if begin.input == "mmse":
            found |= {name: frozen[TEACHER][name] for name in ("encoder", "estimator")}
        if form == "plain":
            return found
        latent = ("velocity", "estimator")
        return {n: transform_kernels(tree) if n in latent else tree for n, tree in found.items()}

    networks = distilled_elir(trained, lora, conditions.parts, begin.input == "lq")
    return Method(
        init=init,
        objective=distillation_objective(networks, teacher, begin, objective),
        for_inference=for_inference,
        parts=directflow_parts(restoring, conditions.parts, sampler, velocity.factor),
        target=target_part(restoring),
    )


class Conditions(NamedTuple):
    """The student's conditioning, and how it starts."""

    parts: Conditioning
    init: Callable[..., Params]  # (key, channels, the velocity's parameters) -> by name


def _conditions(config: ConfigDict, velocity: UNet) -> Conditions:
    kind, has_control = config.student.adapter, config.student.control
    adapter, control = adapter_of(velocity, kind), spatial_encoder_of(velocity)
    dtype = velocity.dtype

    def init(key, channels, base):
        first, second = jax.random.split(key)
        z, params = jnp.zeros((1, LEAST, LEAST, channels)), {}
        if kind != "none":
            params["adapter"] = adapter.init(first, describe(z))["params"]
        if has_control:
            params["control"] = copied(control.init(second, z)["params"], base)
        return params

    return Conditions(
        Conditioning(
            apply_fn(adapter, dtype) if kind != "none" else None,
            apply_fn(control, dtype) if has_control else None,
        ),
        init,
    )


def _fields(section: ConfigDict, *names: str) -> dict:
    return {name: section[name] for name in names}


def _check_student(config: ConfigDict) -> None:
    """Raise UserError for a student that cannot be trained."""
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


def _check_sampler(sampler: Sampler, begin: Start) -> None:
    if sampler.num_steps != 1:
        raise UserError(f"--config.sampler.num_steps={sampler.num_steps}: a student takes 1 step")
    if sampler.noise != begin.share_noise:
        raise UserError(
            f"--config.sampler.noise={sampler.noise}: must be that of "
            f"--config.student.share_noise={begin.share_noise}, with which the student is trained"
        )
