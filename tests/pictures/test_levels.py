"""8-bit levels on the device are those of the host, bit for bit."""

import jax
import numpy as np

from elir_jax.pictures.images import to_float, to_uint8
from elir_jax.pictures.levels import from_levels, to_levels
from elir_jax.training.step import as_sent
from elir_jax.types import Batch

LEVELS = np.tile(np.arange(256, dtype=np.uint8), 300).reshape(2, 160, 80, 3)


def test_every_level_is_the_hosts_float_and_comes_back():
    expected = np.stack([to_float(picture) for picture in LEVELS])
    for levels in (LEVELS, LEVELS.astype(np.int32)):
        np.testing.assert_array_equal(jax.jit(from_levels)(levels), expected)
    np.testing.assert_array_equal(jax.jit(to_levels)(expected), LEVELS)
    np.testing.assert_array_equal(to_uint8(expected[0]), LEVELS[0])


def test_pixels_become_floats_where_they_were_sent_as_levels():
    numbers = np.arange(2, dtype=np.int32)
    x_lq = np.random.default_rng(0).random(LEVELS.shape, np.float32)
    batch = jax.jit(as_sent)(Batch(LEVELS, x_lq, numbers, numbers))
    np.testing.assert_array_equal(batch.x_hq, np.stack([to_float(p) for p in LEVELS]))
    np.testing.assert_array_equal(batch.x_lq, x_lq)
    assert batch.record.dtype == np.int32
