"""Weights that restore -> the model, one file that brings its configuration (weights/models)."""

from pathlib import Path

from elir_jax.compose import untrained_shapes
from elir_jax.compose.fields import plain
from elir_jax.compose.restoration import changed_method, find_weights
from elir_jax.weights.models import Model


def pack(path: Path) -> Model:
    """The model of a run's averaged weights, folded; or of a checkpoint or a model.

    Raises UserError for weights that bring no configuration.
    """
    found = find_weights(path)
    method = changed_method(found.config, found.changes)
    names, _ = untrained_shapes(method)
    trained = {name: tree for name, tree in found.given.items() if name in names}
    title = f"{found.config.method}, {found.title}"
    return Model(title, plain(found.config), found.given | method.fold(trained, found.given))
