"""The parameters' distributions: ranges, means and both ends, on the device and on the host."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from drawing import within_four_errors
from replaying import Record

from elir_jax.data.degradations.blind_face_restoration import BlindFaceRestoration
from elir_jax.data.degradations.blind_super_resolution import SECOND_STAGE, BlindSuperResolution
from elir_jax.device_degradations.stages import draw_stage
from elir_jax.device_degradations.tasks import on_device

PAPER = BlindFaceRestoration()
RELEASE = BlindFaceRestoration((0.1, 15.0), share=(1 / 32, 1.2), noise=(0.0, 20.0), eight_bit=True)


def drawn_faces(settings):
    """(device, host): arrays of sigma, noise, factor or share, and quality."""
    keys = jax.random.split(jax.random.key(0), 2000)
    device = jax.jit(jax.vmap(on_device(settings).draw))(keys)
    device = np.stack([np.asarray(field, np.float64) for field in device], axis=1)
    if settings.share:
        device[:, 2] = 1 / device[:, 2]
    host = Record(0)
    for _ in range(2000):
        settings(host, np.zeros((4, 4, 3), np.float32))
    return device, np.array(host.drawn, np.float64).reshape(2000, 4)


@pytest.mark.parametrize("settings", [PAPER, RELEASE], ids=["paper", "release"])
def test_strengths_of_equation_10_have_the_same_distribution_on_both_sides(settings):
    ranges = [settings.blur, settings.noise, settings.share or settings.scale, settings.quality]
    for side in drawn_faces(settings):
        for values, (low, high) in zip(side.T, ranges, strict=True):
            near = 0.01 * (high - low)
            assert low - 1e-6 <= values.min() < low + near
            assert high - near < values.max() <= high + 1e-6
            four_errors = 4 * (high - low + 1) / math.sqrt(12 * len(values))
            assert abs(values.mean() - (low + high) / 2) < four_errors
            quarters = np.histogram(values, np.linspace(low - 1e-6, high + 1e-6, 5))[0]
            if values is not side.T[3]:
                assert within_four_errors(quarters, [0.25] * 4)
        correlation = np.corrcoef(side.T) - np.eye(4)
        assert np.abs(correlation).max() < 4.5 / math.sqrt(len(side))


def test_both_ends_of_the_quality_are_drawn_alike():
    settings = dataclasses.replace(PAPER, quality=(30, 32))
    for side in drawn_faces(settings):
        counts = [np.sum(side[:, 3] == quality) for quality in (30, 31, 32)]
        assert within_four_errors(counts, [1 / 3] * 3) and sum(counts) == len(side)


def test_a_stage_draws_its_parameters_as_the_host_does():
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = jax.jit(jax.vmap(lambda key: draw_stage(SECOND_STAGE, key)))
    p = jax.tree.map(np.asarray, draw(keys))
    for flag, probability in ((p.blurred, 0.8), (p.gaussian, 0.5), (p.grey, 0.4)):
        assert within_four_errors([flag.sum(), (~flag).sum()], (probability, 1 - probability))
    assert within_four_errors([np.sum(p.mode == i) for i in range(3)], [1 / 3] * 3)
    host = np.array([SECOND_STAGE.draw_scale(np.random.default_rng(i)) for i in range(4000)])
    for scale in (p.scale, host):
        counts = [np.sum(scale > 1), np.sum(scale < 1), np.sum(scale == 1)]
        assert within_four_errors(counts, (0.3, 0.4, 0.3))
        assert 0.3 - 1e-6 <= scale.min() < 0.31 and 1.19 < scale.max() <= 1.2 + 1e-6
    error = host.std() * math.sqrt(2 / 4000)
    assert abs(p.scale.mean() - host.mean()) < 4 * error
    for values, (low, high) in (
        (p.strength[p.gaussian], (1.0, 25.0)),
        (p.strength[~p.gaussian], (0.05, 2.5)),
    ):
        near = 0.02 * (high - low)
        assert low - 1e-6 <= values.min() < low + near and high - near < values.max() <= high
        assert within_four_errors(np.histogram(values, 4, (low, high))[0], [0.25] * 4)


def test_the_chain_draws_its_choices_as_the_host_does():
    settings = BlindSuperResolution(second_order_probability=0.3, quality=(30, 32))
    keys = jax.random.split(jax.random.key(1), 2000)
    p = jax.tree.map(np.asarray, jax.jit(jax.vmap(on_device(settings).draw))(keys))
    for flag, probability in ((p.twice, 0.3), (p.shrink_first, 0.5), (p.filtered, 0.8)):
        assert within_four_errors([flag.sum(), (~flag).sum()], (probability, 1 - probability))
    for quality in (p.quality, p.last_quality):
        assert within_four_errors([np.sum(quality == q) for q in (30, 31, 32)], [1 / 3] * 3)
    assert within_four_errors([np.sum(p.mode == i) for i in range(3)], [1 / 3] * 3)
