"""Weights that restore -> the model, one file that brings its configuration (weights/models)."""

import os
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from elir_jax.compose import untrained_shapes
from elir_jax.compose.finding import find_weights, titled
from elir_jax.compose.restoration import changed_method
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.errors import UserError
from elir_jax.fields import plain
from elir_jax.methods.autoencoder import build_autoencoder
from elir_jax.types import Params
from elir_jax.weights.models import Model


def pack(path: Path, decoder: str = "") -> Model:
    """The model of a run's averaged weights, folded; or of a checkpoint or a model.

    ``decoder`` names an autoencoder, as the field ``autoencoder.weights`` does, whose decoder takes
    the place of the run's. Raises UserError for weights that bring no configuration, and for a
    decoder of other latents.
    """
    found = find_weights(path)
    method = changed_method(found.config, found.changes)
    names, _ = untrained_shapes(method)
    given = found.given | (_decoder(found.config, decoder) if decoder else {})
    if method.alone is not None:
        config, params = method.alone(given)
        title = f"{config['method']} of {found.config.method}, {found.title}"
        return Model(title, _without_local_settings(config), params)
    trained = {name: tree for name, tree in given.items() if name in names}
    title = titled(found.config.method, found.title)
    config = _without_local_settings(plain(found.config))
    return Model(title, config, given | method.fold(trained, given))


def _without_local_settings(config: dict) -> dict:
    """The configuration without what was the training machine's alone: models are given away.

    These are its folders, also those of the weights that networks started from, and the type that
    it computed in.
    """
    data = config["data"] | {"path": "", "eval_path": ""}
    started = {
        name: section | {"weights": ""}
        for name, section in config.items()
        if isinstance(section, dict) and _is_path(str(section.get("weights", "")))
    }
    return config | started | {"data": data, "dtype": "float32"}


def _is_path(weights: str) -> bool:
    return os.sep in weights and not weights.startswith("hub:")


def _decoder(config: ConfigDict, named: str) -> Params:
    """The decoder of ``named``, whose encoder must be the one that the run started from."""
    autoencoder = build_autoencoder(config)

    def read(weights: str) -> Params:
        changed = config.copy_and_resolve_references()
        with changed.unlocked():
            changed.autoencoder.weights = weights
        init = lambda: autoencoder.init(jax.random.key(0))  # noqa: E731
        return starting_weights(changed)("autoencoder", init)

    chosen, before = read(named), read(config.autoencoder.weights)
    if not jax.tree.all(jax.tree.map(np.array_equal, chosen["encoder"], before["encoder"])):
        raise UserError(
            f"{named}: its encoder is not the one that this run was trained with "
            f"(autoencoder.weights={config.autoencoder.weights}), so its latents are others"
        )
    return {"decoder": chosen["decoder"]}
