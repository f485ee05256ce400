"""Figures do not depend on batch size; table, JSON and picture say what was measured."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from elir_jax.evaluation.evaluate import evaluate, measure
from elir_jax.evaluation.present import format_table, write_evaluation
from elir_jax.training.parallel import parallel_map

NAMES = ("input", "latent_mmse", "step_1", "restored")


def pairs(count=7):
    rng = np.random.default_rng(0)
    for i in range(count):
        x = rng.random((16, 24, 3), np.float32)
        noise = rng.standard_normal(x.shape).astype(np.float32)
        yield f"image {i}", x, x + 0.1 * noise


def stages(params, frozen, x, keys):
    noise = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)
    noisy = x + params["sigma"] * noise
    return {"input": x, "latent_mmse": 0.5 * x, "step_1": noisy, "restored": noisy}


def run(batch_size):
    return evaluate(
        pairs(),
        parallel_map(measure(stages, seed=0)),
        ({"sigma": np.float32(0.05)}, {}),
        NAMES,
        batch_size=batch_size,
        num_samples=2,
    )


@pytest.mark.parametrize("batch_size", [1, 3, 4, 16])
def test_figures_are_means_over_images_whatever_the_batch(batch_size):
    result, reference = run(batch_size), run(7)
    assert tuple(result.figures) == NAMES
    for stage in NAMES:
        for metric, value in result.figures[stage].items():
            np.testing.assert_allclose(value, reference.figures[stage][metric], atol=1e-5)
    expected = [-10 * np.log10(np.mean((np.clip(y, 0, 1) - x) ** 2)) for _, x, y in pairs()]
    np.testing.assert_allclose(result.figures["input"]["psnr"], np.mean(expected), atol=1e-3)
    assert [s.name for s in result.samples] == [f"image {i}" for i in range(min(2, 7))]


def test_the_table_the_file_and_the_picture(tmp_path):
    result = run(4)
    table = format_table(result).splitlines()
    assert [row.split()[0] for row in table[1:]] == list(NAMES)
    figures, grid = write_evaluation(tmp_path, result)
    assert json.loads(figures.read_text()) == result.figures
    assert figures == tmp_path / "evaluation" / "metrics.json"
    with Image.open(grid) as picture:
        assert picture.width > 4 * 24 and picture.height > 2 * 16
        pixel = np.asarray(picture)[-4 - 8, 4 + 12]
    np.testing.assert_allclose(
        pixel, 255 * np.clip(result.samples[1].stages["input"][8, 12], 0, 1), atol=1
    )
