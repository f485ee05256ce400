"""Every network starts from the weights that its own section names; what cannot be is one line."""

import json

import jax
import numpy as np
import pytest
from old_run import STEP, old_config, old_run
from photographs import embedded
from test_configs import load

from elir_jax import assets, compose
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.errors import UserError
from elir_jax.fields import plain
from elir_jax.methods.elir import build_networks
from elir_jax.running.records.checkpoint import read_averaged
from elir_jax.weights.files import write_tensors
from elir_jax.weights.models import CONFIG, read_model
from elir_jax.weights.own import flatten, read_weights, write_weights
from elir_jax.weights.release import to_release

KEY = jax.random.key(3)
SECTIONS = ("autoencoder", "estimator", "velocity")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return old_run(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def trees(folder):
    """(averaged, frozen) of the run."""
    return read_averaged(folder / "checkpoints")[1:]


def started(**sections):
    """(trained, frozen) parameters where the sections name weights, or have other fields."""
    config = old_config()
    for section, named in sections.items():
        config[section].update(named if isinstance(named, dict) else {"weights": str(named)})
    return compose.METHODS["elir"](config).init(KEY, starting_weights(config))


@pytest.fixture(scope="module")
def fresh():
    return started()


def same(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.all(
        jax.tree.map(np.array_equal, a, b)
    )


def test_a_section_alone_starts_from_a_runs_average(folder, trees, fresh):
    params, frozen = started(velocity=folder)
    assert same(params["velocity"], trees[0]["velocity"])
    assert not same(params["velocity"], fresh[0]["velocity"])
    assert same(params["estimator"], fresh[0]["estimator"]) and same(frozen, fresh[1])


def test_what_a_run_kept_frozen_is_taken_as_it_was(folder, trees):
    params, frozen = started(autoencoder=folder)
    assert same(frozen, trees[1]) and same(params["encoder"], trees[1]["encoder"])
    assert not same(trees[0]["encoder"], trees[1]["encoder"])  # it was trained on


LAYOUTS = ["run", "checkpoint", "converted", "weights.safetensors", "model.safetensors",
           "release.safetensors"]  # fmt: skip


@pytest.fixture(params=LAYOUTS)
def place(request, folder, trees, tmp_path):
    """Where the run's trained networks are."""
    whole, layout = trees[1] | trees[0], request.param
    if layout in ("run", "checkpoint"):
        return folder if layout == "run" else folder / "checkpoints" / str(STEP)
    if layout == "release.safetensors":
        write_tensors(tmp_path / layout, to_release(whole))
    elif layout == "model.safetensors":
        metadata = {CONFIG: json.dumps(plain(old_config()))}
        write_tensors(tmp_path / layout, flatten(whole), metadata)
    else:
        write_weights(tmp_path, whole)
    return tmp_path if layout == "converted" else tmp_path / layout


@pytest.mark.slow
def test_an_estimator_brings_the_encoder_that_it_was_trained_with(place, trees, fresh):
    params, frozen = started(estimator=place)
    assert same(params["estimator"], trees[0]["estimator"])
    assert same(params["encoder"], trees[0]["encoder"]) and same(frozen, fresh[1])
    assert same(params["velocity"], fresh[0]["velocity"])
    params, _ = started(estimator=place, encoder="autoencoder")
    assert same(params["encoder"], fresh[1]["encoder"])
    params, _ = started(encoder=place)
    assert same(params["encoder"], trees[0]["encoder"])
    assert same(params["estimator"], fresh[0]["estimator"])


@pytest.mark.slow
def test_an_autoencoder_is_as_it_began_or_refused(place, folder, trees):
    if folder in (place, *place.parents):
        params, frozen = started(**dict.fromkeys(SECTIONS, place))
        assert same(frozen, trees[1]) and same(params, trees[0])
        return
    with pytest.raises(UserError, match="its encoder was trained") as error:
        started(autoencoder=place)
    assert str(error.value).startswith(f"--config.autoencoder.weights={place}: ")


def test_an_encoder_that_was_trained_is_not_left_out_without_a_word(place):
    frozen = {"trainable_encoder": False}
    for section in ("estimator", "encoder"):
        with pytest.raises(UserError, match="trainable_encoder=False") as error:
            started(**{section: place}, autoencoder=frozen)
        assert str(error.value).startswith(f"--config.{section}.weights={place}: ")
    params, _ = started(estimator=place, encoder="autoencoder", autoencoder=frozen)
    assert params.keys() == {"estimator", "velocity"}


def test_an_estimator_alone_begins_with_a_copy_of_the_frozen_encoder(tmp_path, trees, fresh):
    write_weights(tmp_path, {"estimator": trees[0]["estimator"]})
    write_tensors(tmp_path / "mmse.pt.safetensors", to_release(read_weights(tmp_path)))
    for place in (tmp_path, tmp_path / "mmse.pt.safetensors"):
        params, frozen = started(estimator=place)
        assert same(params["estimator"], trees[0]["estimator"])
        assert same(params["encoder"], frozen["encoder"])


def test_an_encoder_that_was_never_trained_may_be_an_autoencoders(tmp_path, trees):
    config = old_config()
    config.autoencoder.trainable_encoder = False
    whole = trees[1] | {name: trees[0][name] for name in ("estimator", "velocity")}
    metadata = {CONFIG: json.dumps(plain(config))}
    write_tensors(tmp_path / "model.safetensors", flatten(whole), metadata)
    params, frozen = started(**dict.fromkeys(SECTIONS, tmp_path / "model.safetensors"))
    assert same(frozen, trees[1])
    assert same(params, {name: whole[name] for name in params}) and "encoder" in params


@pytest.mark.parametrize(
    "section, named, words",
    [
        ("velocity", "embedded", "only these sections have embedded weights: autoencoder, encoder"),
        ("estimator", "/no/such/run", "no such file"),
        ("autoencoder", "embedded", "has shape"),
    ],
)
def test_weights_that_cannot_be_are_one_line_that_names_the_field(section, named, words):
    with pytest.raises(UserError, match=words) as error:
        started(**{section: named})
    assert str(error.value).startswith(f"--config.{section}.weights={named}: ")
    assert "\n" not in str(error.value)


def test_a_run_of_another_size_is_one_line_that_names_field_and_tensor(folder):
    config = old_config()
    config.update(velocity={"weights": str(folder), "time_dim": 8})
    with pytest.raises(UserError, match=r"--config\.velocity\.weights=.*velocity/time") as error:
        compose.METHODS["elir"](config).init(KEY, starting_weights(config))
    assert "\n" not in str(error.value)


def test_shapes_and_restoring_need_none_of_the_files():
    config = old_config()
    config.update({section: {"weights": "/gone"} for section in ("velocity", "autoencoder")})
    run = compose.build(config)
    assert set(run.state_like().params) == {"encoder", "estimator", "velocity"}
    method = compose.build_method(config)
    assert set(compose.inference_shapes(method)[1]) == {"encoder", "decoder"}


@pytest.mark.slow
def test_a_run_that_starts_from_a_model_that_ships_begins_where_that_model_is():
    """``denoising`` on 256x256 pixels with its noise, by the encoder of each."""
    config = load("shipped_denoising").unlock()
    config.dtype = "float32"
    for section in ("estimator", "velocity"):
        config[section].update(weights="denoising", form="plain")

    def begun():
        return compose.build_method(config).init(KEY, starting_weights(config))

    model = read_model(assets.model("denoising")).params
    params, frozen = begun()
    assert same(params, {name: model[name] for name in params}) and "encoder" in params
    assert same(frozen["decoder"], model["decoder"])
    config.encoder.weights = "autoencoder"
    copied, _ = begun()

    networks = build_networks(config, "plain")[1]
    encode, decode = jax.jit(networks.encode), jax.jit(networks.decode)
    estimate = jax.jit(networks.estimate)
    x = np.float32(embedded("astronaut", 256, 256)[None] / np.float32(255))
    noise = 0.35 * np.random.default_rng(0).normal(size=x.shape)
    y = np.float32(np.clip(x + noise, 0, 1))

    def decibels(z):
        return -10 * np.log10(np.mean((np.clip(decode(frozen["decoder"], z), 0, 1) - x) ** 2))

    for found, mean, target in ((params, 24.74, 17.61), (copied, 14.60, 30.38)):
        z = encode(found["encoder"], y)
        assert decibels(estimate(found["estimator"], z)) == pytest.approx(mean, abs=0.05)
        assert decibels(encode(found["encoder"], x)) == pytest.approx(target, abs=0.05)
    assert same(frozen["encoder"], copied["encoder"])  # which makes the flow's target
