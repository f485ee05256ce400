"""Exact parameter counts of the release, shapes, and clear errors for shapes that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.networks.initializing import initialize
from elir_jax.networks.rrdb import RRDBNet
from elir_jax.networks.taesd import Decoder, Encoder
from elir_jax.networks.unet import EPSILON, NormActConv, UNet

IMAGE = jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.float32)
LATENT = jax.ShapeDtypeStruct((1, 8, 12, 16), jnp.float32)
TIME = jax.ShapeDtypeStruct((1,), jnp.float32)
KEY = jax.random.key(0)

COUNTS = [
    (UNet(num_mid_blocks=3), (LATENT, TIME), 29_561_232),
    (UNet(num_mid_blocks=1), (LATENT, TIME), 18_936_208),
    (UNet(num_mid_blocks=3, form="expanded"), (LATENT, TIME), 103_592_848),
    (UNet(num_mid_blocks=3, form="collapsing"), (LATENT, TIME), 103_592_848),
    (RRDBNet(), (LATENT,), 5_498_640),
    (RRDBNet(form="expanded"), (LATENT,), 23_334_480),
    (RRDBNet(form="collapsing"), (LATENT,), 23_334_480),
    (Encoder(), (IMAGE,), 1_229_456),
    (Decoder(), (LATENT,), 1_229_443),
]


@pytest.mark.parametrize("module, inputs, expected", COUNTS)
def test_parameter_counts_are_the_releases(module, inputs, expected):
    params = jax.eval_shape(module.init, KEY, *inputs)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize("channels", [4, 16])
def test_latents_are_an_eighth_of_the_image(channels):
    latent, _ = jax.eval_shape(lambda k, x: Encoder(channels, 8).init_with_output(k, x), KEY, IMAGE)
    assert latent.shape == (1, 8, 12, channels)
    image, _ = jax.eval_shape(lambda k, z: Decoder(8).init_with_output(k, z), KEY, latent)
    assert image.shape == IMAGE.shape


def test_bfloat16_compute_keeps_float32_parameters_and_results():
    module = UNet(hidden=32, num_mid_blocks=1, time_dim=8, dtype=jnp.bfloat16)
    v, params = jax.eval_shape(module.init_with_output, KEY, LATENT, TIME)
    assert v.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_a_large_mean_costs_the_normalisation_no_digits():
    """Mean of squares minus square of the mean would lose them: 1e4 against a variance of 0.01."""
    x = 100 + 0.1 * np.random.default_rng(0).standard_normal((1, 8, 8, 32))
    module = NormActConv(32)
    x32 = jnp.asarray(x, jnp.float32)
    params = initialize(module, KEY, x.shape)
    _, seen = module.apply(params, x32, capture_intermediates=lambda m, _: m.name == "norm")
    (found,) = seen["intermediates"]["norm"]["__call__"]
    exact = np.asarray(x32, np.float64)  # a group is one channel
    exact = (exact - exact.mean((1, 2))) / np.sqrt(exact.var((1, 2)) + EPSILON)
    np.testing.assert_allclose(found, exact, atol=2e-3)


def test_in_bfloat16_the_time_is_embedded_in_float32():
    module = UNet(
        hidden=32, channel_multipliers=(1,), num_mid_blocks=0, time_dim=8, dtype=jnp.bfloat16
    )
    z = jax.random.normal(KEY, (1, 4, 4, 16))
    near = jnp.float32([0.8990]), jnp.float32([0.8995])
    assert near[0].astype(jnp.bfloat16) == near[1].astype(jnp.bfloat16)
    params = initialize(module, KEY, z.shape, (1,))
    a, b = (module.apply(params, z, t) for t in near)
    assert float(jnp.abs(a - b).max()) > 0.01 * float(jnp.abs(a).max())


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        jax.eval_shape(Encoder().init, KEY, jax.ShapeDtypeStruct((1, 60, 64, 3), jnp.float32))
    with pytest.raises(ValueError, match="multiples of 32|of 32"):
        jax.eval_shape(UNet().init, KEY, jax.ShapeDtypeStruct((1, 6, 8, 16), jnp.float32), TIME)
    with pytest.raises(ValueError, match="multiple of 32"):
        jax.eval_shape(UNet(hidden=40).init, KEY, LATENT, TIME)


@pytest.mark.slow
@pytest.mark.parametrize("network, shape", [(Encoder, (1, 32, 24, 3)), (Decoder, (1, 4, 3, 16))])
def test_rematerialisation_changes_no_gradient_and_computes_blocks_again(network, shape):
    x = jax.random.uniform(KEY, shape)
    plain, again = network(width=8), network(width=8, rematerialize=True)
    params = plain.init(KEY, x)
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(again.init, KEY, x))

    def program(module):
        return jax.jit(jax.grad(lambda p: jnp.mean(module.apply(p, x) ** 2)))

    for one, other in zip(
        *(jax.tree.leaves(program(m)(params)) for m in (plain, again)), strict=True
    ):
        assert jnp.max(jnp.abs(one - other)) <= 1e-6 + 1e-5 * jnp.max(jnp.abs(one))
    flops = [program(m).lower(params).cost_analysis()["flops"] for m in (plain, again)]
    assert flops[1] > 1.2 * flops[0]
