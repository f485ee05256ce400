"""The sampler: Algorithm 1 step by step, noise by sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from elir_jax.methods.elir.sampler import Sampler, posterior_mean, restoration_stages, restore

PARAMS, FROZEN = small.init()
X = small.batch(3).x_lq
KEYS = jax.random.split(jax.random.key(0), 3)
NETS = small.NETWORKS


def naive(steps, sigma_s):
    z = NETS.estimate(PARAMS["estimator"], NETS.encode(PARAMS["encoder"], X))
    z = z + sigma_s * jnp.stack([jax.random.normal(key, z.shape[1:]) for key in KEYS])
    images = []
    for i in range(steps):
        z = z + NETS.velocity(PARAMS["velocity"], z, jnp.full(3, i / steps)) / steps
        images.append(NETS.decode(FROZEN["decoder"], z))
    return images


def test_restoration_is_algorithm_1():
    images = naive(3, 0.1)
    restored = restore(NETS, Sampler(3, 0.1), PARAMS, FROZEN, X, KEYS)
    np.testing.assert_allclose(restored, images[-1], atol=1e-5)
    sampler = Sampler(3, 0.1)
    stages = restoration_stages(NETS, sampler, PARAMS, FROZEN, X, KEYS)
    assert sampler.stage_names == (
        "input", "latent_mmse", "latent_mmse_noisy", "step_1", "step_2", "step_3", "restored",
    )  # fmt: skip
    assert set(stages) == set(sampler.stage_names)
    np.testing.assert_array_equal(stages["input"], X)
    for i, image in enumerate(images):
        np.testing.assert_allclose(stages[f"step_{i + 1}"], image, atol=1e-5)
    np.testing.assert_array_equal(stages["restored"], stages["step_3"])
    z = posterior_mean(NETS, PARAMS, FROZEN, X)
    noisy = z + 0.1 * jnp.stack([jax.random.normal(key, z.shape[1:]) for key in KEYS])
    for stage, latent in (("latent_mmse", z), ("latent_mmse_noisy", noisy)):
        wanted = NETS.decode(FROZEN["decoder"], latent)
        np.testing.assert_allclose(stages[stage], wanted, atol=1e-6)
    assert np.abs(stages["latent_mmse"] - stages["latent_mmse_noisy"]).max() > 1e-3


def test_an_images_restoration_does_not_depend_on_its_neighbours():
    whole = restore(NETS, Sampler(2, 0.1), PARAMS, FROZEN, X, KEYS)
    alone = restore(NETS, Sampler(2, 0.1), PARAMS, FROZEN, X[1:2], KEYS[1:2])
    np.testing.assert_allclose(whole[1:2], alone, atol=1e-5)


def test_without_noise_keys_do_not_matter():
    sampler = Sampler(2, 0.1, noise=False)
    assert "latent_mmse_noisy" not in sampler.stage_names
    first = restore(NETS, sampler, PARAMS, FROZEN, X, KEYS)
    second = restore(NETS, sampler, PARAMS, FROZEN, X, KEYS[::-1])
    np.testing.assert_array_equal(first, second)


def test_no_steps_is_an_error():
    with pytest.raises(ValueError, match="num_steps"):
        Sampler(0, 0.1)
