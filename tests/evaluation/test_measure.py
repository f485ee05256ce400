"""Figures do not depend on batch size; table, JSON and picture say what was measured."""

import json

import numpy as np
import pytest
from PIL import Image

from elir_jax.errors import UserError
from elir_jax.evaluation.measure import (
    Pair,
    Restoring,
    Sample,
    columns,
    measure_groups,
    share_of,
    summarize,
    trajectories,
)
from elir_jax.evaluation.present import draw_grid, format_table, write_evaluation
from elir_jax.inference.whole_pictures import Restoration
from elir_jax.metrics.perceptual import NOTHING, Perceptual

NAMES = ("input", "latent_mmse", "step_1", "restored")


COUNT = 7  # divided by none of the numbers of devices and hosts below


def pairs(numbers=range(COUNT)):
    for i in numbers:
        rng = np.random.default_rng(i)
        x = rng.random((16, 24, 3), np.float32)
        noise = rng.standard_normal(x.shape).astype(np.float32)
        yield i, f"image {i}", x, x + 0.1 * noise


def restore(images, batch):
    """A restoration whose noise follows from the picture alone."""
    found = []
    for x in images:
        noise = np.random.default_rng(int(1e6 * abs(x[0, 0, 0]))).standard_normal(x.shape)
        noisy = (x + 0.05 * noise).astype(np.float32)
        found.append(Restoration(noisy, (0.5 * x, noisy), (x, noisy)))
    return found


RESTORING = Restoring(restore, lambda x_hq: x_hq, ("latent_mmse", "step_1"), lambda side: side)


def groups(batch_size, numbers):
    every = [Pair(*pair) for pair in pairs(numbers)]
    return ((every[i : i + batch_size], batch_size) for i in range(0, len(every), batch_size))


def table(batch_size, numbers=range(COUNT), most=COUNT, perceptual=NOTHING):
    return measure_groups(
        groups(batch_size, numbers), RESTORING, most=most, num_samples=2, perceptual=perceptual
    )


def run(batch_size):
    rows, samples = table(batch_size)
    return summarize(rows[None], columns(NAMES, NOTHING), samples)


def test_ind_rmse_is_the_root_of_the_mean_over_all_pixels_to_the_posterior_mean():
    """Written out; a mean of roots would be less. The original is not asked for."""
    restoring = RESTORING._replace(shown=("posterior_mean", "step_1"))
    every = [Pair(*pair) for pair in pairs()]
    rows, samples = measure_groups(
        [(every, COUNT)], restoring, most=COUNT, num_samples=COUNT, perceptual=NOTHING
    )
    result = summarize(rows[None], columns(restoring.stage_names, NOTHING), samples)
    squares = [
        np.mean((s.stages["restored"].clip(0, 1) - s.stages["posterior_mean"].clip(0, 1)) ** 2)
        for s in samples
    ]
    found = result.figures["restored"]["ind_rmse"]
    np.testing.assert_allclose(found, 255 * np.sqrt(np.mean(squares)), rtol=1e-5)
    assert result.figures["posterior_mean"]["ind_rmse"] == 0
    assert "ind_rmse" not in run(3).figures["restored"]


def test_the_autoencoders_own_reconstruction_is_the_last_stage():
    restoring = RESTORING._replace(reconstruct=lambda x_hq: x_hq + 0.5)
    (pair, *_) = [Pair(*pair) for pair in pairs()]
    stages = restoring.by_stage(pair, restore([pair.x_lq], 1)[0])
    assert list(stages) == [*NAMES, "reconstruction"]
    np.testing.assert_array_equal(stages["reconstruction"], pair.x_hq + 0.5)
    without = {stage: x for stage, x in stages.items() if stage != "reconstruction"}
    grids = (draw_grid([Sample(pair.name, shown, pair.x_hq)]) for shown in (stages, without))
    np.testing.assert_array_equal(*grids)  # which ends with the restoration, and the original


