"""The linear autoencoder is affine, and TAESD's networks compute what it computes."""

import jax
import numpy as np
import pytest

from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.networks.linear_autoencoder import LinearAutoencoder, embed

FULL = Autoencoder(width=8, latent_channels=4)


@pytest.fixture(scope="module")
def params():
    return LinearAutoencoder(FULL).init(jax.random.key(0))


def apply(autoencoder, params, x):
    z = autoencoder.encoder.apply({"params": params["encoder"]}, x)
    return z, autoencoder.decoder.apply({"params": params["decoder"]}, z)


@pytest.mark.slow
def test_the_embedded_network_computes_what_the_linear_one_computes(params):
    x = jax.random.uniform(jax.random.key(1), (2, 32, 24, 3))
    embedded = embed(params, FULL.init(jax.random.key(2)))
    for ours, linear in zip(
        apply(FULL, embedded, x), apply(LinearAutoencoder(FULL), params, x), strict=True
    ):
        np.testing.assert_allclose(ours, linear, atol=1e-5 * float(np.abs(linear).max()))


@pytest.mark.slow
def test_an_embedded_network_learns_with_its_residual_blocks_too(params):
    embedded = embed(params, FULL.init(jax.random.key(2)))
    x = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3))
    grads = jax.grad(lambda p: (apply(FULL, p, x)[1] ** 2).mean())(embedded)
    for part, layers in (("encoder", "stage1_block0"), ("decoder", "stage0_block2")):
        assert np.abs(grads[part][layers]["conv2"]["kernel"]).max() > 0


def test_the_linear_start_keeps_the_variance_of_its_input(params):
    x = jax.random.normal(jax.random.key(3), (4, 64, 64, 3))
    z, y = apply(LinearAutoencoder(FULL), params, x)
    assert 0.2 < float(z.std()) < 3
    assert 0.1 < float(y.std()) < 3
