"""What every student of directflow is built of, whichever method its teacher is of."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from elir_jax.compose.fields import check_whole, make
from elir_jax.errors import UserError
from elir_jax.flow.path import Sampler
from elir_jax.methods.directflow.objective import Distillation, Start, Teacher
from elir_jax.networks.conditioning import KINDS
from elir_jax.networks.lora import LoRA
from elir_jax.types import Params

STAGES = ("a", "b", "full")


class Plan(NamedTuple):
    """The sections of the configuration that name no network, as objects."""

    teacher: Teacher
    start: Start
    objective: Distillation
    lora: LoRA
    sampler: Sampler


def begin(config: ConfigDict) -> Plan:
    """Raises UserError for a student that cannot be trained."""
    _check_student(config)
    teacher = make(Teacher, "teacher", _fields(config.teacher, "num_steps", "sigma_s", "bridge"))
    plan = Plan(
        teacher,
        make(Start, "student", _fields(config.student, "input", "share_noise")),
        make(Distillation, "objective", config.objective),
        make(LoRA, "student", _fields(config.student, "rank", "alpha", "targets")),
        make(Sampler, "sampler", config.sampler, sigma_s=teacher.sigma_s),
    )
    check_whole(plan.sampler)
    if plan.sampler.num_steps != 1:
        raise UserError(
            f"--config.sampler.num_steps={plan.sampler.num_steps}: a student takes 1 step"
        )
    if plan.sampler.noise != plan.start.share_noise:
        raise UserError(
            f"--config.sampler.noise={plan.sampler.noise}: must be that of --config.student."
            f"share_noise={plan.start.share_noise}, with which the student is trained"
        )
    return plan


def init_student(config: ConfigDict, plan: Plan, key: jax.Array, base: Params) -> Params:
    """What a fresh student trains of the velocity ``base``, by name."""
    if config.student.stage == "b":
        return {"lora": plan.lora.init(key, base)}
    return {"velocity": jax.tree.map(jnp.copy, base)} if config.student.stage == "full" else {}


def check_unconditioned(config: ConfigDict) -> None:
    """Raise UserError for what only a student of ELIR can have."""
    student = config.student
    for field, value in (("input", "mmse"), ("adapter", "none"), ("control", False)):
        if student[field] != value:
            raise UserError(
                f"--config.student.{field}={student[field]}: only a student of elir can have it; "
                f"set {field}={value}"
            )


def _fields(section: ConfigDict, *names: str) -> dict:
    return {name: section[name] for name in names}


def _check_student(config: ConfigDict) -> None:
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
