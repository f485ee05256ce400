"""The comparison passes where the numbers agree, and names the stage where one does not."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from PIL import Image
from safetensors.numpy import save_file

from elir_jax.commands.compare import main

HERE = Path(__file__).resolve().parent
TORCH_REFERENCE = HERE.parent / "torch_reference"
GOLDEN = HERE.parent / "golden" / "small.npz"
sys.path.append(str(TORCH_REFERENCE))
from make_golden import small_tensors  # noqa: E402


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The small networks' weights, expanded and collapsed."""
    folder = tmp_path_factory.mktemp("weights")
    for kind, tensors in small_tensors().items():
        save_file(tensors, folder / f"{kind}.safetensors")
    return folder


def run(*options, json_file):
    code = main([*map(str, options), "--json", str(json_file)])
    return code, json.loads(json_file.read_text())


def test_the_golden_file_is_small():
    assert GOLDEN.stat().st_size <= 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("form", ["collapsing", "expanded"])
def test_our_golden_file_passes(checkpoints, form, tmp_path, capsys):
    weights = checkpoints / "over.safetensors"
    code, found = run(
        "--golden", GOLDEN, "--checkpoint", weights, "--form", form, json_file=tmp_path / "t.json"
    )
    assert code == 0 and found["passed"]
    stages = {row["stage"] for row in found["rows"]}
    assert {
        "encoder (lq)", "estimator", "velocity v3", "Euler state z4", "decoder", "time embedding",
        "loss fm", "loss l2_cfm_mse", "gradient probes fmir.first_proj.weight", "trajectory losses",
        "moved enc.layers.0.weight", "EMA - moved mmse.lrm.0.RDB1.conv1.block.0.weight",
    } <= stages  # fmt: skip
    assert f"{len(stages)} of {len(stages)} pass" in capsys.readouterr().out


@pytest.mark.slow
def test_nudged_and_missing_values_fail_by_name(checkpoints, tmp_path, capsys):
    with np.load(GOLDEN) as file:
        arrays = dict(file)
    nudged = {
        "v1_flat": "velocity v1",
        "decoded_flat": "decoder",
        "pos_emb": "time embedding",
        "l2_fm_loss_flat": "loss l2_fm",
        "grad_flat/fmir.first_proj.bias": "gradient fmir.first_proj.bias",
        "gradprobe_flat/fmir.final_proj.bias": "gradient probes fmir.final_proj.bias",
        "trajprobe_flat/enc.layers.0.bias": "moved enc.layers.0.bias",
        "emaprobe_flat/fmir.final_proj.bias": "EMA - moved fmir.final_proj.bias",
    }
    for name in nudged:
        arrays[name] = arrays[name].copy()
        arrays[name].flat[0] += 1e-3
    del arrays["cfm_loss_flat"], arrays["gradprobe_flat/enc.layers.0.weight"]
    arrays["emaprobe_flat/enc.layers.99.weight"] = np.zeros(3)
    path = tmp_path / "nudged.npz"
    np.savez(path, **arrays)
    weights = checkpoints / "flat.safetensors"
    code, found = run("--golden", path, "--checkpoint", weights, json_file=tmp_path / "t.json")
    assert code == 1 and not found["passed"]
    assert {row["stage"] for row in found["rows"] if not row["passed"]} == {
        *nudged.values(),
        "loss cfm",
        "gradient probes enc.layers.0.weight",
        "EMA - moved enc.layers.99.weight",
    }
    assert "FAIL no key cfm_loss" in capsys.readouterr().out


def test_mistakes_are_one_line(checkpoints, tmp_path, capsys):
    weights = str(checkpoints / "flat.safetensors")

    def error(*options):
        assert main(list(map(str, options))) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    assert "--golden" in error("--checkpoint", weights)
    assert "no such file" in error("--golden", tmp_path / "no.npz", "--checkpoint", weights)
    (tmp_path / "text.npz").write_text("hello")
    assert "text.npz" in error("--golden", tmp_path / "text.npz", "--checkpoint", weights)
    np.savez(tmp_path / "other.npz", hq=np.zeros(3))
    assert "config" in error("--golden", tmp_path / "other.npz", "--checkpoint", weights)
    image = tmp_path / "image.png"
    Image.new("RGB", (64, 64)).save(image)
    pytest.importorskip("torch", reason="comparing with a checkout needs torch")
    options = ("--checkpoint", weights, "--image", image)
    assert "checkout" in error("--reference-repo", tmp_path, *options)


@pytest.mark.slow
def test_a_checkout_passes_on_a_picture(checkpoints, tmp_path, capsys):
    pytest.importorskip("torch", reason="comparing with a checkout needs torch")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    image = tmp_path / "image.png"
    Image.fromarray(pixels).save(image)
    code, found = run(
        "--reference-repo", TORCH_REFERENCE, "--checkpoint", checkpoints / "flat.safetensors",
        "--image", image, "--num-steps", 2, json_file=tmp_path / "t.json",
    )  # fmt: skip
    assert code == 0, [row for row in found["rows"] if not row["passed"]]
    assert found["psnr_between_restorations_db"][str(image)] >= 70
    stages = {row["stage"]: row["shape"] for row in found["rows"]}
    assert stages["image.png: restored, end to end"] == [1, 32, 64, 3]
    assert "dB PSNR between the two restorations" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["over", "flat"])
def test_the_releases_golden_arrays_pass(kind, tmp_path):
    arrays, weights = reference.golden_files(kind)
    code, found = run("--golden", arrays, "--checkpoint", weights, json_file=tmp_path / "t.json")
    assert code == 0, [row for row in found["rows"] if not row["passed"]]
