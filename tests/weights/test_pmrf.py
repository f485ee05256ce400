"""PMRF's and DifFace's files: every layout in and out bit for bit; refusals by name."""

import json

import jax
import numpy as np
import pmrf_golden
import pytest
import reference
from safetensors.numpy import load_file, save_file

from elir_jax.errors import UserError
from elir_jax.networks.hdit import HDiT
from elir_jax.weights.files import read_tensors, write_tables, write_tensors
from elir_jax.weights.hdit import hdit_shapes, hdit_tensors, read_hdit
from elir_jax.weights.layouts import Source
from elir_jax.weights.pmrf import (
    ARCHITECTURES,
    Pmrf,
    Trained,
    read_estimator,
    read_pmrf,
    write_pmrf,
)
from elir_jax.weights.swinir import read_swinir, swinir_shapes, swinir_tensors

HDIT, SWINIR = pmrf_golden.tensors("hdit"), pmrf_golden.tensors("swinir")
FLOW = {f"model.{n}": a for n, a in HDIT.items()} | {
    f"mmse_model.{n}": a for n, a in SWINIR.items()
}
SETTINGS = {"stage": "flow", "arch": "hdit_small", "mmse_model_arch": "swinir_small"}
BUFFERS = ("freqs", "emb.weight", "relative_position_index", "attn_mask")


def equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(
        ours[n].dtype == theirs[n].dtype and np.array_equal(ours[n], theirs[n]) for n in theirs
    )


def same(one, other):
    return jax.tree.structure(one) == jax.tree.structure(other) and all(
        map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other))
    )


def averages(part):
    """As the public module lists its parameters, which record_pmrf.py recorded."""
    names = pmrf_golden.recorded(part)["parameters"]
    tensors = pmrf_golden.tensors(part)
    return {str(name): tensors[str(name)] + 1 for name in names}


def checkpoint(state, average=None):
    tables = {"epoch": 3, "state_dict": state, "loops": {"a": [1]}, "optimizer_states": [{}]}
    if average is not None:
        tables["ema"] = {"decay": 0.9, "num_updates": 7, "shadow_params": list(average.values())}
    return tables


@pytest.mark.parametrize("part", ["hdit", "swinir"])
def test_the_tensors_come_back_bit_for_bit_in_the_modules_order(part):
    write, tensors = {"hdit": (hdit_tensors, HDIT), "swinir": (swinir_tensors, SWINIR)}[part]
    names = [name for name in tensors if not name.endswith(BUFFERS)]
    assert names == list(pmrf_golden.recorded(part)["parameters"])
    path = pmrf_golden.GOLDEN
    read = read_hdit if part == "hdit" else read_swinir
    back = write(*read(Source(path, "", dict(reversed(tensors.items())), str)))
    assert list(back) == list(tensors) and equal(back, tensors)


@pytest.mark.parametrize("name", ["hdit_ImageNet256Sp4", "hdit_XL2", "swinir_L", "swinir_M"])
def test_every_name_of_a_full_network_is_known_and_no_other(name):
    module = ARCHITECTURES[name]
    hdit = isinstance(module, HDiT)
    shapes = hdit_shapes(module, 3) if hdit else swinir_shapes(module)
    # Without memory for 160 million numbers: one, seen as many.
    empty = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)
    order = hdit_tensors if hdit else swinir_tensors
    counts = {"hdit_ImageNet256Sp4": 149, "swinir_L": 732}
    tensors = order(module, empty)
    assert len(tensors) == counts.get(name, len(tensors))
    assert sum(not n.endswith(BUFFERS) for n in tensors) == len(jax.tree.leaves(shapes["params"]))


def test_latent_pmrfs_transformer_goes_round(tmp_path):
    _, tensors = reference.recorded_network("latent_pmrf", "latent_hdit")
    back = hdit_tensors(*read_hdit(Source(tmp_path, "", tensors, str)))
    frequencies = {name for name in tensors if name.endswith("freqs")}
    assert back.keys() == tensors.keys() and len(frequencies) == 8
    assert all(np.array_equal(back[n], tensors[n]) for n in tensors.keys() - frequencies)


def test_a_hub_folder_goes_round(tmp_path):
    metrics = {"fid.inception.weight": np.zeros(2, np.float32), "inception_score.n": np.ones(1)}
    save_file(FLOW | metrics, tmp_path / "model.safetensors")
    read = read_pmrf(tmp_path)
    assert read.model.module == pmrf_golden.NETWORKS["hdit"] and read.model.averaged is None
    assert read.estimator.module == pmrf_golden.NETWORKS["swinir"]
    write_pmrf(tmp_path / "back", read, SETTINGS)
    assert equal(load_file(tmp_path / "back" / "model.safetensors"), FLOW)
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == SETTINGS


def test_a_lightning_checkpoint_goes_round_with_its_nameless_average(tmp_path):
    torch = pytest.importorskip("torch", reason=".ckpt files need torch")
    write_tables(tmp_path / "in.ckpt", checkpoint(FLOW, averages("hdit")))
    read = read_pmrf(tmp_path / "in.ckpt")
    assert same(read.model.best, read.model.averaged)
    ours = hdit_tensors(read.model.module, read.model.averaged)
    assert equal(ours, HDIT | averages("hdit"))  # each in its place, constants as they were
    write_pmrf(tmp_path / "out.ckpt", read, SETTINGS)
    content = torch.load(tmp_path / "out.ckpt", weights_only=True)
    assert equal({n: a.numpy() for n, a in content["state_dict"].items()}, FLOW)
    shadow = [tensor.numpy() for tensor in content["ema"]["shadow_params"]]
    assert all(map(np.array_equal, shadow, averages("hdit").values()))
    assert content["hyper_parameters"] == SETTINGS
    again = read_pmrf(tmp_path / "out.ckpt")
    assert same(again.model.variables, read.model.variables)
    assert same(again.model.averaged, read.model.averaged)


