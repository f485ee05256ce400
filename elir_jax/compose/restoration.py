"""Build networks with weights from a run's folder, converted weights or a file of the release."""

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from elir_jax import assets
from elir_jax.compose import build_method, for_inference
from elir_jax.errors import UserError
from elir_jax.methods.method import Method
from elir_jax.running.records.best import checkpoint_named
from elir_jax.running.records.checkpoint import is_checkpoint, read_chosen, read_newest, steps_in
from elir_jax.running.records.writers import FOLDER
from elir_jax.running.starting import ADDED, flatten
from elir_jax.types import Params
from elir_jax.weights.models import is_model, read_model
from elir_jax.weights.opening import is_of_transformers, open_weights
from elir_jax.weights.own import FILE as WEIGHTS
from elir_jax.weights.own import has_weights, read_weights


class Restoration(NamedTuple):
    """A method with the weights to restore with."""

    title: str  # where the weights come from
    method: Method
    params: Params
    frozen: Params


class Found(NamedTuple):
    """The weights in a path, and what they say of themselves."""

    title: str
    place: Path  # to name in messages
    given: Params  # the averaged weights and the frozen ones
    config: ConfigDict
    changes: dict[str, Any]  # fields by name


def build_restoration(
    path: Path, config: ConfigDict | None = None, changes: dict[str, Any] | None = None
) -> Restoration:
    """Networks and averaged weights of what :func:`find_weights` reads. Raises UserError.

    ``changes`` are fields by name, such as ``sampler.num_steps``.
    """
    found = find_weights(path, config)
    method = changed_method(found.config, found.changes | (changes or {}))
    return Restoration(found.title, method, *for_inference(method, found.given, found.place))


def find_weights(path: Path, config: ConfigDict | None = None) -> Found:
    """Weights of a run's folder, a folder of converted weights, a model, or a file of the release.

    A path may name one checkpoint of a run too (``WORKDIR/checkpoints/STEP``, or ``best``), or a
    model that ships (``photo``). Runs and models bring their configuration; for other weights it
    must be given, but sizes are read from a file of the release. Raises UserError.
    """
    if str(path) in assets.MODELS and not path.exists():
        path = assets.model(str(path))
    path = checkpoint_named(path)
    changes: dict[str, Any] = {}
    if is_checkpoint(path) or steps_in(path / FOLDER):
        saved = read_chosen(path) if is_checkpoint(path) else read_newest(path / FOLDER)
        assert saved is not None
        config = config or _config_of(saved.config)
        title, given = f"step {saved.step}", saved.tree["frozen"] | saved.tree["ema"]
        place = path if is_checkpoint(path) else path / FOLDER / str(saved.step)
    elif has_weights(path):
        title, given, place = "converted weights", read_weights(path), path / WEIGHTS
    elif is_model(path):
        model = read_model(path)
        title, given, place = model.title, model.params, path
        config = config or _config_of(model.config)
    elif not path.exists():
        raise UserError(f"{path}: no such file or folder of weights")
    elif path.is_file() or is_of_transformers(path):
        title, given, changes = open_weights(path)
        place = path
    else:
        raise UserError(
            f"{path}: this folder has neither checkpoints nor {WEIGHTS}; name a run's folder, "
            f"one that elir_jax.interop.convert wrote, or a file of weights"
        )
    if config is None:
        raise UserError(f"{path}: these weights have no configuration; name it with --config")
    return Found(title, place, given, config, changes)


def read_config(path: str) -> ConfigDict:
    """The configuration of ``configs/NAME.py[:variant]``. Raises UserError if there is none.

    If the file does not exist, the one in the installed package is read.
    """
    name, _, variant = path.partition(":")
    carried = Path(__file__).resolve().parents[1] / name
    file = Path(name) if Path(name).is_file() else carried
    if not file.is_file():
        raise UserError(f"{name}: no such configuration; name one as configs/NAME.py")
    folder = str(file.resolve().parents[1])  # configurations import each other from there
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location("chosen_config", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.get_config(variant)
    except Exception as error:  # whatever the file may raise
        raise UserError(f"{path}: not a configuration ({error})") from error
    finally:
        sys.path.remove(folder)


def _config_of(saved: dict) -> ConfigDict:
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
            section[name] = value
    return config


def changed_method(config: ConfigDict, changes: dict[str, Any]) -> Method:
    """The method of a configuration with some fields changed. Raises UserError."""
    with naming_fields():
        return build_method(changed_config(config, changes))


def changed_config(config: ConfigDict, changes: dict[str, Any]) -> ConfigDict:
    """A copy with some fields changed, by name."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


@contextlib.contextmanager
def naming_fields() -> Iterator[None]:
    """Turn the lack of a field, in a checkpoint that is older than the field, into a UserError."""
    try:
        yield
    except AttributeError as error:
        name = str(error).strip("\"'")
        raise UserError(
            f"the saved configuration has no field {name}; name another with --config"
        ) from error
