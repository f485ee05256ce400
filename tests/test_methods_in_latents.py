"""sim_vae, then latent_pmrf on its run: every stage, killed and resumed.

The estimator is untrained; tests/test_methods_in_pixels.py trains one.
"""

import json

import jax
import numpy as np
import pytest
from chaining import run, small
from killing import killed_at, saved

from configs import latent_pmrf_bfr, sim_vae
from elir_jax.restorer import Restorer
from elir_jax.running.records.checkpoint import read_newest

ESTIMATOR = {"weights": "", "width": 12, "depths": (2,), "features": 4}
VAE = {"channels": (8, 8, 8, 8), "layers": 1, "mid_layers": 1, "latent_channels": 4}
FLOW = {"widths": (16, 32), "depths": (1, 1), "head_dim": 16, "mapping_width": 16,
        "mapping_depth": 1}  # fmt: skip


@pytest.fixture(scope="module")
def autoencoder(unlocked, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("sim_vae")
    vae = small(sim_vae, num_steps=2, autoencoder=VAE, optimizer={"warmup_steps": 1})
    assert run(vae, workdir) == 0
    return workdir


@pytest.fixture(scope="module")
def config(autoencoder):
    config = small(
        latent_pmrf_bfr,
        num_steps=4,
        estimator=ESTIMATOR,
        velocity=FLOW,
        sampler={"num_steps": 2},
    ).unlock()
    with config.unlocked():
        config.autoencoder = {"kind": "sim_vae", "weights": str(autoencoder), **VAE}
    return config.lock()


@pytest.fixture(scope="module")
def flow(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("latent_pmrf")
    assert run(config, workdir) == 0
    return workdir


def test_every_stage_is_in_the_table(flow):
    stages = json.loads((flow / "evaluation" / "metrics.json").read_text())
    names = ["input", "posterior_mean", "mean_decoded", "source", "step_1", "step_2", "restored"]
    assert list(stages) == names
    assert stages["mean_decoded"] != stages["posterior_mean"]


def test_the_autoencoder_is_frozen_as_its_run_averaged_it(autoencoder, flow):
    found = read_newest(flow / "checkpoints").tree
    assert found["ema"].keys() == {"velocity"}
    assert found["frozen"].keys() == {"encoder", "decoder", "estimator", "constants"}
    averaged = read_newest(autoencoder / "checkpoints").tree["ema"]
    for part in ("encoder", "decoder"):
        same = jax.tree.map(np.array_equal, averaged[part], found["frozen"][part])
        assert jax.tree.all(same), part


def test_killed_and_started_again_it_ends_in_the_same_state(config, flow, tmp_path):
    with killed_at(4):
        run(config, tmp_path)
    assert saved(tmp_path)[0] == 2
    assert run(config, tmp_path) == 0
    assert saved(tmp_path) == saved(flow)


def test_pictures_of_any_size_restore(flow):
    restorer = Restorer.load(flow)
    x = np.random.default_rng(0).random((140, 131, 3), np.float32)
    (restored,) = restorer.stages([x], 0)[0]
    assert restored.shape == x.shape and np.isfinite(restored).all()
