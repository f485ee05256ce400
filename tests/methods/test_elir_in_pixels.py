"""ELIR with an estimator of pixels: what reaches the result past the latents, and the fidelity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from elir_jax.flow.path import Sampler
from elir_jax.inference.noise import picture_key, unit_noise
from elir_jax.inference.one_program import run_parts
from elir_jax.inference.whole_pictures import WholePictures
from elir_jax.methods.elir import (
    ElirObjective,
    draw,
    elir_loss,
    elir_parts,
    init_estimator,
    latent_flow,
)
from elir_jax.networks.pixel_unet import PixelUNet

ESTIMATOR = PixelUNet(widths=(4, 4, 4), blocks=(1, 1, 1))
NETS = latent_flow(small.AUTOENCODER, ESTIMATOR, small.VELOCITY)
PARAMS, FROZEN = small.init()
PARAMS = PARAMS | init_estimator(jax.random.key(3), 4, ESTIMATOR)
LAST = jax.random.normal(jax.random.key(4), (4, 4, 4, 3))
PARAMS["estimator"]["conv_out"]["conv"]["kernel"] = 0.1 * LAST  # untrained, it is zero
X = list(np.clip(small.batch(2).x_lq, 0, 1))
MULTIPLE = 2


def restored(fidelity, params=PARAMS, every=False, nets=NETS):
    parts = elir_parts(nets, Sampler(2, 0.1, fidelity=fidelity), MULTIPLE)
    run = WholePictures(parts, small.mapped, 1, unit_noise)
    return run.restore((params, FROZEN), X, 0, 2, every=every)


def pixels(fidelity, **given):
    return np.stack([one.restored for one in restored(fidelity, **given)])


def test_the_flows_change_is_decoded_and_added_to_the_mean():
    mean = np.clip(NETS.estimate(PARAMS["estimator"], jnp.stack(X)), 0, 1)
    start = NETS.encode(FROZEN["encoder"], mean)
    noise = [jax.random.normal(picture_key(0, image), start.shape[1:]) for image in X]
    z = start + 0.1 * jnp.stack(noise)
    for i in range(2):
        z = z + NETS.velocity(PARAMS["velocity"], z, jnp.full(2, i / 2)) / 2
    decoded = [NETS.decode(FROZEN["decoder"], latent) for latent in (z, start)]
    wanted = mean + 0.7 * (decoded[0] - decoded[1])
    np.testing.assert_allclose(pixels(0.7), wanted, atol=1e-5)


def test_an_untrained_estimator_and_no_fidelity_return_the_picture_itself():
    params = PARAMS | init_estimator(jax.random.key(0), 4, ESTIMATOR)
    np.testing.assert_array_equal(pixels(0.0, params=params), np.stack(X))


@pytest.mark.parametrize("nets", [NETS, small.NETWORKS], ids=["pixels", "latents"])
def test_fidelities_lie_on_the_line_between_the_mean_and_the_full_sample(nets):
    params = PARAMS if nets is NETS else small.init()[0]
    mean, between, full = (pixels(w, params=params, nets=nets) for w in (0.0, 0.25, 1.0))
    np.testing.assert_allclose(between, 0.75 * mean + 0.25 * full, atol=1e-5)
    assert np.abs(full - mean).max() > 1e-3


def test_every_stage_of_the_flow_is_shown_on_top_of_the_mean():
    (one, _) = restored(0.7, every=True)
    assert len(one.stages) == 4  # mean, noisy, two steps
    np.testing.assert_allclose(one.stages[-1], one.restored, atol=1e-6)
    np.testing.assert_allclose(one.stages[0], restored(0.0)[0].restored, atol=1e-6)
    alone = restored(0.7)[0].restored
    np.testing.assert_allclose(one.restored, alone, atol=1e-5)


def test_one_program_of_all_parts_restores_the_same():
    key = picture_key(0, X[0])
    parts = elir_parts(NETS, Sampler(2, 0.1, fidelity=0.7), MULTIPLE)
    shape = (4, 4, 4)
    parts = [p._replace(apply=_with(p, jax.random.normal(key, shape))) for p in parts]
    alone = run_parts(parts, PARAMS, FROZEN, jnp.asarray(X[0])[None], key)
    np.testing.assert_allclose(alone[0], restored(0.7)[0].restored, atol=1e-5)


def _with(part, noise):
    """The part with this noise, if it is noisy."""
    given = noise[None] if part.noisy else None
    return lambda params, frozen, x, eps: part.apply(params, frozen, x, given)


def test_windows_of_the_estimator_give_the_same_as_the_whole():
    x = np.random.default_rng(0).random((320, 320, 3), np.float32)
    (part,) = elir_parts(NETS, Sampler(2, 0.1, fidelity=0.0), MULTIPLE)
    small_windows = part._replace(reach=part.reach._replace(at_once=32 * 32))
    run = WholePictures([small_windows], small.mapped, 1, unit_noise)
    ((windows, *_),) = run.restore((PARAMS, FROZEN), [x], 0, 1)
    whole = np.clip(NETS.estimate(PARAMS["estimator"], jnp.asarray(x)[None]), 0, 1)[0]
    np.testing.assert_allclose(windows, whole, atol=1e-6)


@pytest.mark.slow
def test_the_halo_is_all_that_the_network_sees():
    net = PixelUNet(widths=(4, 4, 4), blocks=(2, 1, 2))
    params = net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    params["conv_out"]["conv"]["kernel"] = jnp.abs(LAST)
    side, at = 8 * (2 * net.halo + 5), 8 * (net.halo + 2)

    def square(x):
        return net.apply({"params": params}, x)[0, at : at + 8, at : at + 8].sum()

    seen = jax.grad(square)(jax.random.uniform(jax.random.key(1), (1, side, side, 3)))
    rows = np.flatnonzero(np.abs(seen).sum((0, 2, 3)))
    assert at - 8 * net.halo <= rows.min() and rows.max() < at + 8 + 8 * net.halo


def test_each_network_learns_from_its_own_term():
    batch = small.batch(2)
    noise = draw(jax.random.split(jax.random.key(0), 2), (4, 4, 4))
    objective = ElirObjective(flow="flow_matching")

    def term(name):
        def scalar(params):
            return elir_loss(
                NETS, objective, params, PARAMS, FROZEN, batch.x_hq, batch.x_lq, noise
            )[1][name]

        return jax.grad(scalar)(PARAMS)

    def norm(tree):
        return float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))

    mean, flow = term("pixel_mmse"), term("flow_matching")
    assert norm(mean["estimator"]) > 0 and norm(mean["velocity"]) == 0
    assert norm(flow["velocity"]) > 0 and norm(flow["estimator"]) == 0
