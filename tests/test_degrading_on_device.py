"""Training that degrades on the device: what the host sends, and that nothing else changes."""

import functools
import itertools
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import toy_config
from killing import killed_at, saved
from PIL import Image
from test_configs import load

import train
from elir_jax import compose
from elir_jax.commands.frame import Options
from elir_jax.compose.data import DEGRADATIONS, build_data
from elir_jax.data.pairs import no_extra
from elir_jax.device_degradations.preparing import prepare
from elir_jax.devices.mesh import parallel_step, replicate
from elir_jax.errors import UserError
from elir_jax.methods.autoencoder import build_autoencoder
from elir_jax.networks.applying import apply_fn
from elir_jax.pictures.levels import to_levels
from elir_jax.running import starting
from elir_jax.training.optim import AdamW, Ema
from elir_jax.training.state import create_state
from elir_jax.training.step import StepRequest, as_sent, train_step
from elir_jax.types import Originals

ROWS, SIZE = 8, 32
OPTIMIZER = AdamW().build(100)


def config_of(task="bfr", side="device", **data):
    config = load(task, "tiny")
    config.batch_size = ROWS
    config.data.update({"size": SIZE, "degrade_on": side} | data)
    return config


@functools.cache
def data_of(task="bfr", side="device"):
    return build_data(config_of(task, side))


@functools.cache
def taken(task="bfr", side="device"):
    return next(data_of(task, side).batches(0, 1))


@functools.cache
def pairs_of(task):
    return jax.device_get(jax.jit(data_of(task).prepare)(taken(task)))


# What the host sends


def test_the_host_sends_the_windows_that_it_would_degrade_in_8_bits():
    ours, theirs = taken(), taken(side="host")
    np.testing.assert_array_equal(ours.pixels, theirs.x_hq)
    np.testing.assert_array_equal(ours.record, theirs.record)
    np.testing.assert_array_equal(ours.slot, theirs.slot)
    assert ours.pixels.nbytes * 5 == theirs.x_hq.nbytes + theirs.x_lq.nbytes
    assert len({bits.tobytes() for bits in ours.bits}) == ROWS


