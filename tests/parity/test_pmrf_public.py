"""A checkpoint of ours in PMRF's layout, restored by its public code and by ours.

Needs a checkout of ohayonguy/PMRF, which the variable PMRF_CHECKOUT names, torch and einops. Each
test asks for a process of its own: the checkout's modules have names such as ``utils``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pmrf_golden as golden
import pytest
from PIL import Image

from configs import pmrf
from elir_jax.commands.compare import main
from elir_jax.compose.restoration import build_restoration
from elir_jax.inference.noise import picture_key
from elir_jax.parity.pictures import psnr_between
from elir_jax.restorer import Restorer
from elir_jax.weights.hdit import read_hdit
from elir_jax.weights.layouts import Source
from elir_jax.weights.pmrf import Pmrf, Trained, write_pmrf
from elir_jax.weights.swinir import read_swinir

SEARCHED = [str(golden.HERE / "support"), str(golden.HERE.parent), *sys.path]
THEIRS = """
import sys
import numpy as np
import pmrf_golden as golden, torch
from pathlib import Path
from elir_jax.parity.pmrf_checkout import PmrfCheckout
checkout, checkpoint, arrays, out = sys.argv[1:]
public = PmrfCheckout(Path(checkout), **{part: (m, None) for part, m in golden.NETWORKS.items()})
content = torch.load(checkpoint, map_location="cpu", weights_only=True)
public.flow.load_state_dict(content["state_dict"])
shadow = content["ema"]["shadow_params"]
with torch.no_grad():
    for parameter, mean in zip(public.model.parameters(), shadow, strict=True):
        parameter.copy_(mean)
given = np.load(arrays)
np.save(out, public.restoration(given["y"], given["eps"], 25)["restored"])
"""


@pytest.fixture
def checkout():
    named = os.environ.get("PMRF_CHECKOUT", "")
    if not (Path(named) / "lightning_models").is_dir():
        pytest.skip("no checkout of PMRF's public code; PMRF_CHECKOUT names none")
    pytest.importorskip("torch", reason="PMRF's public code needs torch")
    pytest.importorskip("einops", reason="PMRF's public code needs einops")
    return Path(named).resolve()


def own_checkpoint(path):
    """Trained and averaged weights differ; the averaged ones restore."""
    hdit, swinir = (golden.tensors(part) for part in ("hdit", "swinir"))
    module, variables = read_hdit(Source(path, "", hdit, str))
    halved = {n: a * np.float32(0.5) if n.endswith("proj.weight") else a for n, a in hdit.items()}
    model = Trained(module, read_hdit(Source(path, "", halved, str))[1], variables)
    estimator = Trained(*read_swinir(Source(path, "", swinir, str)))
    settings = {"arch": "small", "mmse_model_arch": "small", "stage": "flow"}
    write_pmrf(path, Pmrf(model, estimator), settings)


def test_both_restore_a_picture_from_one_file_above_70_db(checkout, tmp_path):
    own_checkpoint(tmp_path / "own.ckpt")
    x = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    config = pmrf.get_config("tiny")
    config.unlock()
    config.objective.sigma_s, config.sampler.num_steps = 0.1, 25
    restorer = Restorer.load(tmp_path / "own.ckpt", config)
    ours = np.clip(restorer.stages([x], 0)[0][0], 0, 1)

    eps = np.asarray(jax.random.normal(picture_key(0, x), x.shape))
    y = (x / np.float32(255)).astype(np.float32)
    np.savez(tmp_path / "given.npz", y=y[None], eps=eps[None])
    call = [sys.executable, "-c", THEIRS, checkout, tmp_path / "own.ckpt"]
    subprocess.run(
        [*map(str, call), str(tmp_path / "given.npz"), str(tmp_path / "out.npy")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(SEARCHED)},
        check=True,
    )
    (theirs,) = np.load(tmp_path / "out.npy")
    assert psnr_between(ours, theirs) > 70


def test_the_command_compares_with_a_checkout(checkout, tmp_path):
    """In a process of its own, and in a folder of its own."""
    own_checkpoint(tmp_path / "own.ckpt")
    pixels = np.random.default_rng(1).integers(0, 256, (70, 140, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    options = ("--checkpoint", "own.ckpt", "--image", "picture.png", "--num-steps", "3")
    call = [sys.executable, "-m", "elir_jax.interop.compare", "--reference-repo", str(checkout)]
    done = subprocess.run(
        [*call, *options, "--json", "table.json"],
        env=os.environ | {"PYTHONPATH": str(golden.HERE.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "table.json").read_text())
    assert found["psnr_between_restorations_db"]["picture.png"] > 70
    shapes = {row["stage"]: row["shape"] for row in found["rows"]}
    assert shapes["picture.png: Euler state z3"] == [1, 64, 128, 3]
    assert {"loss", "moved, norm patch_in.proj.weight"} <= shapes.keys()


def test_the_command_names_what_it_cannot_compare(tmp_path, capsys):
    pytest.importorskip("torch", reason=".ckpt files need torch")
    own_checkpoint(tmp_path / "own.ckpt")
    Image.new("RGB", (64, 64)).save(tmp_path / "picture.png")
    image = ("--image", str(tmp_path / "picture.png"))
    for checkpoint, said in (("own.ckpt", "lightning_models"), ("mean.pth", "no such file")):
        options = ("--reference-repo", str(tmp_path), "--checkpoint", str(tmp_path / checkpoint))
        assert main([*options, *image]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def test_the_files_options_ask_for_its_networks(tmp_path):
    pytest.importorskip("torch", reason=".ckpt files need torch")
    own_checkpoint(tmp_path / "own.ckpt")
    config = pmrf.get_config("tiny")
    found = build_restoration(tmp_path / "own.ckpt", config)
    assert found.title == "a checkpoint of PMRF"
    assert found.frozen.keys() == {"estimator", "constants"} and found.params.keys() == {"velocity"}
    np.testing.assert_array_equal(
        np.asarray(found.params["velocity"]["leave"]["kernel"]).T,
        golden.tensors("hdit")["patch_out.proj.weight"],
    )
