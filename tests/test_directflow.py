"""A student of a run, as the commands train it: killed, resumed, packed; and stage b after a."""

import shutil
from pathlib import Path

import chaining
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chaining import run
from killing import killed_at, saved
from ml_collections import ConfigDict

from configs import directflow, quickstart
from elir_jax import compose
from elir_jax.commands.conversion import convert
from elir_jax.compose.finding import find_weights
from elir_jax.compose.packing import pack
from elir_jax.compose.restoration import build_restoration
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.errors import UserError
from elir_jax.flow.path import Sampler
from elir_jax.inference.one_program import run_parts
from elir_jax.methods.elir import build_networks, elir_parts
from elir_jax.parity.checkout import Checkout, default_settings
from elir_jax.restorer import Restorer
from elir_jax.running.records import checkpoint
from elir_jax.running.records.checkpoint import read_newest
from elir_jax.running.records.writers import FOLDER
from elir_jax.weights.layouts import open_source
from elir_jax.weights.models import write_model
from elir_jax.weights.sizes import read_sizes

TORCH = Path(__file__).resolve().parent / "torch_reference"
SIZES = {
    "estimator": {"hidden": 8, "num_blocks": 1},
    "velocity": {"hidden": 32, "channel_multipliers": (1, 2), "num_mid_blocks": 1, "time_dim": 8},
}
ELIR = {
    "num_steps": 2,
    "estimator": SIZES["estimator"],
    "velocity": SIZES["velocity"] | {"form": "collapsing"},
    "objective": {"sigma_s": 0.1},
}
PAIR = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)


def student(teacher, **changes):
    config = chaining.small(directflow, num_steps=4, **SIZES).unlock()
    config.teacher.update(weights=str(teacher), num_steps=2)
    config.student.rank = 2
    config.student.update(changes.pop("student", {}))
    config.update(changes)
    return config.lock()


def as_trained(config, workdir):
    """A run's folder with a checkpoint of random weights."""
    built, rng = compose.build(config), np.random.default_rng(0)

    def draw(leaf):
        scale = np.prod(leaf.shape[:-1]) ** -0.5 if len(leaf.shape) > 1 else 0.1
        return np.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype)

    state = jax.tree.map(draw, built.state_like())
    checkpoint.write(workdir / FOLDER, 2, state, {"samples": 0}, built.config)
    return workdir


