"""Figures do not depend on batch size; table, JSON and picture say what was measured."""

import json

import numpy as np
import pytest
from PIL import Image

from elir_jax.errors import UserError
from elir_jax.evaluation import present
from elir_jax.evaluation.measure import (
    Pair,
    Restoring,
    Sample,
    add_fid,
    columns,
    measure_groups,
    share_of,
    summarize,
    trajectories,
)
from elir_jax.evaluation.names import metric_named
from elir_jax.evaluation.present import draw_grid, format_table, write_evaluation
from elir_jax.inference.whole_pictures import Restoration
from elir_jax.metrics.frechet import describe
from elir_jax.metrics.perceptual import NOTHING, Fid, Perceptual
from elir_jax.running.records.best import is_better

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


def write(folder, evaluation, **changes):
    facts = {"step": 3, "num_steps": 1, "seed": 0, "changed": {}, "checkpoint": "checkpoints/3"}
    how = {"name": "step-3", "title": "a run", "facts": facts} | changes
    return write_evaluation(folder, evaluation, **how)


def test_the_file_has_a_row_for_every_picture_whose_mean_is_the_mean(tmp_path):
    file, *_ = write(tmp_path, run(4), facts={"changed": {"sampler.num_steps": "3 -> 1"}})
    stored = json.loads(file.read_text())
    assert stored["changed"] == {"sampler.num_steps": "3 -> 1"} and stored["pictures"] == COUNT
    assert [row["name"] for row in stored["rows"]] == [str(i) for i in range(COUNT)]
    for stage in NAMES:
        for metric, mean in stored["figures"][stage].items():
            each = [row["figures"][stage][metric] for row in stored["rows"]]
            np.testing.assert_allclose(np.mean(each), mean, rtol=1e-6)
    (*_, x_hq, x_lq), *_ = pairs()
    (found,) = restore([x_lq], 1)
    for stage, x in zip(NAMES, [x_lq, *found.stages, found.restored], strict=True):
        wanted = -10 * np.log10(np.mean((np.clip(x, 0, 1) - x_hq) ** 2))
        np.testing.assert_allclose(stored["rows"][0]["figures"][stage]["psnr"], wanted, atol=1e-3)


def test_no_evaluation_is_overwritten_and_the_same_one_is_written_once(tmp_path):
    first, grid, page = write(tmp_path, run(4))
    before = {path: path.read_bytes() for path in (first, grid, page)}
    other = run(4)
    other.figures["restored"]["psnr"] += 1.0
    assert write(tmp_path, other)[0].parent.name == "step-3-2"
    grid.unlink()  # as a kill leaves it
    assert write(tmp_path, run(4)) == [first, grid, page]
    assert write(tmp_path, other)[0].parent.name == "step-3-2"
    assert {path: path.read_bytes() for path in before} == before
    assert len(list((tmp_path / "evaluation").iterdir())) == 2


