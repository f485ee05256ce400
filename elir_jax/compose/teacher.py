"""The teacher of a distillation: a run's averaged weights, or a model, with its configuration."""

from pathlib import Path

from ml_collections import ConfigDict

from elir_jax.compose.fields import plain
from elir_jax.compose.finding import Found, find_weights
from elir_jax.errors import UserError
from elir_jax.networks.layers import collapse
from elir_jax.running.starting import flatten
from elir_jax.types import Params
from elir_jax.weights.own import check_weights


def read_teacher(config: ConfigDict, like: Params) -> Params:
    """The networks that ``like`` names, of ``config.teacher.weights``, folded.

    Raises UserError if they have other sizes, or were trained for another task, in another latent
    space or with other source noise than ``config`` says.
    """
    found = find_weights(Path(config.teacher.weights), default=config)
    if found.config is not config:
        _check(config, found)
    given = {name: collapse(tree) for name, tree in found.given.items() if name in like}
    check_weights(found.place, given, like)
    return given


def _check(config: ConfigDict, teacher: Found) -> None:
    """Raise a UserError that names the first field in which they differ."""
    theirs, ours = flatten(plain(teacher.config)), flatten(plain(config))
    task = f"degradation.{config.degradation.name}."
    pairs = [("method", "teacher.method"), ("objective.sigma_s", "teacher.sigma_s")]
    pairs += [(name, name) for name in ("degradation.name", "autoencoder.weights")]
    pairs += [(name, name) for name in ours if name.startswith(task)]
    for name, field in pairs:
        if name in theirs and theirs[name] != ours.get(field):
            raise UserError(
                f"the teacher has {name}={theirs[name]}; set --config.{field}={theirs[name]}, "
                f"not {ours.get(field)}"
            )
