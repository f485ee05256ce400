"""The weights that a network starts from: untrained, or what ``config.SECTION.weights`` names."""

from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict

from elir_jax import assets
from elir_jax.compose.teacher import read_teacher
from elir_jax.errors import UserError
from elir_jax.methods.method import Start
from elir_jax.running.records.checkpoint import read_averaged, steps_in
from elir_jax.running.records.writers import FOLDER
from elir_jax.types import Params
from elir_jax.weights.hub import download
from elir_jax.weights.models import is_model, read_model
from elir_jax.weights.own import FILE, check_weights, has_weights, read_weights
from elir_jax.weights.pmrf import HUB_FILE
from elir_jax.weights.sections import read_section

UNTRAINED = ("", "untrained")
HUB = "hub:"
TEACHER = "teacher"  # the section whose weights are a whole method's
EMBEDDED = {"autoencoder": assets.AUTOENCODER}


def starting_weights(config: ConfigDict) -> Start:
    """A function that gives the weights of any section, by its field ``weights``.

    The field is ``""`` or ``untrained``, ``embedded``, ``hub:OWNER/NAME``, a file or folder of a
    layout known to :mod:`elir_jax.weights.layouts`, converted weights, or a run's folder, which
    gives its averaged and its frozen weights. The teacher's are those of
    :mod:`elir_jax.compose.teacher`. The function raises a UserError that names the field
    if the weights cannot be read or belong to another network.
    """

    def start(section: str, init: Callable[[], Params]) -> Params:
        named = config[section].get("weights", "")
        if named in UNTRAINED:
            return init()
        like = jax.eval_shape(init)
        try:
            return read_teacher(config, like) if section == TEACHER else _read(section, named, like)
        except UserError as error:
            raise UserError(f"--config.{section}.weights={named}: {error}") from error

    return start


def _read(section: str, named: str, like: Params) -> Params:
    if named == "embedded":
        if section not in EMBEDDED:
            raise UserError(f"only these sections have embedded weights: {', '.join(EMBEDDED)}")
        path = EMBEDDED[section]
    else:
        hub = named.startswith(HUB)
        path = _downloaded(section, named.removeprefix(HUB)) if hub else Path(named)
    if path.name == FILE:
        path = path.parent
    if steps_in(path / FOLDER):
        _, averaged, frozen = read_averaged(path / FOLDER)
        return _taken(path, averaged | frozen, like)
    if has_weights(path):
        return _taken(path / FILE, read_weights(path), like)
    if is_model(path):
        return _taken(path, read_model(path).params, like)
    return read_section(path, like)


def _downloaded(section: str, repository: str) -> Path:
    """The autoencoder is diffusers' model, others are PMRF's."""
    return download(repository) if section == "autoencoder" else download(repository, HUB_FILE)


def _taken(place: Path, given: Params, like: Params) -> Params:
    found = {name: given[name] for name in like if name in given}
    check_weights(place, found, like)
    return found