@pytest.mark.parametrize("batch_size", [1, 3, 4, 16])
def test_figures_are_means_over_images_whatever_the_batch(batch_size):
    result, reference = run(batch_size), run(7)
    assert tuple(result.figures) == NAMES
    for stage in NAMES:
        for metric, value in result.figures[stage].items():
            np.testing.assert_allclose(value, reference.figures[stage][metric], atol=1e-5)
    expected = [-10 * np.log10(np.mean((np.clip(y, 0, 1) - x) ** 2)) for *_, x, y in pairs()]
    np.testing.assert_allclose(result.figures["input"]["psnr"], np.mean(expected), atol=1e-3)
    assert [s.name for s in result.samples] == [f"image {i}" for i in range(min(2, 7))]


@pytest.mark.parametrize("hosts", [2, 3, 4])
def test_hosts_that_share_the_images_give_the_figures_of_one(hosts):
    shares = [share_of(COUNT, i, hosts) for i in range(hosts)]
    assert [n for share in shares for n in share] == list(range(COUNT))
    tables = np.stack([table(4, share, most=len(shares[0]))[0] for share in shares])
    assert summarize(tables, columns(NAMES, NOTHING), []).figures == run(4).figures


def test_the_table_the_file_and_the_picture(tmp_path):
    result = run(4)
    table = format_table(result).splitlines()
    assert [row.split()[0] for row in table[1:]] == list(NAMES)
    figures, grid, page = write_evaluation(tmp_path, result, title="a run", notes=["a note"])
    assert "a note" in page.read_text()
    assert json.loads(figures.read_text()) == result.figures
    assert figures == tmp_path / "evaluation" / "metrics.json"
    with Image.open(grid) as picture:
        assert picture.width > 4 * 24 and picture.height > 2 * 16
        pixel = np.asarray(picture)[-4 - 8, 4 + 12]
    np.testing.assert_allclose(
        pixel, 255 * np.clip(result.samples[1].stages["input"][8, 12], 0, 1), atol=1
    )


def test_no_usable_image_is_a_mistake():
    with pytest.raises(UserError, match="none of the images to evaluate on"):
        summarize(np.zeros((2, 3, 9)), columns(NAMES, NOTHING), [])


def test_a_host_without_samples_writes_the_others_figures(tmp_path):
    rows, _ = table(4)
    evaluation = summarize(rows[None], columns(NAMES, NOTHING), [])
    written = write_evaluation(tmp_path, evaluation, title="no samples")
    assert [path.name for path in written] == ["metrics.json", "report.html"]
    assert json.loads(written[0].read_text()) == run(4).figures


def test_perceptual_figures_stand_beside_and_an_image_without_one_is_left_out():
    def darkness(restored, original):
        if np.mean(original) > limit:
            raise ValueError("too bright")
        return -np.mean(restored)

    originals = [np.mean(np.round(255 * x), dtype=np.float64) for _, _, x, _ in pairs()]
    limit = np.mean(sorted(originals)[-2:])  # the brightest one is above it
    perceptual = Perceptual({"darkness": darkness}, None)
    rows, samples = table(3, perceptual=perceptual)
    figures = summarize(rows[None], columns(NAMES, perceptual), samples).figures
    darknesses = [
        -np.mean(np.round(255 * np.clip(y, 0, 1)))
        for (*_, y), original in zip(pairs(), originals, strict=True)
        if original <= limit
    ]
    np.testing.assert_allclose(figures["input"]["darkness"], np.mean(darknesses), rtol=1e-4)
    assert figures["restored"]["darkness"] == figures["step_1"]["darkness"]
    assert "too bright" in perceptual.notes[0]
    table_text = format_table(summarize(rows[None], columns(NAMES, perceptual), samples))
    assert "darkness" in table_text.splitlines()[0]


def test_trajectories_are_the_flows_states_and_their_target():
    _, samples = table(4)
    found = trajectories(samples)
    assert found.shape == (2, 3, 16 * 24 * 3)
    (_, _, x_hq, x_lq), *_ = pairs()
    np.testing.assert_array_equal(found[0, 0], x_lq.ravel())
    np.testing.assert_array_equal(found[0, -1], x_hq.ravel())
    cut = samples[0]._replace(states=tuple(state[1:] for state in samples[0].states))
    assert trajectories([cut, samples[1]]) is None
    assert trajectories([]) is None
