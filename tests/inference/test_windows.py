"""Any size: windows that give what the whole gives, latents that blend, padding that mirrors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from elir_jax.inference import whole_pictures as any_size
from elir_jax.inference.noise import picture_key
from elir_jax.inference.whole_pictures import Programs, carry, padded_side, restore_any_size
from elir_jax.inference.windows import (
    blend_in_windows,
    decode_in_windows,
    encode_in_windows,
    plan,
)
from elir_jax.methods.elir.sampler import Sampler, restore
from elir_jax.networks.taesd import FACTOR, HALO, SEES, Decoder, Encoder

PARAMS, FROZEN = small.init()
NETS = small.NETWORKS
ENCODE = jax.jit(lambda x: NETS.encode(PARAMS["encoder"], x))
DECODE = jax.jit(lambda z: NETS.decode(FROZEN["decoder"], z))


def on_host(fn):
    return lambda x: np.asarray(fn(x))


def photograph(height, width, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 8 + 2, width // 8 + 2, 3), np.float32)
    smooth = jax.image.resize(coarse, (height, width, 3), "linear")
    return np.clip(
        np.asarray(smooth) + 0.05 * rng.standard_normal((height, width, 3)), 0, 1
    ).astype(np.float32)


@pytest.mark.parametrize(
    "height, width, most, halo, multiple",
    [(768, 512, 16384, 19, 1), (40, 1, 60, 1, 1), (64, 64, 4096, 19, 1), (96, 80, 2500, 8, 4)],
)
def test_windows_cover_everything_once_and_see_their_halo(height, width, most, halo, multiple):
    found = plan(height, width, most, halo, multiple)
    h, w = found.window
    assert h * w <= most and h % multiple == 0 == w % multiple
    for cuts, length in ((found.rows, height), (found.columns, width)):
        assert cuts[0].first == 0 and cuts[-1].last == length
        assert all(a.last == b.first for a, b in itertools.pairwise(cuts))
        for cut in cuts:
            assert cut.first < cut.last
            assert cut.first - cut.start >= halo or cut.start == cut.first == 0
            assert cut.stop - cut.last >= halo or cut.stop == cut.last == length


def test_a_window_that_cannot_reach_over_its_halo_is_an_error():
    with pytest.raises(ValueError, match="no windows of 1000"):
        plan(100, 100, 1000, 19)


@pytest.mark.parametrize(
    "network, shape, scale",
    [(Encoder(4, 4), (1, 512, 16, 3), 1), (Decoder(4), (1, 64, 2, 4), FACTOR)],
)
def test_networks_see_as_far_as_they_say_and_no_further(network, shape, scale):
    """By its derivative: how far around an output the input matters."""
    x = jax.random.uniform(jax.random.key(0), shape)
    # Weights without a sign let no path cancel and no ReLU close.
    params = jax.tree.map(jnp.abs, network.init(jax.random.key(1), x))

    def at_middle(x):
        y = network.apply(params, x)
        return jnp.sum(y[0, y.shape[1] // 2])

    rows = np.flatnonzero(np.abs(jax.grad(at_middle)(x)).sum((0, 2, 3)))
    centre = shape[1] // 2
    farthest = max(centre - rows[0], rows[-1] - centre) * scale
    assert SEES - FACTOR <= farthest <= HALO * FACTOR


def test_encoder_and_decoder_in_windows_equal_the_whole():
    image = photograph(400, 352)
    pieces = plan(50, 44, 43 * 41)
    assert len(pieces.rows) > 1 and len(pieces.columns) > 1
    z = np.asarray(ENCODE(image[None]))
    tiled = encode_in_windows(on_host(ENCODE), [image], pieces, at_once=2)
    np.testing.assert_allclose(tiled, z, atol=1e-5 * np.abs(z).max())
    whole = np.asarray(DECODE(z))[0, :397, :345]
    (decoded,) = decode_in_windows(on_host(DECODE), z, pieces, 3, [(397, 345)])
    np.testing.assert_allclose(decoded, whole, atol=1e-5 * np.abs(whole).max())


def test_a_halo_too_small_leaves_a_seam():
    """The test above would notice."""
    image = photograph(400, 352)
    z = np.asarray(ENCODE(image[None]))
    tiled = encode_in_windows(on_host(ENCODE), [image], plan(50, 44, 20 * 20, halo=2), at_once=2)
    assert np.abs(tiled - z).max() > 1e-4 * np.abs(z).max()


def test_what_lies_beyond_an_image_mirrors_it():
    seen = []

    def encode(x):
        seen.append(x)
        return np.zeros((len(x), 4, 4, 1), np.float32)

    image = photograph(31, 5)
    encode_in_windows(encode, [image], plan(4, 4, 100), 1)
    np.testing.assert_array_equal(seen[0][0], np.pad(image, ((0, 1), (0, 27), (0, 0)), "reflect"))


def test_blended_windows_of_a_pointwise_map_are_that_map():
    z = np.random.default_rng(0).standard_normal((2, 40, 36, 3)).astype(np.float32)
    eps = z[::-1].copy()
    pieces = plan(40, 36, 24 * 24, halo=4, multiple=4)
    assert len(pieces.rows) > 1 and len(pieces.columns) > 1
    blended = blend_in_windows(
        lambda pair: np.stack([pair[0] + 2 * pair[1], pair[0]], axis=1), z, eps, pieces, 3
    )
    np.testing.assert_allclose(blended, np.stack([z + 2 * eps, z], axis=1), atol=1e-5)


def test_sides_are_padded_to_few_sizes():
    assert [padded_side(n, 32) for n in (1, 32, 33, 256, 257, 500, 512, 513, 1000, 6000)] == [
        32, 32, 64, 256, 320, 512, 512, 640, 1024, 6144,
    ]  # fmt: skip
    assert len({padded_side(n, 32) for n in range(1, 8193)}) == 8 + 4 * 5
    assert max(padded_side(n, 32) / n for n in range(256, 8193)) <= 1.25


def programs(sampler, every=False):
    def carried(pair):
        return carry(NETS, sampler, PARAMS, *pair, every)

    return Programs(on_host(ENCODE), on_host(jax.jit(carried)), on_host(DECODE), 1)


def test_restoration_is_the_samplers_with_each_pictures_own_noise():
    images = [photograph(64, 48, seed) for seed in range(3)]
    sampler = Sampler(2, 0.1)
    results = restore_any_size(programs(sampler), images, 5, 16, batch=2)
    keys = jnp.stack([picture_key(5, image) for image in images])
    wanted = restore(NETS, sampler, PARAMS, FROZEN, jnp.stack(images), keys)
    np.testing.assert_allclose(np.stack([r[0] for r in results]), wanted, atol=1e-5)
    again = restore_any_size(programs(sampler), images[2:0:-1], 5, 16, batch=2)
    np.testing.assert_allclose(again[1][0], results[1][0], atol=1e-5)


def test_stages_are_the_posterior_mean_and_every_step():
    image = photograph(64, 48)
    (every,) = restore_any_size(programs(Sampler(2, 0.1), True), [image], 0, 16, batch=1)
    (last,) = restore_any_size(programs(Sampler(2, 0.1)), [image], 0, 16, batch=1)
    assert len(every) == 4 and len(last) == 1
    np.testing.assert_allclose(every[-1], last[0], atol=1e-6)
    z = NETS.estimate(PARAMS["estimator"], ENCODE(image[None]))
    np.testing.assert_allclose(every[0], DECODE(z)[0], atol=1e-5)
    noisy = z + 0.1 * jax.random.normal(picture_key(0, image), z.shape)
    np.testing.assert_allclose(every[1], DECODE(noisy)[0], atol=1e-5)


def test_a_picture_in_windows_equals_the_picture_at_once(monkeypatch):
    image = photograph(400, 340)
    sampler = Sampler(1, 0.1)
    whole = restore_any_size(programs(sampler), [image], 0, 16, batch=1)[0][0]
    monkeypatch.setattr(any_size, "PIXELS_AT_ONCE", 45 * 46 * 64)
    tiled = restore_any_size(programs(sampler), [image], 0, 16, batch=1)[0][0]
    assert whole.shape == tiled.shape == (400, 340, 3)
    np.testing.assert_allclose(tiled, whole, atol=1e-4)
    assert len(plan(56, 48, 45 * 46).rows) > 1  # it was in windows
