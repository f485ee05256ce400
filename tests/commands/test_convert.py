"""Conversion: every layout in, ours and the release's out, bit for bit; refusals by name."""

import os
import pickle

import numpy as np
import pytest
import small
from safetensors.numpy import load_file, save_file

from elir_jax.commands.convert import main
from elir_jax.networks.layers import collapse
from elir_jax.weights import files
from elir_jax.weights.files import write_tensors
from elir_jax.weights.layouts import DIFFUSERS, LIGHTNING, ONE_FILE
from elir_jax.weights.own import read_weights
from elir_jax.weights.release import to_release

PARAMS = small.init()[0] | {"decoder": small.init()[1]["decoder"]}
EXPANDED, COLLAPSED = to_release(PARAMS), to_release(collapse(PARAMS))
AUTOENCODER = {n: a for n, a in EXPANDED.items() if n.startswith(("enc.", "dec."))}


def equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(
        ours[n].dtype == theirs[n].dtype and np.array_equal(ours[n], theirs[n]) for n in theirs
    )


def renamed(tensors, layout):
    return {layout.from_release(name): value for name, value in tensors.items()}


@pytest.mark.parametrize("tensors", [EXPANDED, COLLAPSED], ids=["expanded", "collapsed"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_release_goes_round_bit_for_bit(tensors, suffix, tmp_path, capsys):
    if suffix == ".pth":
        pytest.importorskip("torch", reason=".pth files need torch")
    source, back = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write_tensors(source, tensors)
    assert main([str(source), str(tmp_path / "ours")]) == 0
    assert "--config.velocity.hidden=32" in capsys.readouterr().out
    assert main([str(tmp_path / "ours"), str(back)]) == 0
    assert equal(files.read_tensors(back), tensors)


@pytest.mark.parametrize("layout", [LIGHTNING, DIFFUSERS, ONE_FILE], ids=lambda k: k.title)
def test_other_layouts_give_the_same_weights(layout, tmp_path):
    tensors = EXPANDED if layout is LIGHTNING else AUTOENCODER
    source, back = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    others = {"state_dict.model.enc.layers.0.weight": np.zeros(3)} if layout is LIGHTNING else {}
    save_file(renamed(tensors, layout) | others, source)
    assert main([str(source), str(tmp_path / "ours")]) == 0
    assert main([str(tmp_path / "ours"), str(back)]) == 0
    assert equal(load_file(back), tensors)


def test_a_lightning_checkpoint_is_read_with_torch(tmp_path):
    torch = pytest.importorskip("torch", reason=".ckpt files need torch")
    tables: dict = {"epoch": 3, "state_dict": {"model.x": torch.zeros(2)}, "loops": {"a": [1]}}
    for name, value in EXPANDED.items():
        part, _, rest = name.partition(".")
        tables.setdefault(f"state_dict_{part}", {})[rest] = torch.from_numpy(np.array(value))
    torch.save(tables, tmp_path / "last.ckpt")
    assert main([str(tmp_path / "last.ckpt"), str(tmp_path / "out.safetensors")]) == 0
    assert equal(load_file(tmp_path / "out.safetensors"), EXPANDED)


def refused(capsys, *arguments):
    assert main(list(map(str, arguments))) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


def test_what_does_not_fit_is_refused_by_name(tmp_path, capsys):
    source = tmp_path / "in.safetensors"
    tensors = dict(EXPANDED)
    name = "mmse.lrm.0.RDB2.conv3.block.0"
    tensors[f"{name}.wait"] = tensors.pop(f"{name}.bias")
    save_file(tensors, source)
    message = refused(capsys, source, tmp_path / "ours")
    assert f"missing: {name}.bias" in message and f"unknown: {name}.wait" in message

    save_file(EXPANDED | {"fmir.mid_blocks.0.conv2d.bias": np.zeros(5, np.float32)}, source)
    message = refused(capsys, source, tmp_path / "ours")
    assert "fmir.mid_blocks.0.conv2d.bias" in message and "(5,)" in message

    save_file(EXPANDED | {"discriminator.weight": np.zeros(5, np.float32)}, source)
    assert "discriminator.weight" in refused(capsys, source, tmp_path / "ours")
    save_file({"weight": np.zeros(5, np.float32)}, source)
    assert "unknown layout" in refused(capsys, source, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file(COLLAPSED, source)
    target.write_text("mine")
    assert "--overwrite" in refused(capsys, source, target)
    assert target.read_text() == "mine"
    assert main([str(source), str(target), "--overwrite"]) == 0
    assert equal(load_file(target), COLLAPSED)
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    assert "checkpoints" in refused(capsys, source, run)
    assert "no such" in refused(capsys, tmp_path / "absent.pth", tmp_path / "new")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["torch", "bare pickle", "hidden in a table"])
def test_a_payload_is_refused_and_runs_nothing(kind, tmp_path, capsys):
    torch = pytest.importorskip("torch", reason=".pth files need torch")
    trap, source = tmp_path / "trap", tmp_path / "in.pth"
    if kind == "bare pickle":
        source.write_bytes(pickle.dumps({"enc.layers.0.weight": Payload(trap)}))
    else:
        payload = {"enc.layers.0.weight": torch.zeros(3), "hyper_parameters": Payload(trap)}
        torch.save(payload if kind == "torch" else {"state_dict": payload}, source)
    message = refused(capsys, source, tmp_path / "ours")
    assert "none of its code was run" in message
    assert "weights_only" not in message  # no advice to run it
    assert kind == "bare pickle" or "asks for posix.mkdir" in message
    assert not trap.exists()


@pytest.mark.parametrize("name", ["in.pth", "in.safetensors"])
def test_an_empty_file_is_said_to_be_empty(name, tmp_path, capsys):
    (tmp_path / name).touch()
    assert f"{name}: is empty" in refused(capsys, tmp_path / name, tmp_path / "ours")


def test_without_torch_one_line_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "in.pth").write_bytes(b"PK")
    message = refused(capsys, tmp_path / "in.pth", tmp_path / "ours")
    assert "pip install torch" in message and ".safetensors" in message
    save_file(EXPANDED, tmp_path / "in.safetensors")
    assert main([str(tmp_path / "in.safetensors"), str(tmp_path / "ours")]) == 0
    assert read_weights(tmp_path / "ours").keys() == PARAMS.keys()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_files_are_one_line(suffix, tmp_path, capsys):
    if suffix == ".pth":
        pytest.importorskip("torch", reason=".pth files need torch")
    whole = tmp_path / f"whole{suffix}"
    write_tensors(whole, COLLAPSED)
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for share in (0, 0.01, 0.5, 0.99):
        cut.write_bytes(content[: int(share * len(content))])
        assert str(cut) in refused(capsys, cut, tmp_path / "ours")
