"""sim_vae, then latent_pmrf on its run: every stage, killed and resumed.

The estimator is untrained; tests/test_methods_in_pixels.py trains one.
"""

import json

import jax
import numpy as np
import pytest
from chaining import run, small
from killing import killed_at, saved
from measured import figures_of
from safetensors.numpy import load_file

from configs import latent_pmrf_bfr, sim_vae
from elir_jax.commands.convert import main as convert
from elir_jax.compose import build_method
from elir_jax.errors import UserError
from elir_jax.inference.one_program import run_parts
from elir_jax.methods.method import untrained
from elir_jax.restorer import Restorer
from elir_jax.running.records.checkpoint import read_newest
from elir_jax.weights.own import read_weights

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


@pytest.mark.slow
def test_every_stage_is_in_the_table(flow):
    stages = figures_of(flow)
    names = ["input", "posterior_mean", "mean_decoded", "source", "step_1", "step_2", "restored"]
    assert list(stages) == [*names, "reconstruction"]
    assert stages["mean_decoded"] != stages["posterior_mean"]
    assert stages["posterior_mean"]["ind_rmse"] == 0 < stages["restored"]["ind_rmse"]


@pytest.mark.slow
def test_the_autoencoder_is_frozen_as_its_run_averaged_it(autoencoder, flow):
    found = read_newest(flow / "checkpoints").tree
    assert found["ema"].keys() == {"velocity"}
    assert found["frozen"].keys() == {"encoder", "decoder", "estimator", "constants"}
    averaged = read_newest(autoencoder / "checkpoints").tree["ema"]
    for part in ("encoder", "decoder"):
        same = jax.tree.map(np.array_equal, averaged[part], found["frozen"][part])
        assert jax.tree.all(same), part


@pytest.mark.slow
def test_killed_and_started_again_it_ends_in_the_same_state(config, flow, tmp_path):
    with killed_at(4):
        run(config, tmp_path)
    assert saved(tmp_path)[0] == 2
    assert run(config, tmp_path) == 0
    assert saved(tmp_path) == saved(flow)


@pytest.mark.slow
def test_its_networks_go_to_their_authors_names_and_back(autoencoder, flow, tmp_path, capsys):
    vae, velocity = tmp_path / "vae.safetensors", tmp_path / "velocity.safetensors"
    assert convert([str(autoencoder), str(vae)]) == 0
    assert "decoder.mid_block.resnets.0.conv1.weight" in load_file(vae)
    assert convert([str(vae), str(tmp_path / "vae")]) == 0
    assert "--config.autoencoder.channels=(8,8,8,8)" in capsys.readouterr().out
    assert convert([str(flow), str(velocity)]) == 0
    assert convert([str(velocity), str(tmp_path / "velocity")]) == 0
    assert "--config.velocity.head_dim=16" in capsys.readouterr().out
    for run_folder in (autoencoder, flow):
        assert convert([str(run_folder), str(tmp_path / "its.ckpt")]) == 2
        assert "only PMRF's networks go into .ckpt" in capsys.readouterr().err
    assert convert([str(tmp_path / "velocity"), str(tmp_path / "again.safetensors")]) == 2
    assert "name the run's folder" in capsys.readouterr().err
    saved = read_newest(flow / "checkpoints").tree
    both = saved["ema"] | saved["frozen"]
    for folder, names in (("vae", ("encoder", "decoder")), ("velocity", ("velocity", "constants"))):
        found = read_weights(tmp_path / folder)
        for name in names:
            assert jax.tree.all(jax.tree.map(np.array_equal, found[name], both[name])), name


@pytest.fixture(scope="module")
def latent_mean(unlocked, tmp_path_factory):
    """(configuration, folder) of a run with the posterior mean in latents, and sampled times."""
    config = small(
        latent_pmrf_bfr,
        "tiny_latent_mean",
        num_steps=4,
        estimator={"hidden": 8},
        velocity=FLOW,
        sampler={"num_steps": 2},
        objective={"grid": 10},
    )
    workdir = tmp_path_factory.mktemp("latent_mean")
    assert run(config, workdir) == 0
    return config, workdir


@pytest.mark.slow
def test_an_estimator_of_latents_is_trained_beside_the_flow(latent_mean):
    _, workdir = latent_mean
    stages = figures_of(workdir)
    names = ["input", "mean_decoded", "source", "step_1", "step_2", "restored", "reconstruction"]
    assert list(stages) == names
    found = read_newest(workdir / "checkpoints").tree
    assert found["ema"].keys() == {"encoder", "estimator", "velocity"}
    assert found["frozen"].keys() == {"encoder", "decoder", "constants"}
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    terms = {"latent_mmse", "flow_matching", "latent_std"}
    assert terms <= rows[0].keys() and rows[0]["latent_std"] > 0


@pytest.mark.slow
def test_with_an_estimator_of_latents_a_killed_run_ends_in_the_same_state(latent_mean, tmp_path):
    config, workdir = latent_mean
    with killed_at(4):
        run(config, tmp_path)
    assert run(config, tmp_path) == 0
    assert saved(tmp_path) == saved(workdir)


@pytest.mark.parametrize(
    "variant, changes, words",
    [
        ("tiny", {"objective": {"sample_latents": True}}, "no posterior to sample"),
        ("tiny_latent_mean", {"objective": {"source": "degraded"}}, "kind=rrdb"),
        ("tiny", {"estimator": {"kind": "unet"}}, "one of rrdb, swinir"),
    ],
)
def test_settings_that_make_no_method_are_refused(unlocked, variant, changes, words):
    with pytest.raises(UserError, match=words):
        build_method(small(latent_pmrf_bfr, variant, **changes))


@pytest.mark.slow
def test_latents_of_sim_vae_can_be_sampled(unlocked, config):
    """The source's noise is then that of the posterior and of sigma_s, in one."""
    sampled = config.copy_and_resolve_references()
    with sampled.unlocked():
        sampled.objective.sample_latents = True
    method = build_method(sampled)
    params, frozen = method.init(jax.random.key(0), untrained)
    x = jax.random.uniform(jax.random.key(1), (1, 64, 64, 3))
    found = jax.jit(lambda x: run_parts(method.parts, params, frozen, x, jax.random.key(2)))(x)
    assert found.shape == x.shape and np.isfinite(found).all()


@pytest.mark.slow
def test_pictures_of_any_size_restore(flow):
    restorer = Restorer.load(flow)
    x = np.random.default_rng(0).random((140, 131, 3), np.float32)
    (restored,) = restorer.stages([x], 0)[0]
    assert restored.shape == x.shape and np.isfinite(restored).all()
