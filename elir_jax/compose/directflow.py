"""The method directflow: a one-step student of a frozen flow."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from elir_jax.compose.autoencoder import build_autoencoder
from elir_jax.compose.directflow_pmrf import build_latent_pmrf_student, build_pmrf_student
from elir_jax.compose.elir import build_networks, in_pixels, inference_form, latent_networks
from elir_jax.compose.fields import choose, plain
from elir_jax.compose.student import begin, init_student
from elir_jax.errors import UserError
from elir_jax.methods.directflow.networks import (
    TEACHER,
    Conditioning,
    distilled_elir,
    student_params,
)
from elir_jax.methods.directflow.objective import distillation_objective
from elir_jax.methods.directflow.parts import directflow_parts
from elir_jax.methods.elir.networks import init_estimator, init_velocity
from elir_jax.methods.elir.objective import ElirObjective
from elir_jax.methods.elir.parts import elir_parts, target_part
from elir_jax.methods.method import Method
from elir_jax.networks.applying import apply_fn
from elir_jax.networks.conditioning import adapter_of, copied, describe, spatial_encoder_of
from elir_jax.networks.initializing import initialize
from elir_jax.networks.lora import LoRA
from elir_jax.networks.unet import UNet
from elir_jax.networks.winograd import transform_kernels
from elir_jax.types import Params

PLAIN = "input=mmse, adapter=none and control=False"
LEAST = 8  # latents a side, to draw untrained parameters with


def build_elir_student(config: ConfigDict) -> Method:
    """A student of ``elir``, which may see the degraded picture besides.

    That of a teacher whose posterior mean is one of pixels sees the mean alone, and restores by the
    parts of its teacher.
    """
    plan = begin(config)
    pixels = in_pixels(config)
    if pixels:
        _check_plain(config, f"estimator.kind={config.estimator.kind}")
    autoencoder = build_autoencoder(config)
    estimator, velocity = latent_networks(config, autoencoder.dtype)
    trained, restoring = build_networks(config)
    form = inference_form(autoencoder.dtype)
    conditions = _conditions(config, velocity)

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
        if config.student.stage == "b" and "control" in params:
            frozen["control"] = params.pop("control")
        params |= init_student(config, plan, fourth, base)
        return params, frozen | {TEACHER: taught}

    def for_inference(params: Params, frozen: Params) -> Params:
        found = student_params(plan.lora, params, frozen)
        if pixels:
            found["estimator"] = frozen[TEACHER]["estimator"]
        elif plan.start.input == "mmse":
            found |= {name: frozen[TEACHER][name] for name in ("encoder", "estimator")}
        if form == "plain":
            return found
        latent = ("velocity",) if pixels else ("velocity", "estimator")
        return {n: transform_kernels(tree) if n in latent else tree for n, tree in found.items()}

    networks = distilled_elir(trained, plan.lora, conditions.parts, plan.start.input == "lq")
    if pixels:
        parts = elir_parts(restoring, plan.sampler, velocity.factor)
    else:
        parts = directflow_parts(restoring, conditions.parts, plan.sampler, velocity.factor)
    return Method(
        init=init,
        objective=distillation_objective(networks, plan.teacher, plan.start, plan.objective),
        for_inference=for_inference,
        parts=parts,
        target=target_part(restoring),
        alone=lambda given: _as_elir(config, plan.lora, given),
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


def _as_elir(config: ConfigDict, lora: LoRA, given: Params) -> tuple[dict, Params]:
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
        "objective": dataclasses.asdict(ElirObjective(sigma_s=config.teacher.sigma_s)),
    }
    fields["autoencoder"] |= {"trainable_encoder": not in_pixels(config), "linear": False}
    for section in ("estimator", "velocity"):
        form = {} if section == "estimator" and in_pixels(config) else {"form": "plain"}
        fields[section] |= {"weights": ""} | form
    taught = given[TEACHER]
    params = {"estimator": taught["estimator"], "decoder": given["decoder"]}
    params["encoder"] = (given if in_pixels(config) else taught)["encoder"]
    return fields, params | {"velocity": student_params(lora, given, given)["velocity"]}


def _is_plain(config: ConfigDict) -> bool:
    student = config.student
    return student.input == "mmse" and student.adapter == "none" and not student.control


def _check_plain(config: ConfigDict, teacher: str) -> None:
    if not _is_plain(config):
        raise UserError(f"--config.student: a teacher with {teacher} needs {PLAIN}")


TEACHERS = {
    "elir": build_elir_student,
    "latent_pmrf": build_latent_pmrf_student,
    "pmrf": build_pmrf_student,
}


def build_directflow(config: ConfigDict) -> Method:
    """The student is trained; the teacher and the autoencoder are frozen."""
    return choose(TEACHERS, "teacher.method", config.teacher.method)(config)
