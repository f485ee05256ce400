"""Weights of any origin, with the configuration that they bring."""

import functools
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from elir_jax import assets
from elir_jax.compose import measuring
from elir_jax.errors import UserError
from elir_jax.fields import plain
from elir_jax.running.records.best import checkpoint_named
from elir_jax.running.records.checkpoint import is_checkpoint, read_chosen, read_newest, steps_in
from elir_jax.running.records.writers import FOLDER
from elir_jax.running.starting import ADDED, flatten
from elir_jax.storage.place import Place
from elir_jax.types import Params
from elir_jax.weights.models import is_model, read_model
from elir_jax.weights.opening import is_of_transformers, open_weights
from elir_jax.weights.own import FILE as WEIGHTS
from elir_jax.weights.own import has_weights, read_weights


class Found(NamedTuple):
    """The weights in a path, and what they say of themselves."""

    title: str
    place: Place  # to name in messages
    given: Params  # the averaged weights and the frozen ones; of two of one name, the averaged one
    config: ConfigDict
    changes: dict[str, Any]  # fields by name
    frozen: Params | None = None  # the frozen ones apart, where the weights hold them so
    step: int | None = None  # of a run
    own: bool = False  # whether the weights brought the configuration


def titled(method: str, title: str) -> str:
    """Where weights are from, with their method once: ``elir, step 100``."""
    return title if title.startswith(method) else f"{method}, {title}"


def weights_place(path: Place) -> Place:
    """The file or folder that :func:`find_weights` reads: of a run, its newest checkpoint."""
    path = checkpoint_named(path)
    if is_checkpoint(path):
        return path
    if steps := steps_in(path / FOLDER):
        return path / FOLDER / str(steps[-1])
    return path / WEIGHTS if has_weights(path) else path


def find_weights(
    path: Place, config: ConfigDict | None = None, default: ConfigDict | None = None
) -> Found:
    """Weights of a run's folder, a folder of converted weights, a model, or a file of the release.

    A path may name one checkpoint of a run too (``WORKDIR/checkpoints/STEP``, or ``best``), or a
    model that ships (``photo``). Runs and models bring their configuration; for other weights it
    must be given, but sizes are read from a file of the release. Where they bring one, ``config``
    must agree with it, and ``default`` need not. Raises UserError.
    """
    if str(path) in assets.MODELS and not path.exists():
        path = assets.model(str(path))
    path = checkpoint_named(path)
    changes: dict[str, Any] = {}
    brought, frozen, step = None, None, None
    if is_checkpoint(path) or steps_in(path / FOLDER):
        saved = read_chosen(path) if is_checkpoint(path) else read_newest(path / FOLDER)
        assert saved is not None
        brought, step, frozen = saved.config, saved.step, saved.tree["frozen"]
        title, given = f"step {saved.step}", frozen | saved.tree["ema"]
        place = path if is_checkpoint(path) else path / FOLDER / str(saved.step)
    elif has_weights(path):
        title, given, place = "converted weights", read_weights(path), path / WEIGHTS
    elif is_model(path):
        model = read_model(path)
        title, given, place, brought = model.title, model.params, path, model.config
    elif not path.exists():
        raise UserError(f"{path}: no such file or folder of weights; train first, or name another")
    elif path.is_file() or is_of_transformers(path):
        title, given, changes = open_weights(path)
        place = path
    else:
        raise UserError(
            f"{path}: this folder has neither checkpoints nor {WEIGHTS}; name a run's folder, "
            f"one that elir_jax.interop.convert wrote, or a file of weights"
        )
    if brought is not None:
        own = config_of(brought)
        if config is not None:
            _check_agreement(path, plain(own), plain(config))
        return Found(title, place, given, own, changes, frozen, step, own=True)
    if config is None and default is None:
        raise UserError(f"{path}: these weights have no configuration; name it with --config")
    return Found(title, place, given, config or default, changes, frozen, step)


def _check_agreement(path: Place, own: dict, given: dict) -> None:
    """Raise UserError if a restoration would be another one with the configuration that is given.

    Images, and how they were degraded for training, do not matter to it.
    """
    other = ("data.", "degradation.", "evaluation.")
    matters = {
        field: said
        for field, said in measuring.changes(own, given).items()
        if field == "degradation.name" or not (field == "seed" or field.startswith(other))
    }
    if matters:
        raise UserError(
            f"{path}: brings its own configuration, and --config has another: "
            f"{'; '.join(f'{field}: {said}' for field, said in matters.items())}; leave out "
            f"--config"
        )


def run_of(path: Place) -> Place | None:
    """The folder of the run that a path to weights is of: ``RUN`` or ``RUN/checkpoints/STEP``."""
    if path.parent.name == FOLDER:
        return path.parent.parent
    return path if steps_in(path / FOLDER) else None


def config_of(saved: dict) -> ConfigDict:
    """A saved configuration: with tuples, which JSON lacks, and with the fields added since.

    ``ADDED`` is in the order in which fields came: a configuration that has one of them is not
    older than those before it, and lacks these because its method has no use for them. A new field
    of an objective has its default there, and other objectives have no such field.
    """

    def restored(value):
        if isinstance(value, dict):
            return {name: restored(field) for name, field in value.items()}
        return tuple(map(restored, value)) if isinstance(value, list) else value

    config, there = ConfigDict(restored(saved)), flatten(saved)
    since = 1 + max((i for i, field in enumerate(ADDED) if field in there), default=-1)
    for field, value in list(ADDED.items())[since:]:
        *sections, name = field.split(".")
        section = functools.reduce(lambda node, part: node.get(part, {}), sections, config)
        if isinstance(section, ConfigDict) and sections != ["objective"]:
            section[name] = restored(value)
    return config
