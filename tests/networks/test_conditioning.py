"""What a student sees of the degraded picture: the description, the token and the residuals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from loading import count

from elir_jax.networks.conditioning import adapter_of, copied, describe, spatial_encoder_of
from elir_jax.networks.unet import UNet

VELOCITY = small.VELOCITY.clone(form="plain")
KEY = jax.random.key(0)


def one(picture):
    """(mean, deviation, vertical, horizontal) of a single channel."""
    return np.asarray(describe(jnp.asarray(picture, jnp.float32)[None, :, :, None]))[0]


def test_a_constant_has_its_value_and_no_more():
    np.testing.assert_allclose(one(np.full((4, 6), 0.7)), [0.7, 0, 0, 0], atol=1e-6)


def test_a_ramp_has_its_slope_along_its_direction():
    ramp = 0.5 * np.arange(6.0)[None, :].repeat(4, 0)
    np.testing.assert_allclose(one(ramp), [1.25, np.std(ramp), 0, 0.5], rtol=1e-6, atol=1e-6)


def test_a_checkerboard_has_its_step_in_both_directions():
    board = np.indices((4, 6)).sum(0) % 2
    np.testing.assert_allclose(one(board), [0.5, 0.5, 1, 1], atol=1e-6)


def test_channels_are_described_apart_and_pictures_too():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 6, 5)), jnp.float32)
    found = describe(z)
    assert found.shape == (3, 20)
    for picture in range(3):
        for channel in range(5):
            np.testing.assert_allclose(
                found[picture, channel::5], one(z[picture, :, :, channel]), rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("hidden, blocks, encoder", [(128, 3, 21_966_208), (64, 1, 3_428_672)])
def test_they_have_these_sizes(hidden, blocks, encoder):
    unet = UNet(hidden=hidden, num_mid_blocks=blocks)
    z = jnp.zeros((1, 8, 8, 16))
    control = jax.eval_shape(spatial_encoder_of(unet).init, KEY, z)
    assert count(control) == encoder
    for kind, more in (("zero", 0), ("scalar", 1)):
        adapter = jax.eval_shape(adapter_of(unet, kind).init, KEY, jnp.zeros((1, 64)))
        assert count(adapter) == 41_600 + more


def test_a_spatial_encoder_starts_as_the_velocitys_way_down_and_changes_nothing():
    z = jax.random.normal(KEY, (2, 4, 4, 4))
    t = jnp.zeros(2)
    base = jax.jit(VELOCITY.init)(KEY, z, t)["params"]
    encoder = spatial_encoder_of(VELOCITY)
    params = copied(jax.jit(encoder.init)(KEY, z)["params"], base)
    own = {name for name in params if name.startswith("zero")}
    assert own == {"zero0", "zero1", "zero_mid"}
    for name in params.keys() - own:
        assert jax.tree.all(jax.tree.map(np.array_equal, params[name], base[name])), name

    @jax.jit
    def both(params):
        residuals = encoder.apply({"params": params}, z)
        alone = VELOCITY.apply({"params": base}, z, t)
        return alone, VELOCITY.apply({"params": base}, z, t, None, residuals)

    alone, with_zeros = both(params)
    np.testing.assert_allclose(alone, with_zeros, atol=1e-5)
    # Each residual reaches the velocity.
    for name in own:
        changed = params | {name: jax.tree.map(lambda leaf: leaf + 0.1, params[name])}
        assert np.abs(both(changed)[1] - alone).max() > 1e-3, name


def test_a_token_of_zeros_changes_nothing_and_another_does():
    z = jax.random.normal(KEY, (2, 4, 4, 4))
    params = jax.jit(VELOCITY.init)(KEY, z, jnp.zeros(2))
    apply = jax.jit(lambda token: VELOCITY.apply(params, z, jnp.zeros(2), token))
    alone = jax.jit(lambda: VELOCITY.apply(params, z, jnp.zeros(2)))()
    np.testing.assert_allclose(apply(jnp.zeros((2, 32))), alone, atol=1e-5)
    found = apply(jnp.zeros((2, 32)).at[0].set(1.0))
    np.testing.assert_allclose(found[1], alone[1], atol=1e-5)
    assert np.abs(found[0] - alone[0]).max() > 1e-3
