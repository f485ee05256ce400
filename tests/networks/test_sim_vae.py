"""Sim-VAE: exact sizes, reach, refusals, and parity with the public code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from pmrf_golden import check_gradients, distance

from elir_jax.errors import UserError
from elir_jax.networks.sim_vae import Posterior, SimVae, shuffle
from elir_jax.weights.layouts import Source
from elir_jax.weights.sim_vae import read_sim_vae, sim_vae_shapes, sim_vae_tensors

KEY = jax.random.key(0)
SMALL = SimVae(channels=(4, 8, 8, 8), layers=1, mid_layers=1, latent_channels=2)


@pytest.mark.parametrize(
    "channels, expected",
    [(16, 90_809_379), (24, 90_919_987), (32, 91_030_595), (48, 91_251_811)],
)
def test_parameter_counts_are_exact(channels, expected):
    shapes = sim_vae_shapes(SimVae(latent_channels=channels))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def recorded():
    """(arrays, tensors, networks, parameters) of the shared recording."""
    arrays, tensors = reference.recorded_network("latent_pmrf", "sim_vae")
    return arrays, tensors, *read_sim_vae(Source("file", "", tensors, str))


def test_parity_with_the_shared_recording():
    arrays, tensors, vae, params = recorded()
    assert vae == SimVae((16, 24, 32, 32), layers=1, mid_layers=2, latent_channels=8)

    @jax.jit
    def run(params, x, eps):
        posterior = vae.encoder.apply({"params": params["encoder"]}, x)
        z = posterior.sample(eps)
        both = (vae.decoder.apply({"params": params["decoder"]}, v) for v in (z, posterior.mean))
        return posterior, z, *both

    posterior, z, decoded, mode = run(params, arrays["x"], arrays["eps"])
    found = {
        "mean": posterior.mean, "logvar": posterior.logvar, "z": z,
        "decoded": 2 * decoded - 1, "decoded_mode": 2 * mode - 1,
    }  # fmt: skip
    for name, value in found.items():
        assert distance(value, arrays[name]) <= 2e-5, name
    recorded_posterior = Posterior(arrays["mean"], arrays["logvar"])
    np.testing.assert_allclose(recorded_posterior.kl(), arrays["kl_each"], rtol=1e-5)
    back = sim_vae_tensors(params)
    assert back.keys() == tensors.keys()
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)


def test_the_gradients_are_the_public_codes():
    arrays, _, vae, params = recorded()
    x, eps = (jnp.asarray(arrays[name]) for name in ("x", "eps"))

    def loss(params):
        posterior = vae.encoder.apply({"params": params["encoder"]}, x)
        z = posterior.sample(eps)
        decoded = 2 * vae.decoder.apply({"params": params["decoder"]}, z) - 1
        return jnp.mean(decoded * arrays["cotangent"]) + 1e-3 * jnp.mean(posterior.kl())

    value, gradients = jax.jit(jax.value_and_grad(loss))(params)
    np.testing.assert_allclose(value, arrays["loss"][0], rtol=1e-5)
    check_gradients(sim_vae_tensors(gradients), arrays)


def test_a_posterior_has_its_closed_forms():
    unit = Posterior(jnp.zeros((2, 1, 1, 3)), jnp.zeros((2, 1, 1, 3)))
    np.testing.assert_array_equal(unit.kl(), 0.0)
    moved = Posterior(unit.mean + 2.0, unit.logvar + jnp.log(4.0))
    np.testing.assert_allclose(moved.kl(), 3 * 0.5 * (4 + 4 - 1 - jnp.log(4.0)), rtol=1e-6)
    np.testing.assert_allclose(moved.sample(jnp.ones((2, 1, 1, 3))), 4.0, rtol=1e-6)


@pytest.mark.parametrize("part, shape", [("encoder", (1, 256, 8, 3)), ("decoder", (1, 32, 1, 2))])
def test_it_sees_as_far_as_it_says(part, shape):
    """By derivative along one axis: some of what is at the edge of the halo counts, none beyond."""
    module = getattr(SMALL, part)
    params = jax.tree.map(lambda leaf: leaf + 0.3, SMALL.init(KEY))[part]
    x = jax.random.uniform(KEY, shape)
    middle = (shape[1] // 8 if part == "encoder" else shape[1] * 8) // 2

    def there(x):
        out = module.apply({"params": params}, x)
        return jnp.sum((out.mean if part == "encoder" else out)[:, middle])

    seen = jnp.abs(jax.jit(jax.grad(there))(x)).sum((0, 2, 3))
    per = 8 if part == "encoder" else 1  # elements of the input per latent
    place = middle if part == "encoder" else middle // 8
    halo = SMALL.halo
    assert seen[: (place - halo) * per].max(initial=0) == 0
    assert seen[(place + halo + 1) * per :].max(initial=0) == 0
    if part == "decoder":
        assert seen[place - halo] > 0 or seen[place + halo] > 0


def test_a_pixels_channels_become_four_pixels():
    h = jnp.arange(8.0).reshape(1, 1, 1, 8)
    np.testing.assert_array_equal(shuffle(h)[0, ..., 0], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(shuffle(h)[0, ..., 1], [[4, 5], [6, 7]])


def test_the_rows_of_table_2_build_and_keep_sizes():
    vae = SimVae((32, 32, 32, 32), 1, 1, 4, norm="group", upsample="pixel_shuffle")

    def run():
        params = vae.init(KEY)
        z = vae.encoder.apply({"params": params["encoder"]}, jnp.zeros((1, 16, 24, 3))).mean
        return z, vae.decoder.apply({"params": params["decoder"]}, z)

    z, x = jax.eval_shape(run)
    assert z.shape == (1, 2, 3, 4) and x.shape == (1, 16, 24, 3)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"norm": "batch"}, "norm"),
        ({"upsample": "x"}, "upsample"),
        ({"channels": (8,)}, "4 reso"),
    ],
)
def test_senseless_sizes_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        SimVae(**fields)


def test_a_missing_tensor_is_named():
    tensors = sim_vae_tensors(jax.tree.map(lambda s: np.zeros(s.shape), sim_vae_shapes(SMALL)))
    del tensors["encoder.mid_block.resnets.0.norm.bias"]
    with pytest.raises(UserError, match="1 tensor.s. missing: encoder.mid_block.resnets.0.norm"):
        read_sim_vae(Source("file", "", tensors, str))
