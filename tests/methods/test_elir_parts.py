"""ELIR's list of parts is Algorithm 1, written out here step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from elir_jax.flow.path import Sampler
from elir_jax.inference.noise import picture_key, unit_noise
from elir_jax.inference.one_program import run_parts
from elir_jax.inference.parts import multiple_of, shows_restoration
from elir_jax.inference.whole_pictures import WholePictures
from elir_jax.methods.elir import elir_parts, target_part

PARAMS, FROZEN = small.init()
NETS = small.NETWORKS
X = list(np.clip(small.batch(3).x_lq, 0, 1))
MULTIPLE = 2  # what the small U-Net divides its input's sides by


def pictures(sampler):
    return WholePictures(elir_parts(NETS, sampler, MULTIPLE), small.mapped, 1, unit_noise)


def naive(steps, sigma_s, seed=0):
    """(posterior mean, its noisy version, each Euler step) as latents."""
    z = NETS.estimate(PARAMS["estimator"], NETS.encode(PARAMS["encoder"], jnp.stack(X)))
    noise = [jax.random.normal(picture_key(seed, image), z.shape[1:]) for image in X]
    latents = [z, z + sigma_s * jnp.stack(noise)]
    for i in range(steps):
        t = jnp.full(3, i / steps)
        latents.append(latents[-1] + NETS.velocity(PARAMS["velocity"], latents[-1], t) / steps)
    return latents


def test_the_parts_are_algorithm_1_and_show_table_3():
    run = pictures(Sampler(3, 0.1))
    assert run.stage_names == ("latent_mmse", "latent_mmse_noisy", "step_1", "step_2", "step_3")
    found = run.restore((PARAMS, FROZEN), X, 0, 3, every=True)
    latents = naive(3, 0.1)
    for number, latent in enumerate(latents):
        wanted = NETS.decode(FROZEN["decoder"], latent)
        shown = np.stack([one.stages[number] for one in found])
        np.testing.assert_allclose(shown, wanted, atol=1e-5)
    for one, z_0, z_1 in zip(found, latents[1], latents[-1], strict=True):
        np.testing.assert_array_equal(one.restored, one.stages[-1])
        np.testing.assert_allclose(one.states[0], z_0, atol=1e-5)
        np.testing.assert_allclose(one.states[-1], z_1, atol=1e-5)
        assert np.abs(one.stages[0] - one.stages[1]).max() > 1e-4


def test_the_restoration_alone_is_the_last_stage():
    run = pictures(Sampler(2, 0.1))
    every = run.restore((PARAMS, FROZEN), X, 0, 3, every=True)
    alone = run.restore((PARAMS, FROZEN), X, 0, 3)
    for one, other in zip(alone, every, strict=True):
        np.testing.assert_allclose(one.restored, other.restored, atol=1e-6)
        assert one.stages == ()


def test_a_pictures_restoration_does_not_depend_on_its_neighbours():
    run = pictures(Sampler(2, 0.1))
    whole = run.restore((PARAMS, FROZEN), X, 0, 3)
    (alone,) = run.restore((PARAMS, FROZEN), X[1:2], 0, 1)
    np.testing.assert_allclose(whole[1].restored, alone.restored, atol=1e-5)


def test_without_noise_the_seed_does_not_matter_and_no_noisy_stage_is_shown():
    run = pictures(Sampler(2, 0.1, noise=False))
    assert run.stage_names == ("latent_mmse", "step_1", "step_2")
    first, second = (run.restore((PARAMS, FROZEN), X, seed, 3)[0].restored for seed in (0, 1))
    np.testing.assert_array_equal(first, second)


def test_one_program_of_all_parts_restores_the_same():
    sampler = Sampler(2, 0.1, noise=False)
    parts = elir_parts(NETS, sampler, MULTIPLE)
    restored = run_parts(parts, PARAMS, FROZEN, jnp.stack(X), jax.random.key(0))
    found = pictures(sampler).restore((PARAMS, FROZEN), X, 0, 3)
    np.testing.assert_allclose(restored, np.stack([one.restored for one in found]), atol=1e-5)


def test_the_target_is_what_the_frozen_encoder_sees():
    run = WholePictures([target_part(NETS)], small.mapped, 1, unit_noise)
    (found,) = run.restore((PARAMS, FROZEN), X[:1], 0, 1)
    wanted = NETS.encode(FROZEN["encoder"], jnp.asarray(X[0])[None])[0]
    np.testing.assert_allclose(found.restored, wanted, atol=1e-5)


def test_sides_follow_from_the_parts():
    parts = elir_parts(NETS, Sampler(1, 0.1), 4)
    assert multiple_of(parts) == 32
    assert shows_restoration(parts)
    assert not shows_restoration(parts[:1])


def test_no_steps_is_an_error():
    with pytest.raises(ValueError, match="num_steps"):
        Sampler(0, 0.1)
