"""Build networks with weights from a run's folder, converted weights or a file of the release."""

import importlib.util
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from elir_jax.compose import METHODS, for_inference
from elir_jax.compose.fields import choose
from elir_jax.errors import UserError
from elir_jax.methods.method import Method
from elir_jax.running.records.best import checkpoint_named
from elir_jax.running.records.checkpoint import is_checkpoint, read_chosen, read_newest, steps_in
from elir_jax.running.records.writers import FOLDER
from elir_jax.types import Params
from elir_jax.weights.layouts import open_source
from elir_jax.weights.own import FILE as WEIGHTS
from elir_jax.weights.own import has_weights, read_weights
from elir_jax.weights.release import from_release
from elir_jax.weights.sizes import read_sizes


class Restoration(NamedTuple):
    """A method with the weights to restore with."""

    title: str  # where the weights come from
    method: Method
    params: Params
    frozen: Params


def build_restoration(
    path: Path, config: ConfigDict | None = None, changes: dict[str, Any] | None = None
) -> Restoration:
    """Networks and averaged weights of a run's folder, a folder of converted weights, or a file.

    ``path`` may also name one checkpoint of a run (``WORKDIR/checkpoints/STEP``, or ``best``). A
    run has its own configuration; converted weights and files need ``config``, but the sizes of
    the networks are read from a file of the release. ``changes`` are fields by name, such as
    ``sampler.num_steps``. Raises UserError.
    """
    path = checkpoint_named(path)
    if is_checkpoint(path) or steps_in(path / FOLDER):
        saved = read_chosen(path) if is_checkpoint(path) else read_newest(path / FOLDER)
        assert saved is not None
        chosen = config or _config_of(saved.config)
        title, given = f"step {saved.step}", saved.tree["frozen"] | saved.tree["ema"]
        place = path if is_checkpoint(path) else path / FOLDER / str(saved.step)
    elif path.is_dir():
        if not has_weights(path):
            raise UserError(
                f"{path}: this folder has neither checkpoints nor {WEIGHTS}; name a run's folder, "
                f"one that elir_jax.interop.convert wrote, or a file of weights"
            )
        title, given, place, chosen = (
            "converted weights",
            read_weights(path),
            path / WEIGHTS,
            config,
        )
    elif path.is_file():
        source = open_source(path)
        sizes = read_sizes(source)
        title, given, place, chosen = source.title, from_release(source, sizes.like()), path, config
        changes = sizes.options() | (changes or {})
    else:
        raise UserError(f"{path}: no such file or folder of weights")
    if chosen is None:
        raise UserError(f"{path}: these weights have no configuration; name it with --config")
    method = _method(chosen, changes or {})
    return Restoration(title, method, *for_inference(method, given, place))


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
    """The configuration of a checkpoint; lists become tuples, which JSON does not have."""

    def restored(value):
        if isinstance(value, dict):
            return {name: restored(field) for name, field in value.items()}
        return tuple(map(restored, value)) if isinstance(value, list) else value

    return ConfigDict(restored(saved))


def _method(config: ConfigDict, changes: dict[str, Any]) -> Method:
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    try:
        method = choose(METHODS, "method", config.method)(config)
    except AttributeError as error:  # of a checkpoint that is older than the field
        name = str(error).strip("\"'")
        raise UserError(
            f"the saved configuration has no field {name}; name another with --config"
        ) from error
    return method
