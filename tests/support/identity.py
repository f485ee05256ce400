"""Weights with which ELIR gives back what the autoencoder makes of a picture.

Colours, sizes and turns of restored pictures can then be compared with those that went in.
"""

import jax
import numpy as np

from elir_jax.compose import METHODS
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.configurations import read_config
from elir_jax.methods.autoencoder import build_autoencoder
from elir_jax.methods.method import untrained
from elir_jax.networks.layers import collapse
from elir_jax.weights.own import write_weights

CONFIG = "configs/quickstart.py:tiny"


def write_identity(folder):
    """A folder of converted weights, for ``CONFIG``."""
    config = read_config(CONFIG)
    method = METHODS["elir"](config)
    key = jax.random.key(0)
    like = jax.eval_shape(lambda: collapse(method.init(key, untrained)[0]))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), like)
    # The estimate is z + (z + 0.2 d) with d = (1 - 0.2 a) z; it is z where a is 30.
    kernel = params["estimator"]["rrdb0"]["dense0"]["conv4"]["kernel"]
    kernel[1, 1, :16, :16] = -30 * np.eye(16)
    autoencoder = starting_weights(config)(
        "autoencoder", lambda: build_autoencoder(config).init(key)
    )
    write_weights(folder, params | jax.tree.map(np.asarray, autoencoder))
    return folder
