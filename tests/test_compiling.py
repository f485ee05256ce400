"""The restorer's programs, compiled for TPUs: they are those that the restorer runs."""

import importlib.util

import jax
import numpy as np
import pytest

from configs import quickstart
from elir_jax.compose import build_method, compiling
from elir_jax.compose.compiled import restorer_figures, restorer_report
from elir_jax.compose.compiling import Program, compile_restorer_for
from elir_jax.compose.restoring import whole_pictures
from elir_jax.devices.mesh import replicate
from elir_jax.devices.topologies import Compiled
from elir_jax.methods.method import untrained
from elir_jax.networks.layers import collapse
from elir_jax.networks.taesd import FACTOR

PER_CHIP = 3


@pytest.fixture
def config():
    return quickstart.get_config("tiny")


@pytest.mark.slow
def test_they_compute_what_the_restorer_computes(config, monkeypatch):
    with config.unlocked():
        config.sampler.noise = False  # else each picture draws its own
    size, noted = config.data.size, []

    def compile_alone_for(topology, program, given):
        noted.append((program, given))
        return Compiled(0.0, 0, 0, 0, 0.0, 0.0, [], [])

    monkeypatch.setattr(compiling, "compile_alone_for", compile_alone_for)
    found = compile_restorer_for("v5e:2x2", config, PER_CHIP)
    assert [one.name for one in found] == ["encode", "posterior_mean + flow", "decode"]
    assert [one.calls for one in found] == [1, 1, 1]

    method = build_method(config)
    params, frozen = method.init(jax.random.key(0), untrained)
    weights = method.for_inference(params, frozen), frozen
    plain = collapse(params), frozen  # as a TPU has them
    x = np.random.default_rng(0).random((PER_CHIP, size, size, 3), np.float32)
    images = whole_pictures(method.parts).restore(replicate(weights), list(x), 0, PER_CHIP)
    for program, (_, shapes) in noted:
        assert x.shape == shapes[0].shape
        rows = [x, *(np.zeros(shape.shape, np.float32) for shape in shapes[1:])]
        x = np.asarray(jax.jit(program)(plain, rows))[:, -1]
    np.testing.assert_allclose(x, np.stack([image.restored for image in images]), atol=2e-5)


def test_pictures_that_a_chip_cannot_hold_at_once_take_more_calls(config, monkeypatch):
    size = config.data.size
    monkeypatch.setattr(compiling, "compile_alone_for", lambda *given: None)
    method = build_method(config)
    encode, *others = method.parts
    two = encode._replace(reach=encode.reach._replace(at_once=(size // FACTOR) ** 2 * 2))
    narrow = method._replace(parts=(two, *others))
    monkeypatch.setattr(compiling, "build_method", lambda config: narrow)
    found = compile_restorer_for("v5e:2x2", config, 4)
    assert [one.calls for one in found] == [2, 1, 1]


def test_the_report_adds_up_all_calls(config):
    once = Compiled(1.0, 2**30, 2**29, 0, 0.0, 819e9 / 1000, [], [])  # a millisecond on a v5e
    found = [Program("encode", 2, once), Program("decode", 1, once)]
    figures = restorer_figures("v5e:2x2", config, 4, found)
    assert figures["roofline_seconds"] == pytest.approx(3e-3)
    assert [one["fits"] for one in figures["programs"]] == [True, True]
    text = restorer_report("v5e:2x2", config, 4, found)
    assert "4 picture(s)" in text and "encode: 2 call(s)" in text
    assert "bytes accessed  0.82 GB, 0.41 a picture" in text  # two pictures a call
    assert text.endswith("all calls       3.0 ms, at least")


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="compiling for TPUs needs libtpu"
)
def test_a_small_restorer_is_compiled_for_a_slice(config):
    found = compile_restorer_for("v5e:2x2", config, 1)
    for one in found:
        assert not one.compiled.collectives  # each chip works alone
        assert 0 < one.compiled.memory < 2**28 and one.compiled.operations > 1e6, one.name
