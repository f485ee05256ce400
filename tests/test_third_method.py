"""A method that nobody planned for needs a file, a row and a configuration, and has everything."""

import json
import time

import jax
import numpy as np
import pytest
import toy
import toy_config
from killing import killed_at, saved
from measured import figures_of

import train
from elir_jax import compose
from elir_jax.commands.frame import Options
from elir_jax.compose.starting_weights import starting_weights
from elir_jax.restorer import Restorer
from elir_jax.running import starting
from elir_jax.running.records.checkpoint import read_newest


@pytest.fixture(autouse=True, scope="module")
def row():
    """The one row; one process begins many runs here, and would lock itself out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(compose.METHODS, "toy", toy.build_toy)
        patch.setattr(starting, "lock", lambda workdir: None)
        yield


def run(workdir):
    options = Options(time.monotonic(), first=True, alone=True, allow_config_change=False)
    return train.main(toy_config.get_config(), workdir, options)


@pytest.fixture(scope="module")
def trained(row, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("toy")
    assert run(workdir) == 0
    return workdir


def test_it_trains_by_its_own_objective(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for n, row in enumerate(rows, 1):
        wanted = row["draft"] + min(1, n / 4) * row["polish"]
        assert row["loss"] == pytest.approx(wanted, rel=1e-5)


def test_it_is_evaluated_at_its_own_stages(trained):
    figures = figures_of(trained)
    assert list(figures) == ["input", "draft", "restored"]
    assert all({"psnr", "ssim"} <= found.keys() for found in figures.values())
    assert (trained / "evaluation" / "step-6" / "report.html").is_file()


def test_killed_and_started_again_it_ends_in_the_same_state(trained, tmp_path):
    with killed_at(5):
        run(tmp_path)
    assert saved(tmp_path)[0] == 4
    assert run(tmp_path) == 0
    assert saved(tmp_path) == saved(trained)


@pytest.mark.parametrize(
    "height, width, clear", [(32, 32, (32, 32)), (56, 40, (24, 8)), (17, 90, None)]
)
def test_it_restores_any_size_in_windows_of_the_trained_one(trained, height, width, clear):
    """``clear``: how far the first window reaches before its neighbours blend in."""
    restorer = Restorer.load(trained)
    x = np.random.default_rng(0).random((height, width, 3), np.float32)
    (restored,), (draft, *_) = restorer.stages([x], 0)[0], restorer.stages([x], 0, every=True)[0]
    assert restored.shape == draft.shape == x.shape and np.isfinite(restored).all()
    params = jax.device_get(restorer.weights[0])
    networks = toy.networks(32)
    whole = networks.draft.apply({"params": params["draft"]}, x[None])[0]
    inside = slice(0, height - 1), slice(0, width - 1)  # padding shows at the edge
    np.testing.assert_allclose(draft[inside], whole[inside], atol=1e-5)
    if clear is not None:
        window = networks.polish.apply({"params": params["polish"]}, draft[None, :32, :32])[0]
        clear = tuple(map(slice, clear))
        np.testing.assert_allclose(restored[clear], window[clear], atol=1e-5)


def test_it_starts_from_a_runs_weights_by_its_own_section(trained):
    config = toy_config.get_config()
    with config.unlocked():
        config.toy.weights = str(trained)
    params, _ = toy.build_toy(config).init(jax.random.key(9), starting_weights(config))
    averaged = read_newest(trained / "checkpoints").tree["ema"]
    assert jax.tree.all(jax.tree.map(np.array_equal, params, averaged))