def test_the_figures_are_on_the_disk_even_if_the_report_cannot_be_drawn(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no room")

    monkeypatch.setattr(present, "draw_grid", fail)
    with pytest.raises(OSError, match="no room"):
        write(tmp_path, run(4))
    assert (tmp_path / "evaluation" / "step-3" / "metrics.json").is_file()


def broken(number, value):
    """A method whose restoration of one picture is not finite, in one pixel."""

    def restored(images, batch):
        found = restore(images, batch)
        for i, x in enumerate(images):
            if abs(x[0, 0, 0] - [pair[3] for pair in pairs()][number][0, 0, 0]) < 1e-6:
                bad = found[i].restored.copy()
                bad[3, 4, 0] = value
                found[i] = found[i]._replace(restored=bad)
        return found

    return RESTORING._replace(restore=restored)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_picture_that_is_not_finite_is_named_and_never_left_out_of_a_mean(tmp_path, value):
    every = [Pair(*pair) for pair in pairs()]
    darkness = Perceptual({"darkness": lambda restored, original: -np.mean(restored)}, None)
    rows, samples = measure_groups(
        [(every, COUNT)], broken(1, value), most=COUNT, num_samples=2, perceptual=darkness
    )
    found = summarize(rows[None], columns(NAMES, darkness), samples, "picture {}".format)
    assert found.not_finite == {"restored": ["picture 1"]}
    assert all(np.isnan(mean) for mean in found.figures["restored"].values())
    assert found.figures["step_1"]["psnr"] == pytest.approx(run(7).figures["step_1"]["psnr"])
    assert "restored: not finite on 1 of 7 pictures" in found.notes[0]
    assert "picture 1" in found.notes[0]
    assert "nan" in format_table(found).splitlines()[-1]
    file, _, page = write(tmp_path, found)
    stored = json.loads(file.read_text())  # which has no NaN, whatever reads it
    assert stored["figures"]["restored"]["psnr"] is None
    assert [row["figures"]["restored"]["psnr"] is None for row in stored["rows"]] == [
        i == 1 for i in range(COUNT)
    ]
    assert "picture 1" in page.read_text()
    assert not is_better(None, "restored.psnr", found.figures["restored"]["psnr"])


def test_the_fid_of_a_stage_that_is_not_finite_on_a_picture_is_unknown():
    rng = np.random.default_rng(0)

    def drawn(count):
        return rng.standard_normal((count, 3)).astype(np.float32)

    fid = Fid(lambda folder: drawn(len(list(folder.iterdir()))), describe(drawn(COUNT)))
    perceptual = Perceptual({}, fid)
    every = [Pair(*pair) for pair in pairs()]
    rows, samples = measure_groups(
        [(every, COUNT)], broken(1, np.nan), most=COUNT, num_samples=0, perceptual=perceptual
    )
    found = summarize(rows[None], columns(NAMES, perceptual), samples)
    add_fid(found, perceptual, NAMES)
    assert {stage: bool(np.isnan(row["fid"])) for stage, row in found.figures.items()} == {
        stage: stage == "restored" for stage in NAMES
    }


def test_a_posterior_mean_that_is_not_finite_leaves_every_distance_to_it_unknown():
    def restored(images, batch):
        return [f._replace(stages=(f.stages[0] * np.nan, f.stages[1])) for f in restore(images, 1)]

    restoring = RESTORING._replace(restore=restored, shown=("posterior_mean", "step_1"))
    every = [Pair(*pair) for pair in pairs()]
    rows, samples = measure_groups(
        [(every, COUNT)], restoring, most=COUNT, num_samples=0, perceptual=NOTHING
    )
    found = summarize(rows[None], columns(restoring.stage_names, NOTHING), samples)
    assert np.isnan(found.figures["restored"]["ind_rmse"])
    assert np.isfinite(found.figures["restored"]["psnr"])
    assert found.not_finite.keys() == {"posterior_mean"}


def test_a_mean_of_fewer_pictures_says_so():
    rows, samples = table(4)
    rows[2, 1 + columns(NAMES, NOTHING).index(("restored", "ssim"))] = np.nan
    found = summarize(rows[None], columns(NAMES, NOTHING), samples, total=COUNT + 2)
    assert "SSIM: the mean of 6 of 7 pictures; it is not defined for the others" in found.notes
    assert "2 of 9 pictures could not be used and are left out" in found.notes
    assert np.isfinite(found.figures["restored"]["ssim"]) and not found.not_finite


def test_no_two_headings_of_the_table_run_together():
    names = ("psnr", "ssim", "ms_ssim", "ind_rmse", "lpips", "dists", "niqe", "musiq", "clipiqa")
    evaluation = run(4)._replace(figures={"restored": dict.fromkeys(names, 1.0)})
    heading, row = format_table(evaluation).splitlines()
    for name in names:
        assert f"  {metric_named(name).heading}" in heading
    assert len(heading) == len(row) and "LPIPS (VGG)" in heading


def test_the_table_the_file_and_the_picture(tmp_path):
    result = run(4)
    table = format_table(result).splitlines()
    assert [row.split()[0] for row in table[1:]] == list(NAMES)
    figures, grid, page = write(tmp_path, result, notes=["a note"])
    assert "a note" in page.read_text()
    assert json.loads(figures.read_text())["figures"] == result.figures
    assert figures == tmp_path / "evaluation" / "step-3" / "metrics.json"
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
    written = write(tmp_path, evaluation)
    assert [path.name for path in written] == ["metrics.json", "report.html"]
    assert json.loads(written[0].read_text())["figures"] == run(4).figures


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
