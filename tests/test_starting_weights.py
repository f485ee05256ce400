"""Every network starts from the weights that its own section names; what cannot be is one line."""

import jax
import numpy as np
import pytest
from old_run import old_config, old_run

from elir_jax import compose
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.errors import UserError
from elir_jax.running.records.checkpoint import read_averaged
from elir_jax.weights.files import write_tensors
from elir_jax.weights.own import write_weights
from elir_jax.weights.release import to_release

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return old_run(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def trees(folder):
    """(averaged, frozen) of the run."""
    return read_averaged(folder / "checkpoints")[1:]


def started(**weights):
    """(trained, frozen) parameters where ``weights`` names them by section."""
    config = old_config()
    config.update({section: {"weights": str(named)} for section, named in weights.items()})
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


@pytest.mark.parametrize("layout", ["converted", "weights.safetensors", "release.safetensors"])
def test_a_section_takes_its_own_of_a_file_that_holds_more(layout, tmp_path, trees):
    whole = trees[1] | trees[0]
    if layout == "release.safetensors":
        write_tensors(tmp_path / layout, to_release(whole))
    else:
        write_weights(tmp_path, whole)
    place = tmp_path if layout == "converted" else tmp_path / layout
    params, frozen = started(estimator=place, autoencoder=place)
    assert same(params["estimator"], whole["estimator"])
    assert same(frozen, {name: whole[name] for name in ("encoder", "decoder")})


@pytest.mark.parametrize(
    "section, named, words",
    [
        ("velocity", "embedded", "only these sections have embedded weights: autoencoder"),
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
