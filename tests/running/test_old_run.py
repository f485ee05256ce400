"""A run that the code of commit e2d8463 began goes on, evaluates and restores with today's."""

import json

import jax
import numpy as np
import pytest
from old_run import STEP, old_config, old_run

from elir_jax import compose
from elir_jax.compose.data import build_held_out
from elir_jax.compose.measuring import build_measuring
from elir_jax.compose.subject import find_subject
from elir_jax.restorer import Restorer
from elir_jax.running.starting import begin
from elir_jax.training.step import StepRequest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return old_run(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text())


@pytest.fixture(scope="module")
def run():
    return compose.build(old_config())


@pytest.mark.slow
def test_it_goes_on_with_the_losses_that_it_would_have_had(run, folder, expected):
    state, position = begin(run, folder, allow_config_change=False)
    assert int(state.step) == STEP and position == {"samples": 20}
    data = run.data()
    data.set_state(position)
    for step, wanted in enumerate(expected["metrics"], STEP):
        state, metrics, verdict = run.step(state, next(data), StepRequest(step))
        assert verdict.applied and metrics.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(metrics[name], value, rtol=2e-4, err_msg=name)
    data.close()


@pytest.mark.slow
def test_it_evaluates_to_the_same_figures(folder, expected):
    """Up to the flow, whose noise was another: it followed from a picture's number then."""
    subject = find_subject(folder, None, ())
    assert subject.step == STEP
    images = build_held_out(subject.config)
    figures = build_measuring(subject.config, subject.method, images).evaluate(subject.weights)
    figures = figures.figures
    assert figures.keys() >= expected["figures"].keys()
    for stage in ("input", "latent_mmse"):
        for metric, value in expected["figures"][stage].items():
            assert figures[stage][metric] == pytest.approx(value, rel=1e-4), (stage, metric)
    assert figures["restored"]["psnr"] == pytest.approx(
        expected["figures"]["restored"]["psnr"], abs=0.1
    )


def test_it_restores_by_the_configuration_that_it_brings(folder):
    restorer = Restorer.load(folder)
    assert restorer.title == f"step {STEP}"
    image = np.zeros((16, 24, 3), np.uint8)
    assert restorer(image).shape == image.shape
    assert set(restorer.weights[0]) == {"encoder", "estimator", "velocity"}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(restorer.weights))
