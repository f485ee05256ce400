"""Training the decoder alone keeps the encoder, and the file has both."""

import jax
import numpy as np
from safetensors.numpy import load_file

from configs import autoencoder
from elir_jax.compose import export_autoencoder
from elir_jax.compose.starting_weights import EMBEDDED, starting_weights
from elir_jax.methods.autoencoder import build_autoencoder_training


def test_the_decoder_alone_is_trained_and_the_file_has_both(tmp_path):
    config = autoencoder.get_config("decoder")
    method = build_autoencoder_training(config)
    params, frozen = method.init(jax.random.key(0), starting_weights(config))
    assert params.keys() == {"decoder"} and frozen.keys() == {"encoder"}
    x = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    for part, value in zip(method.parts, (x, np.zeros((1, 2, 2, 16), np.float32)), strict=True):
        part.apply(params, frozen, value, None)
    (written,) = export_autoencoder(config, method, frozen | params, tmp_path)
    ours, embedded = load_file(written), load_file(EMBEDDED["autoencoder"])
    assert ours.keys() == embedded.keys()
    for name, tensor in embedded.items():
        np.testing.assert_array_equal(ours[name], tensor, name)
