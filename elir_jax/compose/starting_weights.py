"""The weights that a network starts from: untrained, or what ``config.SECTION.weights`` names.

An encoder may exist twice: the frozen one, which makes the flow's target and fits the decoder, and
the one that began as its copy and was trained with an estimator of latents. The section
``autoencoder`` takes the frozen one, ``encoder`` the trained one.
"""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from elir_jax import assets
from elir_jax.compose.finding import Found, find_weights
from elir_jax.errors import UserError
from elir_jax.fields import plain
from elir_jax.methods.method import ENCODER, Start
from elir_jax.networks.layers import collapse
from elir_jax.running.records.best import checkpoint_named
from elir_jax.running.records.checkpoint import is_checkpoint, read_chosen, read_newest, steps_in
from elir_jax.running.records.writers import FOLDER
from elir_jax.running.starting import flatten
from elir_jax.types import Params
from elir_jax.weights.hub import download
from elir_jax.weights.models import is_model, read_model
from elir_jax.weights.own import FILE, check_weights, has_weights, read_weights
from elir_jax.weights.pmrf import HUB_FILE
from elir_jax.weights.sections import networks_in, read_section

UNTRAINED = ("", "untrained")
HUB = "hub:"
TEACHER = "teacher"  # the section whose weights are a whole method's
AUTOENCODER, ESTIMATOR = "autoencoder", "estimator"
EMBEDDED = dict.fromkeys((AUTOENCODER, ENCODER), assets.AUTOENCODER)


def starting_weights(config: ConfigDict) -> Start:
    """A function that gives the weights of any section, by its field ``weights``.

    The field is ``""`` or ``untrained``, ``embedded``, ``hub:OWNER/NAME``, a file or folder of a
    layout known to :mod:`elir_jax.weights.layouts`, converted weights, a model or the name of one
    that ships, or a run's folder or checkpoint, which gives its averaged and its frozen weights.
    The teacher's are those of :func:`read_teacher`, the encoder's those of
    :func:`elir_jax.methods.method.trained_encoder`. The function raises a UserError that names the
    field if the weights cannot be read or belong to another network.
    """
    encoder = config.get(ENCODER, {}).get("weights", "")
    if encoder not in ("", AUTOENCODER) and not _trains_encoder(config):
        raise UserError(
            f"--config.{ENCODER}.weights={encoder}: --config.autoencoder.trainable_encoder=False "
            f"trains no encoder; set it to True, or name no weights for one"
        )

    def start(section: str, init: Callable[[], Params]) -> Params:
        field, named = section, config.get(section, {}).get("weights", "")
        if section == ENCODER and not named:
            field, named = ESTIMATOR, config[ESTIMATOR].get("weights", "")
        if named in ((AUTOENCODER,) if field == ENCODER else UNTRAINED):
            return init()
        like = jax.eval_shape(init)
        try:
            if section == TEACHER:
                return read_teacher(config, like)
            found = _open(section, named)
            if section == ESTIMATOR:
                _check_encoder(config, found)
            if section == AUTOENCODER and found.tuned:
                return found.take_as_begun(like)
            return found.take(like) if field == section or ENCODER in found.names else init()
        except UserError as error:
            raise UserError(f"--config.{field}.weights={named}: {error}") from error

    return start


def read_teacher(config: ConfigDict, like: Params) -> Params:
    """The networks that ``like`` names, of ``config.teacher.weights``, folded.

    Raises UserError if they have other sizes, or were trained for another task, in another latent
    space or with other source noise than ``config`` says.
    """
    found = find_weights(Path(config.teacher.weights), default=config)
    if found.config is not config:
        _check_teacher(config, found)
    given = {name: collapse(tree) for name, tree in found.given.items() if name in like}
    check_weights(found.place, given, like)
    return given


def _check_teacher(config: ConfigDict, teacher: Found) -> None:
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


class _Found(NamedTuple):
    """Opened weights."""

    names: Collection[str]  # of the networks
    take: Callable[[Params], Params]  # those that the argument names, of its shapes
    tuned: bool  # whether the encoder was trained with the estimator
    begun: Params | None  # what an encoder that is ``tuned`` began as, by name

    def take_as_begun(self, like: Params) -> Params:
        """:attr:`take`, with the encoder that the trained one began as. Raises UserError."""
        if self.begun is None:
            raise UserError(
                "its encoder was trained with its estimator, and no longer is the one that makes "
                "the flow's target; name the autoencoder that it began as, or a run's folder, "
                "which keeps it"
            )
        return self.take(like) | {name: self.begun[name] for name in like if name in self.begun}


def _open(section: str, named: str) -> _Found:
    path = checkpoint_named(_path(section, named))
    if is_checkpoint(path) or steps_in(path / FOLDER):
        saved = read_chosen(path) if is_checkpoint(path) else read_newest(path / FOLDER)
        assert saved is not None
        averaged, frozen = saved.tree["ema"], saved.tree["frozen"]
        twice = {name: frozen[name] for name in frozen if name in averaged}
        given = frozen | averaged
        return _Found(given, partial(_taken, path, given), bool(twice), twice)
    if has_weights(path):
        return _one_tree(path / FILE, read_weights(path))
    if is_model(path):
        model = read_model(path)
        tuned = model.config.get(AUTOENCODER, {}).get("trainable_encoder", True)
        return _one_tree(path, model.params, tuned)
    names = networks_in(path)
    return _Found(names, partial(read_section, path), {ENCODER, ESTIMATOR} <= names, None)


def _one_tree(place: Path, given: Params, tuned: bool = True) -> _Found:
    """Weights that hold one encoder, which is ``tuned`` if their estimator is one of latents."""
    of_latents = ENCODER in given and "rrdb0" in given.get(ESTIMATOR, {})
    return _Found(given, partial(_taken, place, given), tuned and of_latents, None)


def _path(section: str, named: str) -> Path:
    if named == "embedded":
        if section not in EMBEDDED:
            raise UserError(f"only these sections have embedded weights: {', '.join(EMBEDDED)}")
        return EMBEDDED[section]
    if named.startswith(HUB):
        # The autoencoder is diffusers' model, others are PMRF's.
        own = () if section in EMBEDDED else (HUB_FILE,)
        return download(named.removeprefix(HUB), *own)
    path = Path(named)
    if named in assets.MODELS and not path.exists():
        return assets.model(named)
    return path.parent if path.name == FILE else path


def _check_encoder(config: ConfigDict, estimator: _Found) -> None:
    """Raise UserError if the estimator's encoder would be left out without a word."""
    accepted = config.get(ENCODER, {}).get("weights") == AUTOENCODER
    if estimator.tuned and not accepted and not _trains_encoder(config):
        raise UserError(
            "an encoder was trained with this estimator, but --config.autoencoder."
            "trainable_encoder=False leaves it out; set it to True, or accept that with "
            f"--config.{ENCODER}.weights={AUTOENCODER}"
        )


def _trains_encoder(config: ConfigDict) -> bool:
    return config.get(AUTOENCODER, {}).get("trainable_encoder", True)


def _taken(place: Path, given: Params, like: Params) -> Params:
    found = {name: given[name] for name in like if name in given}
    check_weights(place, found, like)
    return found