@pytest.fixture(scope="module")
def teacher(unlocked, tmp_path_factory):
    return as_trained(chaining.small(quickstart, **ELIR), tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def trained(teacher, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("student")
    assert run(student(teacher), workdir) == 0
    return workdir


def same(a, b):
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


def restored(restorer):
    """What it makes of the pair, not clipped."""
    return np.concatenate(restorer.stages(list(PAIR), 0))


@pytest.mark.slow
def test_it_trains_adapters_alone_and_keeps_the_teachers_averaged_weights(teacher, trained):
    found, averaged = (read_newest(place / "checkpoints").tree for place in (trained, teacher))
    assert found["ema"].keys() == {"lora"}
    assert found["frozen"].keys() == {"encoder", "decoder", "teacher"}
    taught = found["frozen"]["teacher"]
    assert same(taught["encoder"], averaged["ema"]["encoder"])
    assert not same(found["frozen"]["encoder"], taught["encoder"])  # this one was never trained
    assert same(found["frozen"]["decoder"], averaged["frozen"]["decoder"])
    assert "expand_kernel" not in str(jax.tree.structure(taught))  # folded


@pytest.mark.slow
def test_it_resumes_without_its_teacher_to_the_same_state(teacher, trained, tmp_path):
    copy = tmp_path / "teacher"
    shutil.copytree(teacher, copy)
    config = student(copy)
    with killed_at(4):
        run(config, tmp_path / "student")
    shutil.rmtree(copy)
    assert run(config, tmp_path / "student") == 0
    assert saved(tmp_path / "student") == saved(trained)


@pytest.mark.slow
def test_the_packed_student_is_an_elir_of_one_step_that_restores_the_same(trained, tmp_path):
    model = pack(trained)
    assert model.config["method"] == "elir" and model.config["sampler"]["num_steps"] == 1
    assert model.params.keys() == {"encoder", "estimator", "velocity", "decoder"}
    write_model(tmp_path / "student.safetensors", model)
    convert(tmp_path / "student.safetensors", tmp_path / "release.safetensors", False)
    wanted = restored(Restorer.load(trained))
    packed = Restorer.load(tmp_path / "student.safetensors")
    config = find_weights(tmp_path / "student.safetensors").config
    released = Restorer.load(tmp_path / "release.safetensors", config)
    for restorer in (packed, released):
        assert restorer.stage_names[-1] == "step_1"
        error = np.abs(restored(restorer) - wanted).max()
        assert error < 5e-3 * np.abs(wanted).max()  # the weights have 16 bits


@pytest.mark.slow
def test_a_student_of_a_mean_in_pixels_restores_by_its_teachers_parts(tmp_path):
    config = student(tmp_path).unlock()
    del config.estimator
    config.estimator = ConfigDict({"kind": "pixel_unet", "widths": (8,) * 3, "blocks": (1,) * 3})
    folder = as_trained(config, tmp_path / "run")
    model = pack(folder)
    assert model.config["estimator"]["kind"] == "pixel_unet"
    assert not model.config["autoencoder"]["trainable_encoder"]
    write_model(tmp_path / "student.safetensors", model)
    own, packed = Restorer.load(folder), Restorer.load(tmp_path / "student.safetensors")
    stages = ("posterior_mean", "latent_mmse_noisy", "step_1")
    assert own.stage_names == packed.stage_names == stages
    wanted = restored(own)
    assert np.abs(restored(packed) - wanted).max() < 5e-3 * np.abs(wanted).max()
    config.student.input = "lq"
    with pytest.raises(UserError, match="estimator.kind=pixel_unet needs input=mmse"):
        compose.build(config)


@pytest.mark.slow
def test_the_release_restores_the_same_with_its_converted_file(tmp_path):
    """In one step, with tests/torch_reference in the place of the release's checkout."""
    pytest.importorskip("torch", reason="the release's code needs torch")
    # As wide as the release's autoencoder.
    config = student(tmp_path, autoencoder={"weights": "untrained", "width": 64})
    run_folder = as_trained(config, tmp_path / "run")
    write_model(tmp_path / "student.safetensors", pack(run_folder))
    convert(tmp_path / "student.safetensors", tmp_path / "student.pth", False)
    source = open_source(tmp_path / "student.pth")
    release = Checkout(TORCH, source, read_sizes(source), default_settings(1, 0.1))
    key = jax.random.key(1)
    eps = np.asarray(jax.random.normal(key, (2, 8, 8, 16)))
    theirs = release.restoration(PAIR, eps)[f"decoded_{release.kind}"]
    own = build_restoration(run_folder)
    ours = run_parts(own.method.parts, own.params, own.frozen, jnp.asarray(PAIR), key)
    assert np.abs(ours - theirs).max() < 5e-3 * np.abs(theirs).max()  # the model has 16 bits


@pytest.mark.slow
def test_winograds_kernels_of_the_merged_student_restore_the_same(trained):
    found = find_weights(trained)
    method = compose.build_method(found.config)
    weights = compose.for_inference(method, found.given, trained, found.frozen)
    params = pack(trained).params
    plain, _ = build_networks(found.config)  # as it is trained
    parts = elir_parts(plain, Sampler(1, 0.1), 2)
    key = jax.random.key(1)
    wanted = run_parts(parts, params, params, jnp.asarray(PAIR), key)
    found = run_parts(method.parts, *weights, jnp.asarray(PAIR), key)
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    shape = weights[0]["velocity"]["mid0"]["block0"]["conv"]["kernel"].shape
    assert shape[:2] == (4, 4)  # transformed


@pytest.mark.slow
def test_a_run_with_its_teacher_does_not_go_into_the_releases_file(trained, tmp_path):
    with pytest.raises(UserError, match="--model"):
        convert(trained, tmp_path / "release.safetensors", False)


@pytest.mark.slow
def test_stage_b_goes_on_from_stage_a(teacher, tmp_path):
    conditions = {"adapter": "zero", "control": True, "input": "lq"}
    first = student(teacher, student=conditions | {"stage": "a"})
    as_trained(first, tmp_path / "a")
    averaged = read_newest(tmp_path / "a" / "checkpoints").tree["ema"]
    assert averaged.keys() == {"adapter", "control"}
    second = student(teacher, student=conditions | {"weights": str(tmp_path / "a")})
    params, frozen = compose.build_method(second).init(jax.random.key(0), starting_weights(second))
    assert params.keys() == {"adapter", "lora"}
    assert same(params["adapter"], averaged["adapter"])
    assert same(frozen["control"], averaged["control"])
    with pytest.raises(UserError, match="input=mmse"):
        pack(tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, words",
    [
        ({"teacher": {"sigma_s": 0.2}}, ["teacher.sigma_s=0.1", "0.2"]),
        ({"degradation": {"denoising": {"sigma": 0.2}}}, ["degradation.denoising.sigma=0.35"]),
        ({"degradation": {"name": "colorization"}}, ["degradation.name=denoising"]),
        ({"autoencoder": {"weights": "untrained"}}, ["autoencoder.weights=embedded"]),
        ({"estimator": {"hidden": 16}}, ["teacher.weights=", "another network"]),
        ({"teacher": {"weights": "/no/such/run"}}, ["teacher.weights=/no/such/run"]),
        ({"teacher": {"num_steps": 0}}, ["config.teacher", "num_steps"]),
        ({"objective": {"band": (0.3, 0.2)}}, ["config.objective", "band"]),
        ({"student": {"rank": 0}}, ["config.student", "rank"]),
        ({"student": {"targets": ("attention",)}}, ["attention", "no module"]),
        ({"student": {"control": True}}, ["student.control=True", "stage a"]),
        ({"student": {"stage": "c"}}, ["student.stage=c", "full"]),
        ({"student": {"stage": "a"}}, ["student.stage=a", "adapter"]),
        ({"student": {"adapter": "x"}}, ["student.adapter=x", "scalar"]),
        ({"student": {"input": "x"}}, ["config.student", "input"]),
        ({"sampler": {"num_steps": 2}}, ["sampler.num_steps=2", "1 step"]),
        ({"student": {"share_noise": False}}, ["sampler.noise=True", "share_noise=False"]),
    ],
)
def test_mistakes_are_named(teacher, changes, words):
    config = student(teacher)
    with config.unlocked():
        config.update(changes)
    with pytest.raises(UserError) as error:
        built = compose.build(config)
        built.state_like()
        built.init_state(teacher / "nowhere")
    assert all(word in str(error.value) for word in words), error.value
