"""A model's file: it restores by itself as the weights it was made of, to 16-bit accuracy."""

import json

import jax
import numpy as np
import pytest
from identity import CONFIG, write_identity
from safetensors.numpy import load_file, save_file

from elir_jax import assets
from elir_jax.compose.finding import find_weights
from elir_jax.compose.packing import pack
from elir_jax.configurations import read_config
from elir_jax.errors import UserError
from elir_jax.fields import plain
from elir_jax.restorer import Restorer
from elir_jax.weights import files
from elir_jax.weights.files import write_tensors
from elir_jax.weights.models import CONFIG as KEY
from elir_jax.weights.models import Model, is_model, read_model, write_model
from elir_jax.weights.own import flatten, read_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="module")
def file(folder):
    path = folder / "model.safetensors"
    config = plain(read_config(CONFIG))
    write_model(path, Model("a test's", config, read_weights(folder)))
    return path


@pytest.mark.slow
def test_it_restores_by_itself_what_its_weights_restore(folder, file):
    image = np.random.default_rng(0).random((40, 24, 3), np.float32)
    by_file, by_folder = Restorer.load(file), Restorer.load(folder, CONFIG)
    assert by_file.title == "a test's"
    np.testing.assert_allclose(by_file(image), by_folder(image), atol=5e-3)


def test_weights_are_16_bit_floats_and_keep_names_and_shapes(folder, file):
    wanted = flatten(read_weights(folder))
    found = load_file(file)
    assert {name: leaf.shape for name, leaf in found.items()} == {
        name: leaf.shape for name, leaf in wanted.items()
    }
    assert {leaf.dtype for leaf in found.values()} == {np.dtype(np.float16)}
    for name, leaf in flatten(read_model(file).params).items():
        assert leaf.dtype == np.float32
        np.testing.assert_allclose(leaf, wanted[name], rtol=2**-11, atol=2**-25)


def test_packing_a_model_changes_nothing(file, tmp_path):
    again = pack(file)
    write_model(tmp_path / "again.safetensors", again)
    found, wanted = flatten(read_model(tmp_path / "again.safetensors").params), load_file(file)
    assert again.config == read_model(file).config
    assert again.title == pack(tmp_path / "again.safetensors").title == "elir, a test's"
    assert all(np.array_equal(found[name], wanted[name].astype(np.float32)) for name in wanted)


def test_converted_weights_without_a_configuration_make_no_model(folder):
    with pytest.raises(UserError, match="have no configuration"):
        pack(folder)


def test_a_model_takes_a_decoder_of_the_same_latents(tmp_path):
    embedded = load_file(assets.AUTOENCODER)
    changes = {"finer": "decoder.", "other": "encoder."}
    for name, part in changes.items():
        changed = {n: a * 2 if n.startswith(part) else a for n, a in embedded.items()}
        save_file(changed, tmp_path / f"{name}.safetensors")
    source = assets.model("denoising")
    before, after = pack(source), pack(source, str(tmp_path / "finer.safetensors"))
    assert before.params.keys() == after.params.keys()
    for name, tree in before.params.items():
        same = jax.tree.all(jax.tree.map(np.array_equal, tree, after.params[name]))
        assert same == (name != "decoder"), name
    with pytest.raises(UserError, match="other.safetensors: its encoder is not the one"):
        pack(source, str(tmp_path / "other.safetensors"))


def test_other_files_are_no_models(folder, tmp_path):
    assert not is_model(folder / "weights.safetensors")
    (tmp_path / "text.safetensors").write_text("this is no file of tensors")
    assert not is_model(tmp_path / "text.safetensors")
    assert not is_model(tmp_path / "absent.safetensors")


def test_a_damaged_model_is_named(file, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="cut.safetensors"):
        find_weights(cut)
    wrong = tmp_path / "wrong.safetensors"
    save_file(load_file(file), wrong, {KEY: "{half"})
    with pytest.raises(UserError, match="its configuration cannot be read"):
        find_weights(wrong)
    other = tmp_path / "other.safetensors"
    tensors = load_file(file)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, other, {KEY: json.dumps(plain(read_config(CONFIG)))})
    with pytest.raises(UserError, match=r"weights of another network: 1 tensor\(s\) missing"):
        Restorer.load(other)


def test_a_weight_beyond_16_bits_is_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "large.safetensors"
    with pytest.raises(UserError, match="velocity/bias does not fit 16-bit floats"):
        write_model(path, Model("", {}, {"velocity": {"bias": np.float32([1e6])}}))
    assert not path.exists()


def test_a_write_that_fails_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    path, beside = tmp_path / "a.safetensors", tmp_path / "a.safetensors.unfinished"
    for file in (path, beside):
        file.write_text("mine")

    def full(tensors, part, metadata):
        part.write_text("half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="a.safetensors: cannot be"):
        patch.setattr(files, "save_file", full)
        write_tensors(path, {"w": np.ones(3, np.float32)})
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        path.name: "mine", beside.name: "mine"
    }  # fmt: skip
    write_tensors(path, {"w": np.ones(3, np.float32)})
    assert beside.read_text() == "mine" and load_file(path).keys() == {"w"}


@pytest.mark.parametrize("name", assets.MODELS)
def test_a_model_that_ships_is_found_by_its_name(name):
    found = find_weights(assets.model(name).relative_to(assets.FOLDER).with_suffix(""))
    assert found.place == assets.model(name)
    assert found.place.stat().st_size <= 25e6
    assert found.config.method == "elir"
    assert found.config.data.path == found.config.data.eval_path == ""  # of the training machine


def test_an_unknown_model_is_named_with_those_there_are():
    with pytest.raises(UserError, match="poto: no such model; one of: photo, denoising, denois"):
        assets.model("poto")
