"""Build networks with weights from a run's folder, converted weights or a file of the release."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from elir_jax.compose import build_method, for_inference, lacks_frozen
from elir_jax.compose.finding import Found, find_weights
from elir_jax.errors import UserError
from elir_jax.methods.method import Method
from elir_jax.types import Params


class Restoration(NamedTuple):
    """A method with the weights to restore with."""

    title: str  # where the weights come from
    method: Method
    params: Params
    frozen: Params
    task: str  # the degradation that it was trained for
    config: ConfigDict  # that the method is built from

    def __reduce__(self):
        """Without the method, whose functions cannot be pickled: it is built again."""
        weights = self.params, self.frozen
        return _built_again, (jax.default_backend(), self.title, *weights, self.task, self.config)


def build_restoration(
    path: Path, config: ConfigDict | None = None, changes: dict[str, Any] | None = None
) -> Restoration:
    """Networks and averaged weights of what :func:`find_weights` reads. Raises UserError.

    ``changes`` are fields by name, such as ``sampler.num_steps``.
    """
    found = find_weights(path, config)
    chosen = changed_config(found.config, found.changes | (changes or {}))
    with naming_fields():
        method = build_method(chosen)
    method, params, frozen = fitted(method, found)
    return Restoration(found.title, method, params, frozen, chosen.degradation.name, chosen)


def _built_again(
    platform: str, title: str, params: Params, frozen: Params, task: str, config: ConfigDict
) -> Restoration:
    """What was pickled. Raises UserError on another platform, where weights have another form."""
    if platform != jax.default_backend():
        raise UserError(
            f"a restorer that was pickled on {platform} cannot be used on {jax.default_backend()}; "
            f"load its weights there"
        )
    return Restoration(title, build_method(config), params, frozen, task, config)


def fitted(method: Method, found: Found) -> tuple[Method, Params, Params]:
    """The method with the weights that were found. Raises UserError if they are of another one.

    Converted weights, models and the release's files hold one encoder, the trained one. Where the
    frozen one is another (:func:`elir_jax.compose.lacks_frozen`), the method is without what that
    computes.
    """
    weights = for_inference(method, found.given, found.place, found.frozen)
    lacking = lacks_frozen(method, found.frozen)
    return (without_frozen(method) if lacking else method), *weights


def without_frozen(method: Method) -> Method:
    """The method without what only the frozen encoder computes."""
    return method._replace(target=None, reconstruction=())


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
