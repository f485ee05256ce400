"""Any size: windows that give what the whole gives, latents that blend, padding that mirrors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from elir_jax.flow.path import Sampler
from elir_jax.inference.noise import unit_noise
from elir_jax.inference.parts import Local, Part, Window
from elir_jax.inference.whole_pictures import WholePictures
from elir_jax.inference.windows import blend_windows, join_windows, lay_out, lay_out_fixed
from elir_jax.methods.elir import elir_parts
from elir_jax.networks.taesd import FACTOR, HALO, SEES, Decoder, Encoder

PARAMS, FROZEN = small.init()
NETS = small.NETWORKS
ENCODE = jax.jit(lambda x: NETS.encode(PARAMS["encoder"], x))
DECODE = jax.jit(lambda z: NETS.decode(FROZEN["decoder"], z))


def on_host(fn):
    """As a call of windows: one argument, one output."""
    return lambda rows: np.asarray(fn(rows[0]))[:, None]


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
    found = lay_out(height, width, most, halo, multiple)
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
        lay_out(100, 100, 1000, 19)


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


def encoded(image, layout, at_once=2):
    sides = [(layout.rows[-1].stop, layout.columns[-1].stop)]
    ((z,),) = join_windows(on_host(ENCODE), [[image]], layout, (FACTOR, 1), at_once, sides)
    return z


def test_encoder_and_decoder_in_windows_equal_the_whole():
    image = photograph(400, 352)
    pieces = lay_out(50, 44, 43 * 41, HALO)
    assert len(pieces.rows) > 1 and len(pieces.columns) > 1
    z = np.asarray(ENCODE(image[None]))[0]
    np.testing.assert_allclose(encoded(image, pieces), z, atol=1e-5 * np.abs(z).max())
    whole = np.asarray(DECODE(z[None]))[0, :397, :345]
    ((decoded,),) = join_windows(on_host(DECODE), [[z]], pieces, (1, FACTOR), 3, [(397, 345)])
    np.testing.assert_allclose(decoded, whole, atol=1e-5 * np.abs(whole).max())


def test_a_halo_too_small_leaves_a_seam():
    """The test above would notice."""
    image = photograph(400, 352)
    z = np.asarray(ENCODE(image[None]))[0]
    tiled = encoded(image, lay_out(50, 44, 20 * 20, halo=2))
    assert np.abs(tiled - z).max() > 1e-4 * np.abs(z).max()


def test_what_lies_beyond_an_image_mirrors_it():
    seen = []

    def encode(rows):
        seen.append(rows[0])
        return np.zeros((len(rows[0]), 1, 4, 4, 1), np.float32)

    image = photograph(31, 5)
    join_windows(encode, [[image]], lay_out(4, 4, 100, HALO), (8, 1), 1, [(4, 4)])
    np.testing.assert_array_equal(seen[0][0], np.pad(image, ((0, 1), (0, 27), (0, 0)), "reflect"))


def pointwise(rows):
    z, eps = rows
    return np.stack([z + 2 * eps, z], axis=1)


@pytest.mark.parametrize(
    "layout", [lay_out(40, 36, 24 * 24, halo=4, multiple=4), lay_out_fixed(40, 36, 16, 4)]
)
def test_blended_windows_of_a_pointwise_map_are_that_map(layout):
    z = np.random.default_rng(0).standard_normal((2, 40, 36, 3)).astype(np.float32)
    eps = z[::-1].copy()
    assert len(layout.rows) > 1 and len(layout.columns) > 1
    blended = blend_windows(pointwise, [list(z), list(eps)], layout, 3, [(40, 36), (33, 30)])
    for i, (height, width) in enumerate([(40, 36), (33, 30)]):
        for found, wanted in zip(blended[i], (z[i] + 2 * eps[i], z[i]), strict=True):
            np.testing.assert_allclose(found, wanted[:height, :width], atol=1e-5)


def test_windows_of_one_size_overlap_enough_and_a_picture_below_it_is_refused():
    layout = lay_out_fixed(100, 64, 64, 8)
    assert layout.window == (64, 64)
    assert [cut.start for cut in layout.rows] == [0, 36] and len(layout.columns) == 1
    many = lay_out_fixed(200, 64, 64, 8).rows
    assert all(a.stop - b.start >= 16 for a, b in itertools.pairwise(many))
    with pytest.raises(ValueError, match="no windows of 64"):
        lay_out_fixed(100, 63, 64, 8)


def pictures(*parts):
    return WholePictures(parts, small.mapped, 1, unit_noise)


def elir(sampler):
    return pictures(*elir_parts(NETS, sampler, 4))


def test_sides_are_padded_to_few_sizes():
    side = elir(Sampler(1, 0.1)).padded_side
    assert [side(n) for n in (1, 32, 33, 256, 257, 500, 512, 513, 1000, 6000)] == [
        32, 32, 64, 256, 320, 512, 512, 640, 1024, 6144,
    ]  # fmt: skip
    assert len({side(n) for n in range(1, 8193)}) == 8 + 4 * 5
    assert max(side(n) / n for n in range(256, 8193)) <= 1.25


def test_a_picture_in_windows_equals_the_picture_at_once():
    image = photograph(400, 340)
    parts = elir_parts(NETS, Sampler(1, 0.1), 2)
    small_windows = [
        part._replace(reach=part.reach._replace(at_once=45 * 46))
        if isinstance(part.reach, Local)
        else part
        for part in parts
    ]
    whole, tiled = (
        pictures(*some).restore((PARAMS, FROZEN), [image], 0, 1)[0].restored
        for some in (parts, small_windows)
    )
    assert whole.shape == tiled.shape == (400, 340, 3)
    np.testing.assert_allclose(tiled, whole, atol=1e-4)
    assert len(lay_out(56, 48, 45 * 46, HALO).rows) > 1  # it was in windows


def test_a_part_made_for_one_size_never_sees_another():
    seen = set()

    def apply(params, frozen, x, eps):
        seen.add(x.shape[1:3])
        return [x + 0 * eps]

    part = Part("flow", apply, Window(32, 4, 2048), noisy=True)
    for size in ((20, 70), (32, 32), (90, 41)):
        image = photograph(*size)
        (found,) = pictures(part).restore(({}, {}), [image], 0, 1)
        np.testing.assert_allclose(found.restored, image, atol=1e-6)
    assert seen == {(32, 32)}


def test_pixel_parts_show_what_they_computed_and_are_cut_to_the_picture():
    reach = Local(0, 4096)
    double = Part("mean", lambda p, f, x, e: [2 * x], reach, shows=("mean",))
    half = Part("flow", lambda p, f, x, e: [x, x / 4], reach, shows=("", "step_1"))
    image = photograph(30, 20)
    (found,) = pictures(double, half).restore(({}, {}), [image], 0, 1, every=True)
    assert [stage.shape for stage in found.stages] == [(30, 20, 3)] * 2
    np.testing.assert_allclose(found.stages[0], 2 * image, atol=1e-6)
    np.testing.assert_allclose(found.restored, image / 2, atol=1e-6)