def test_a_hub_folder_is_written_with_the_average(tmp_path):
    read = read_from(tmp_path, HDIT, averages("hdit"))
    write_pmrf(tmp_path / "hub", read, SETTINGS)
    assert same(read_pmrf(tmp_path / "hub").model.variables, read.model.averaged)


def read_from(folder, tensors, average):
    pytest.importorskip("torch", reason=".ckpt files need torch")
    state = {f"model.{name}": value for name, value in tensors.items()}
    write_tables(folder / "in.ckpt", checkpoint(state, average))
    return read_pmrf(folder / "in.ckpt")


@pytest.mark.parametrize("prefix", ["", "params_ema.", "state_dict.module.", "state_dict.model."])
def test_difface_posterior_mean_is_read_under_any_of_its_prefixes(prefix, tmp_path):
    other = {"params.conv_last.bias": np.zeros(3, np.float32)} if prefix == "params_ema." else {}
    save_file({f"{prefix}{n}": a for n, a in SWINIR.items()} | other, tmp_path / "l1.safetensors")
    module, variables = read_estimator(tmp_path / "l1.safetensors")
    assert module == pmrf_golden.NETWORKS["swinir"]
    assert equal(swinir_tensors(module, variables), SWINIR)


def test_pmrfs_own_posterior_mean_is_read_averaged(tmp_path):
    read = read_from(tmp_path, SWINIR, averages("swinir"))
    module, variables = read_estimator(tmp_path / "in.ckpt")
    assert module == read.model.module and same(variables, read.model.averaged)
    assert equal(swinir_tensors(module, variables), SWINIR | averages("swinir"))


def refused(function, *arguments):
    with pytest.raises(UserError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"model.mid_level.0.ff.wait": np.zeros(2)},
            "1 tensor(s) unknown: model.mid_level.0.ff.wait",
        ),
        ({"model.out_norm.scale": None}, "1 tensor(s) missing: model.out_norm.scale"),
        (
            {"model.mid_level.0.self_attn.pos_emb.freqs": None},
            "missing: model.mid_level.0.self_attn",
        ),
        ({"model.out_norm.scale": np.zeros(3)}, "model.out_norm.scale has shape (3,), not (32,)"),
        ({"mmse_model.norm.bias": None}, "1 tensor(s) missing: mmse_model.norm.bias"),
        ({"mmse_model.layers.0.wait": np.zeros(1)}, "unknown: mmse_model.layers.0.wait"),
        ({"optimizer.x": np.zeros(1)}, "1 unknown tensor(s): optimizer.x"),
        (
            {"model.down_levels.0.0.self_attn.pos_emb.freqs": np.ones((2, 2))},
            "down_levels.0.0.self_attn.pos_emb.freqs differs from what this network",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message, tmp_path):
    tensors = {name: value for name, value in (FLOW | change).items() if value is not None}
    save_file(tensors, tmp_path / "model.safetensors")
    said = refused(read_pmrf, tmp_path)
    assert message in said and str(tmp_path) in said


@pytest.mark.parametrize("drop", [1, -1])
def test_an_average_that_does_not_match_is_refused(drop, tmp_path):
    average = averages("hdit")
    values = list(average.values())[1:] if drop == 1 else list(average.values())[::-1]
    said = refused(read_from, tmp_path, HDIT, dict(enumerate(values)))
    assert f"ema.shadow_params ({len(values)} tensors) does not match" in said


def test_a_file_that_carries_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch", reason=".ckpt files need torch")
    torch.save({"state_dict": {}, "hyper_parameters": pytest.raises}, tmp_path / "in.ckpt")
    assert "refused, and none of its code was run" in refused(read_pmrf, tmp_path / "in.ckpt")


def test_files_of_something_else_are_refused(tmp_path):
    save_file({"fid.x": np.zeros(1)}, tmp_path / "a.safetensors")
    assert "no tensor named model.*" in refused(read_pmrf, tmp_path / "a.safetensors")
    read_from(tmp_path, HDIT, averages("hdit"))
    assert "not of its posterior mean" in refused(read_estimator, tmp_path / "in.ckpt")


def test_networks_that_pmrf_has_no_name_for_are_not_written_under_one(tmp_path):
    module = pmrf_golden.NETWORKS["hdit"]
    variables = read_hdit(Source(tmp_path, "", HDIT, str))[1]
    said = refused(write_pmrf, tmp_path / "x", Pmrf(Trained(module, variables)), {"stage": "flow"})
    assert "PMRF has no name" in said and not (tmp_path / "x").exists()


def test_lists_of_tensors_are_read_by_number_and_other_lists_left_aside(tmp_path):
    pytest.importorskip("torch", reason=".ckpt files need torch")
    values = [np.ones(2, np.float32), np.zeros((1, 3), np.float32)]
    write_tables(tmp_path / "a.ckpt", {"x": {"list": values, "other": [1, "a"]}})
    assert equal(read_tensors(tmp_path / "a.ckpt"), {"x.list.0": values[0], "x.list.1": values[1]})
    write_tensors(tmp_path / "b.ckpt", {"y": values[0]})
    assert equal(read_tensors(tmp_path / "b.ckpt"), {"y": values[0]})
