"""What restores: a trained run's folder, converted weights or a file of the release -> networks."""

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
from elir_jax.weights.opening import is_pmrf, open_weights
from elir_jax.weights.own import FILE as WEIGHTS
from elir_jax.weights.own import has_weights, read_weights


class Restoration(NamedTuple):
    """A method with the weights to restore with."""

    title: str  # where the weights are from
    method: Method
    params: Params
    frozen: Params


def build_restoration(
    path: Path, config: ConfigDict | None = None, changes: dict[str, Any] | None = None
) -> Restoration:
    """Networks and averaged weights of a run's folder, a folder of converted weights, or a file.

    A path may name one checkpoint of a run too (``WORKDIR/checkpoints/STEP``, or ``best``). A
    trained run brings its configuration; for converted weights it must be given, but sizes are
    read from a file of the release. ``changes`` are fields by name (``sampler.num_steps``). Raises
    UserError.
    """
    path = checkpoint_named(path)
    if is_checkpoint(path) or steps_in(path / FOLDER):
        saved = read_chosen(path) if is_checkpoint(path) else read_newest(path / FOLDER)
        assert saved is not None
        chosen = config or _config_of(saved.config)
        title, given = f"step {saved.step}", saved.tree["frozen"] | saved.tree["ema"]
        place = path if is_checkpoint(path) else path / FOLDER / str(saved.step)
    elif has_weights(path):
        title, given, place = "converted weights", read_weights(path), path / WEIGHTS
        chosen = config
    elif path.is_file() or is_pmrf(path):
        title, given, options = open_weights(path)
        place, chosen, changes = path, config, options | (changes or {})
    elif path.is_dir():
        raise UserError(
            f"{path}: neither checkpoints nor {WEIGHTS} in this folder; name a run's folder, "
            f"one that elir_jax.interop.convert wrote, or a file of weights"
        )
    else:
        raise UserError(f"{path}: no such file or folder of weights")
    if chosen is None:
        raise UserError(f"{path}: weights without a configuration; name theirs with --config")
    method = _method(chosen, changes or {})
    return Restoration(title, method, *for_inference(method, given, place))


def read_config(path: str) -> ConfigDict:
    """The configuration of ``configs/NAME.py[:variant]``. Raises UserError where there is none.

    A file that is not there is looked for among those that the installed package carries.
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
    """A configuration as a checkpoint keeps it: JSON has no tuples."""

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
    except AttributeError as error:  # a checkpoint's, from before there was such a field
        name = str(error).strip("\"'")
        raise UserError(f"a configuration without the field {name}; name --config") from error
    return method
