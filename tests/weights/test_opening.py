"""Files of PMRF, told by their tensors, with their options; our parameters back again."""

import jax
import numpy as np
import pmrf_golden
import pytest
from safetensors.numpy import save_file

from elir_jax.commands.conversion import convert
from elir_jax.errors import UserError
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.swinir import SwinIR
from elir_jax.weights.hdit import hdit_shapes, hdit_tensors
from elir_jax.weights.opening import is_pmrf, open_weights
from elir_jax.weights.own import read_weights
from elir_jax.weights.pmrf import ARCHITECTURES, HUB_FILE
from elir_jax.weights.sections import read_section
from elir_jax.weights.shaping import hdit_of, is_of_pmrf, pmrf_of, swinir_of
from elir_jax.weights.swinir import swinir_shapes

HDIT, SWINIR = pmrf_golden.tensors("hdit"), pmrf_golden.tensors("swinir")
FLOW = {f"model.{n}": a for n, a in HDIT.items()}
MEAN = {f"mmse_model.{n}": a for n, a in SWINIR.items()}


def hub(folder, tensors):
    save_file(tensors, folder / HUB_FILE)
    return folder


def test_a_hub_folder_brings_networks_and_the_options_that_ask_for_them(tmp_path):
    opened = open_weights(hub(tmp_path, FLOW | MEAN))
    assert is_pmrf(tmp_path) and is_of_pmrf(opened.params)
    assert opened.params.keys() == {"velocity", "constants", "estimator"}
    found = pmrf_of(opened.params)
    assert found.model.module == pmrf_golden.NETWORKS["hdit"]
    assert found.estimator.module == pmrf_golden.NETWORKS["swinir"]
    wanted = {
        "velocity.widths": (32, 64), "velocity.depths": (2, 1), "velocity.kernels": (7, 0),
        "velocity.head_dim": 16, "velocity.patch": 4, "velocity.mapping_width": 32,
        "velocity.mapping_depth": 1, "estimator.width": 24, "estimator.depths": (2, 1),
        "estimator.heads": 6, "estimator.features": 64,
        "objective.source": "mean", "objective.condition": "none",
    }  # fmt: skip
    assert opened.options == wanted


@pytest.mark.parametrize(
    "mean, channels, source, condition",
    [
        ({}, 3, "degraded", "none"),
        ({}, 6, "noise", "degraded"),
        (MEAN, 6, "noise", "mean"),
    ],
)
def test_the_baselines_are_told_by_what_the_network_takes(
    mean, channels, source, condition, tmp_path
):
    module = pmrf_golden.NETWORKS["hdit"]
    zeros = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, np.float32), hdit_shapes(module, channels)
    )
    flow = {f"model.{name}": value for name, value in hdit_tensors(module, zeros).items()}
    options = open_weights(hub(tmp_path, flow | mean)).options
    assert (options["objective.source"], options["objective.condition"]) == (source, condition)


def test_a_posterior_mean_alone_is_an_estimator(tmp_path):
    save_file(SWINIR, tmp_path / "swinir.safetensors")
    opened = open_weights(tmp_path / "swinir.safetensors")
    assert opened.params.keys() == {"estimator"} and is_of_pmrf(opened.params)
    assert pmrf_of(opened.params).model.module == pmrf_golden.NETWORKS["swinir"]
    like = jax.eval_shape(lambda: opened.params)
    found = read_section(tmp_path / "swinir.safetensors", like)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, opened.params))
    other = {"estimator": swinir_shapes(SwinIR(24, (1,)))["params"]}
    with pytest.raises(UserError, match="another network"):
        read_section(tmp_path / "swinir.safetensors", other)


def test_a_file_without_a_flow_has_no_velocity(tmp_path):
    save_file(SWINIR, tmp_path / "swinir.safetensors")
    shapes = hdit_shapes(pmrf_golden.NETWORKS["hdit"], 3)
    like = {"velocity": shapes["params"], "constants": shapes["constants"]}
    with pytest.raises(UserError, match="missing.*velocity|missing.*constants"):
        read_section(tmp_path / "swinir.safetensors", like)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_sizes_of_full_networks_follow_from_their_shapes(name):
    module = ARCHITECTURES[name]
    if isinstance(module, HDiT):
        assert hdit_of(hdit_shapes(module, 3)["params"]) == module
    else:
        assert swinir_of(swinir_shapes(module)["params"]) == module


def test_the_command_converts_a_hub_folder_and_says_the_options(tmp_path, capsys):
    (tmp_path / "hub").mkdir()
    convert(hub(tmp_path / "hub", FLOW | MEAN), tmp_path / "ours", overwrite=False)
    said = capsys.readouterr().out
    assert "a checkpoint of PMRF" in said and "'--config.velocity.widths=(32,64)'" in said
    given = read_weights(tmp_path / "ours")
    assert given.keys() == {"velocity", "constants", "estimator"}
    with pytest.raises(UserError, match="no name for a network of these sizes"):
        convert(tmp_path / "ours", tmp_path / "small.ckpt", overwrite=False)
    with pytest.raises(UserError, match=r"\.ckpt, or a folder's model.safetensors"):
        convert(tmp_path / "ours", tmp_path / "ours.pth", overwrite=False)