def test_a_blank_batch_has_the_shapes_of_a_real_one():
    blank = data_of().batches(0, 1).blank()
    for a, b in zip(blank, taken(), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype


def test_held_out_pictures_are_degraded_on_the_host_whatever_training_does():
    for ours, theirs in zip(
        data_of().held_out.pairs(range(2)),
        data_of(side="host").held_out.pairs(range(2)),
        strict=True,
    ):
        assert ours[:2] == theirs[:2]
        np.testing.assert_array_equal(ours[2], theirs[2])
        np.testing.assert_array_equal(ours[3], theirs[3])


# What the device makes of it


def test_pairs_are_the_originals_and_pictures_as_far_from_them_as_the_hosts():
    ours, theirs = pairs_of("denoising"), jax.jit(as_sent)(taken("denoising", "host"))
    np.testing.assert_array_equal(ours.x_hq, theirs.x_hq)
    levels = [np.sqrt(np.mean((pairs.x_lq - pairs.x_hq) ** 2)) for pairs in (ours, theirs)]
    np.testing.assert_allclose(*levels, rtol=0.02)


def test_pairs_are_cut_out_of_the_degraded_windows_at_the_same_random_place():
    window, size = 24, 16
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, window, window, 3), np.uint8)
    bits = np.random.default_rng(1).integers(2**32, size=(ROWS, 2), dtype=np.uint32)
    identity = data_of("autoencoder").prepare.args[0]
    number = np.arange(ROWS)
    pairs = prepare(identity, size, Originals(pixels, bits, number, number))
    np.testing.assert_array_equal(pairs.x_hq, pairs.x_lq)
    places = []
    for one, cut in zip(pixels, np.asarray(to_levels(pairs.x_hq)), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(one, (size, size, 3))[:, :, 0]
        ((top, left),) = np.argwhere((windows == cut).all((2, 3, 4)))
        places.append((top, left))
    assert len(set(places)) > ROWS // 2


# Part of the step


def checksums(params, ema, frozen, batch, keys, step):
    """For each slot a whole number, different where any level of its degraded picture is."""
    levels = to_levels(batch.x_lq).astype(jnp.float32)
    weights = (jnp.arange(levels[0].size) % 7 + 1.0).reshape(1, *levels.shape[1:])
    sums = (levels * weights).sum((1, 2, 3))  # below 2^24: exact
    return params["w"].sum(), {
        f"slot{n}": jnp.where(batch.slot == n, sums, 0.0).sum() for n in range(ROWS)
    }


def seen(batch, prepare, devices, accumulate):
    """The checksums of a step with ``batch``, by slot."""
    step = functools.partial(
        train_step, objective=checksums, fold=lambda params, frozen: params, optimizer=OPTIMIZER,
        ema=Ema(), seed=0, accumulate=accumulate, prepare=prepare,
    )  # fmt: skip
    state = create_state({"w": jnp.ones(2)}, {}, OPTIMIZER)
    if devices == 1:
        order = StepRequest(jnp.int32(0), jnp.float32(0), jnp.float32(0))
        alone = jax.vmap(functools.partial(step, axis_name="one"), (None, 0, 0), axis_name="one")
        pieces = jax.tree.map(lambda leaf: leaf[None], (batch, order))
        _, metrics, _ = jax.tree.map(lambda leaf: leaf[0], jax.jit(alone)(state, *pieces))
    else:
        _, metrics, _ = parallel_step(step)(replicate(state), batch, StepRequest(0))
    found = {n: float(metrics[f"slot{n}"]) * devices * accumulate for n in range(ROWS)}
    return {n: value for n, value in found.items() if value}


@pytest.mark.slow
@pytest.mark.parametrize("devices, accumulate", [(1, 4), (4, 1), (4, 2)])
def test_devices_and_accumulation_change_no_level_of_any_picture(devices, accumulate):
    whole = seen(taken(), data_of().prepare, 1, 1)
    assert len(set(whole.values())) == ROWS
    assert seen(taken(), data_of().prepare, devices, accumulate) == whole


@pytest.mark.slow
def test_hosts_change_no_level_of_any_picture():
    whole, shared = seen(taken(), data_of().prepare, 1, 1), {}
    for host in (0, 1):
        shared |= seen(next(data_of().batches(host, 2)), data_of().prepare, 1, 1)
    assert shared == whole


def test_a_batch_size_of_another_run_meets_the_same_samples():
    config = config_of()
    config.batch_size = ROWS // 2
    halves = list(itertools.islice(build_data(config).batches(0, 1), 2))
    for name in ("pixels", "bits", "record"):
        both = np.concatenate([getattr(half, name) for half in halves])
        np.testing.assert_array_equal(both, getattr(taken(), name))


def build_plain_toy(config):
    """The toy method without arrays of its own."""
    method = toy.build_toy(config)

    def objective(params, ema, frozen, batch, keys, step):
        weighted = batch._replace(extra={"weight": jnp.ones(batch.slot.shape)})
        return method.objective(params, ema, frozen, weighted, keys, step)

    return method._replace(extra=no_extra, objective=objective)


@pytest.mark.slow
def test_a_run_that_is_killed_and_goes_on_ends_in_the_same_state(tmp_path, monkeypatch):
    monkeypatch.setitem(compose.METHODS, "toy", build_plain_toy)
    monkeypatch.setattr(starting, "lock", lambda workdir: None)  # one process begins many runs
    config = toy_config.get_config()
    config.degradation.name = "blind_face_restoration"
    config.data.degrade_on = "device"

    def run(workdir):
        options = Options(time.monotonic(), first=True, alone=True, allow_config_change=False)
        assert train.main(config, workdir, options) == 0
        rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
        losses = [row["loss"] for row in rows if "loss" in row]
        return *saved(workdir), losses

    whole = run(tmp_path / "whole")

    with killed_at(5):
        run(tmp_path / "broken")
    assert run(tmp_path / "broken") == whole
    assert whole[0] == len(whole[3]) == 6


def operations(function, *inputs):
    return jax.jit(function).lower(*inputs).cost_analysis()["flops"]


@pytest.mark.slow
def test_degrading_costs_less_than_a_twentieth_of_one_encoding_by_the_frozen_encoder():
    """The step of BFR encodes both pictures, and trains besides."""
    config = load("bfr")
    size, autoencoder = config.data.size, build_autoencoder(config)
    config.data.update({"embedded": True, "degrade_on": "device"})
    number = jax.ShapeDtypeStruct((1,), jnp.int32)
    pixels = jax.ShapeDtypeStruct((1, size, size, 3), jnp.uint8)
    bits = jax.ShapeDtypeStruct((1, 2), jnp.uint32)
    degrading = operations(build_data(config).prepare, Originals(pixels, bits, number, number))

    encode = apply_fn(autoencoder.encoder, autoencoder.dtype)
    weights = jax.eval_shape(autoencoder.init, jax.random.key(0))["encoder"]
    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    assert 0 < degrading < operations(encode, weights, x) / 20


# What cannot be done on the device


def pairs_in(folder):
    for side, name in itertools.product(("hq", "lq"), "abc"):
        path = folder / side / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (160, 160)).save(path)
    return str(folder)


def test_given_pairs_are_refused_and_serve_evaluation(tmp_path):
    given = pairs_in(tmp_path)
    with pytest.raises(UserError, match="degrade_on=device: these training images are pairs"):
        build_data(config_of(path=given))
    assert len(build_data(config_of(eval_path=given)).held_out.source) == 3


def test_a_method_with_arrays_of_its_own_is_refused():
    with pytest.raises(UserError, match="degrade_on=device: this method's own arrays"):
        build_data(config_of(), toy.weigh)


def test_a_degradation_without_a_counterpart_is_refused(monkeypatch):
    class Scratches:
        """A degradation of the host alone."""

        def __call__(self, rng, x_hq):
            return x_hq

    monkeypatch.setitem(DEGRADATIONS, "identity", Scratches)
    with pytest.raises(UserError, match="degrade_on=device: Scratches has no counterpart"):
        build_data(config_of("autoencoder"))


def test_another_place_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="degrade_on=gpu: unknown; one of device, host"):
        build_data(config_of(side="gpu"))


def test_a_configuration_from_before_the_field_degraded_on_the_host():
    here, there = ({"data": {"degrade_on": side}} for side in ("host", "device"))
    assert starting.differences({"data": {}}, here) == []
    assert starting.differences({"data": {}}, there) == ['data.degrade_on: "host" -> "device"']
