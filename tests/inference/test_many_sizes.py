"""Pictures of many sizes: few programs live, nothing of older ones stays, results are the same."""

import gc

import jax
import numpy as np
import pytest
import small

from elir_jax.compose.restoring import whole_pictures
from elir_jax.devices.mesh import replicate
from elir_jax.flow.path import Sampler
from elir_jax.inference.noise import picture_key, unit_noise
from elir_jax.inference.whole_pictures import WholePictures
from elir_jax.methods.elir import elir_parts
from elir_jax.networks import applying

SIZES = [(16, 16), (16, 32), (32, 16), (32, 32), (48, 16), (16, 48)]
PARTS = elir_parts(small.NETWORKS, Sampler(1, 0.1), 2)


def living():
    gc.collect()
    return len(jax.devices()[0].client.live_executables())


@pytest.mark.slow
def test_programs_of_older_sizes_are_really_freed():
    """Traces too: they would take megabytes for each size."""
    run, weights = whole_pictures(PARTS), replicate(small.init())
    rng = np.random.default_rng(0)
    counts = []
    for size in SIZES:
        run.restore(weights, [rng.random((*size, 3), np.float32)], 0, 1)
        counts.append(living())
    assert max(counts[2:]) - counts[1] <= 1  # a length of the noise; they were three for each size
    assert applying._apply._cache_size() == 0


@pytest.mark.slow
def test_a_picture_is_the_same_after_many_others():
    """As by programs that are never unloaded."""
    params, frozen = small.init()
    run = whole_pictures(PARTS)
    kept = WholePictures(PARTS, small.mapped, 1, unit_noise)
    rng = np.random.default_rng(1)
    images = [rng.random((height - 3, width - 5, 3), np.float32) for height, width in SIZES[:4]]
    first, again = (
        [run.restore(replicate((params, frozen)), [x], 7, 1)[0].restored for x in images]
        for _ in range(2)
    )
    for image, one, other in zip(images, first, again, strict=True):
        np.testing.assert_array_equal(one, other)
        wanted = kept.restore((params, frozen), [image], 7, 1)[0].restored
        np.testing.assert_allclose(one, wanted, atol=1e-5)


def test_noise_of_any_shape_is_jaxs_own_bit_for_bit():
    image = np.random.default_rng(2).random((9, 7, 3), np.float32)
    for shape in ((1, 1, 1), (7, 5, 3), (16, 20, 16), (300, 301, 16), (1100, 1300, 3)):
        wanted = jax.random.normal(picture_key(3, image), shape)
        np.testing.assert_array_equal(unit_noise(3, image, shape), wanted)
