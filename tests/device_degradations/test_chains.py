"""Whole degradations: host and device given equal parameters and equal noise."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from photographs import NAMES, as_float, embedded
from replaying import Replay

from elir_jax.data.degradations.blind_face_restoration import BlindFaceRestoration
from elir_jax.data.degradations.blind_super_resolution import BlindSuperResolution
from elir_jax.data.degradations.blur_kernels import SHAPES
from elir_jax.device_degradations import blind_face_restoration as faces
from elir_jax.device_degradations.poisson import poisson
from elir_jax.device_degradations.tasks import on_device

PAPER = BlindFaceRestoration()
RELEASE = BlindFaceRestoration((0.1, 15.0), share=(1 / 32, 1.2), noise=(0.0, 20.0), eight_bit=True)


def psnr(a, b):
    return -10 * math.log10(np.mean((np.asarray(a, np.float64) - b) ** 2) + 1e-12)


# --- equation 10


def hosts_face(settings, p, noise, x):
    """The host's result from the device's parameters and noise."""
    scale = float(p.factor)
    values = [float(p.sigma), float(p.noise), 1 / scale if settings.share else scale]
    replay = Replay([*values, int(p.quality)], [noise])
    lq = settings(replay, x)
    assert replay.finished()
    return lq


@pytest.mark.parametrize("settings, room", [(PAPER, 128), (RELEASE, 160)], ids=["paper", "release"])
def test_equation_10_is_the_hosts_above_55_db(settings, room):
    device = on_device(settings)
    draw, apply = jax.jit(device.draw), jax.jit(device.apply)
    for seed, name in enumerate(NAMES):
        x = as_float(embedded(name, 128, 128))
        key, noise_key = jax.random.split(jax.random.key(seed))
        p = draw(key)
        noise = np.asarray(jax.random.normal(noise_key, (room, room, 3), jnp.float32))
        assert psnr(apply(p, noise_key, x), hosts_face(settings, p, noise, x)) > 55


def test_small_sides_are_the_hosts():
    factors = np.random.default_rng(0).uniform(1, 12, 500).astype(np.float32)
    for side in (64, 100, 512):
        found = [int(faces.small_side(side, jnp.float32(f), side)) for f in factors]
        assert found == [max(1, round(side / float(f))) for f in factors]
    assert int(faces.small_side(4, jnp.float32(12.0), 16)) == 1


# --- blind super-resolution


def kernel_values(p):
    """What the host draws for the kernel of ``p``, in its order."""
    kind = [0.0, float(p.cutoff)] if p.sinc else [0.999, int(p.shape), float(p.sigma_x)]
    if not p.sinc:
        if not list(SHAPES.values())[int(p.shape)].isotropic:
            kind += [float(p.sigma_y), float(p.theta)]
        kind += [0.0, float(p.beta)]
    return [int(p.size), *kind]


def stage_values(p):
    """What the host draws in a stage of parameters ``p``, in its order."""
    blur = [0.0, *kernel_values(p.kernel)] if p.blurred else [0.999]
    noise = [0.0 if p.grey else 0.999, 0.0 if p.gaussian else 0.999]
    strength = float(p.strength)
    return [*blur, 0, float(p.scale), int(p.mode), *noise, strength]


def chain_values(p):
    last = p.last_kernel
    shrink = [int(p.mode), 0.0 if p.filtered else 0.999]
    shrink += [int(last.size), float(last.cutoff)] if p.filtered else []
    orders = [0.0, *shrink, int(p.last_quality)], [0.999, int(p.last_quality), *shrink]
    second = [0.0, *stage_values(p.second)] if p.twice else [0.999]
    return [*stage_values(p.first), int(p.quality), *second, *orders[0 if p.shrink_first else 1]]


def shot(key, room):
    """The device's Poisson numbers for the expected numbers of a picture in a canvas."""

    def numbers(expected):
        wide = np.zeros((room, room, 3), np.float32)
        wide[: expected.shape[0], : expected.shape[1]] = expected
        white = jax.random.normal(key, wide.shape, jnp.float32)
        found = np.asarray(poisson(white, jnp.asarray(wide)))
        return found[: expected.shape[0], : expected.shape[1], : expected.shape[2]]

    return numbers


@pytest.mark.slow
@pytest.mark.parametrize("probability, number", [(0.5, 24), (1.0, 9)])
def test_the_chain_of_blind_super_resolution_is_the_hosts_above_55_db(probability, number):
    settings = BlindSuperResolution(second_order_probability=probability)
    device = on_device(settings)
    draw, apply = jax.jit(device.draw), jax.jit(device.apply)
    seen = set()
    for seed in range(number):
        x = as_float(embedded(NAMES[seed % len(NAMES)], 64, 64))
        key, noise_key = jax.random.split(jax.random.key(seed))
        p = jax.device_get(draw(key))
        stages = [p.first, p.second][: 1 + int(p.twice)]
        keys = jax.random.split(noise_key)
        pairs = [
            (s, k, room) for s, k, room in zip(stages, keys[: len(stages)], (96, 32), strict=False)
        ]
        normal = [jax.random.normal(k, (r, r, 3), jnp.float32) for s, k, r in pairs if s.gaussian]
        replay = Replay(
            chain_values(p), normal, [shot(k, r) for s, k, r in pairs if not s.gaussian]
        )
        host = settings(replay, x)
        assert replay.finished()
        assert psnr(apply(p, noise_key, x), host) > 55, seed
        seen.add((bool(p.twice), bool(p.shrink_first)))
    assert len(seen) == (4 if probability < 1 else 2)
