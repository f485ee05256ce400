"""The device's matrices against OpenCV and Pillow, which the host resizes with."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from photographs import as_float, embedded

from elir_jax.data.degradations.blind_super_resolution import MODES
from elir_jax.data.degradations.blind_super_resolution import resize as on_host
from elir_jax.data.degradations.filters import resize_bicubic, resize_nearest
from elir_jax.device_degradations.canvas import Canvas, multiply
from elir_jax.device_degradations.resizing import (
    area,
    bicubic,
    bilinear,
    by_mode,
    nearest_index,
    pillow_bicubic,
    resize,
)

KINDS = {"area": area, "bilinear": bilinear, "bicubic": bicubic}


@functools.partial(jax.jit, static_argnums=(3, 4))
def on_device(pixels, old, new, name, room):
    return resize(Canvas(pixels, *old), tuple(new), (room, room), KINDS[name])


def placed(x, room):
    """``x`` in the corner of a square canvas, surrounded by what must not be seen."""
    pixels = np.full((room, room, 3), 1e3, np.float32)
    pixels[: x.shape[0], : x.shape[1]] = x
    return pixels


def both(x, size, name, room):
    """(device, host)."""
    old, new = np.array(x.shape[:2], np.int32), np.array(size, np.int32)
    found = on_device(placed(x, room), old, new, name, room)
    assert (int(found.height), int(found.width)) == tuple(size)
    np.testing.assert_array_equal(found.pixels[size[0] :], 0)
    np.testing.assert_array_equal(found.pixels[:, size[1] :], 0)
    return np.asarray(found.pixels)[: size[0], : size[1]], on_host(x, *size, name)


def followed(name, new, old):
    """Pixels of the result whose place OpenCV cannot round to the wrong side of an edge."""
    meets_edge = np.arange(new) * old % new == 0
    return np.flatnonzero(~(meets_edge & (name == "area") & (new > old)))


@pytest.mark.parametrize("name", MODES)
def test_drawn_sizes_on_a_canvas_agree_with_opencv(name):
    rng = np.random.default_rng(0)
    for factor in [*rng.uniform(0.1, 1, 12), 1.0, *rng.uniform(1, 3, 12)]:
        old = rng.integers(1, 97, 2)
        size = [int(min(96, max(1, side * factor))) for side in old]
        if name == "area" and (size[0] < old[0]) != (size[1] < old[1]):
            continue  # OpenCV has one rule for both axes; no degradation mixes them
        device, host = both(rng.random((*old, 3), np.float32), size, name, 96)
        rows, columns = (followed(name, size[i], old[i]) for i in (0, 1))
        np.testing.assert_allclose(device[rows][:, columns], host[rows][:, columns], atol=1e-5)


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("old, new", [(512, 43), (43, 512), (512, 511), (300, 512)])
def test_large_pictures_agree_with_opencv(name, old, new):
    x = cv2.resize(as_float(embedded("astronaut", 512, 512)), (old, old), interpolation=3)
    np.testing.assert_allclose(*both(x, (new, new), name, 512), atol=1e-5)


def test_area_enlarges_by_opencvs_own_rule_but_for_its_rare_slips():
    """Where a place meets an edge exactly, OpenCV's doubles may fall short and repeat a row."""
    slips, made = 0, 0
    matrix = jax.jit(area, static_argnums=(0, 1))
    for old, new in [(old, 64) for old in range(10, 64, 3)] + [(32, new) for new in range(33, 64)]:
        unit = np.eye(old, dtype=np.float32)
        expected = cv2.resize(unit, (old, new), interpolation=cv2.INTER_AREA)
        found = np.asarray(matrix(64, 64, np.int32(new), np.int32(old)))[:new, :old]
        differs = np.abs(found - expected).max(1) > 1e-5
        assert not differs[followed("area", new, old)].any()
        slips, made = slips + differs.sum(), made + new
    assert slips < made / 500


def test_area_of_a_whole_factor_is_the_mean_of_blocks():
    x = np.random.default_rng(1).random((96, 96, 3), np.float32)
    device, _ = both(x, (24, 32), "area", 96)
    np.testing.assert_allclose(device, x.reshape(24, 4, 32, 3, 3).mean((1, 3)), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS.values())
def test_weights_of_each_pixel_sum_to_one_and_the_same_size_changes_nothing(kind):
    for new, old in ((7, 50), (50, 7), (1, 50), (50, 1), (33, 32)):
        matrix = kind(64, 64, jnp.int32(new), jnp.int32(old))
        np.testing.assert_allclose(matrix.sum(1), np.arange(64) < new, atol=1e-6)
    np.testing.assert_array_equal(kind(64, 64, jnp.int32(40), jnp.int32(40))[:40, :40], np.eye(40))


def test_the_mode_is_the_hosts_place():
    x = np.random.default_rng(2).random((20, 24, 3), np.float32)
    for place, name in enumerate(MODES):
        old, room = (jnp.int32(20), jnp.int32(24)), (16, 16)
        canvas = Canvas(jnp.asarray(placed(x, 32)), *old)
        found = resize(canvas, (9, 11), room, by_mode(jnp.int32(place))).pixels[:9, :11]
        np.testing.assert_allclose(found, on_host(x, 9, 11, name), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 12), (128, 192), (40, 100), (1, 1)])
def test_fixed_sizes_agree_with_pillow_and_nearest_neighbours(size):
    x = np.random.default_rng(3).random((64, 96, 3), np.float32)
    rows, columns = (jnp.asarray(pillow_bicubic(size[i], x.shape[i])) for i in (0, 1))
    found = multiply(jnp.asarray(x), rows, columns)
    np.testing.assert_allclose(found, resize_bicubic(x, *size), atol=1e-5)
    nearest = x[nearest_index(size[0], 64)][:, nearest_index(size[1], 96)]
    np.testing.assert_array_equal(nearest, resize_nearest(x, *size))
