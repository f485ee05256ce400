"""The board of restorers on made test sets: its figures, its rows, and that it continues."""

import contextlib
import io
import json

import numpy as np
import pytest
from identity import CONFIG, write_identity
from PIL import Image

from benchmarks import board, restorers
from benchmarks.measurements import measured, pooled
from benchmarks.published import TABLES, published
from benchmarks.testsets import SETS, Picture, Task, degraded, figures
from elir_jax.metrics.frechet import describe
from elir_jax.pictures.images import read_image, to_uint8, write_png
from elir_jax.restorer import Restorer

REAL = Restorer.load


@pytest.fixture(autouse=True)
def nothing_is_loaded():
    restorers.load.cache_clear()


@pytest.fixture(scope="module")
def restorer(tmp_path_factory):
    return REAL(write_identity(tmp_path_factory.mktemp("identity")), CONFIG, steps=1)


def write_set(folder, name, *pictures):
    for number, pixels in enumerate(pictures):
        write_png(folder / "sets" / name / f"{number}.png", pixels)


def textures(count, side=32):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]


def run(folder, *options):
    """(rows by table and name, the file's content)"""
    file = folder / "board.json"
    board.main([str(folder / "sets"), "--json", str(file), "--no-filters", *options])
    stored = json.loads(file.read_text())
    tables = {f"{found['set']} {found['task']}": found for found in stored["tables"]}
    return {
        name: {row["row"]: row for row in found["rows"]} for name, found in tables.items()
    }, stored


@pytest.mark.slow
def test_the_input_of_noise_has_the_figures_of_its_closed_form(tmp_path):
    write_set(tmp_path, "CBSD68", *(np.full((256, 240, 3), 120 + n, np.uint8) for n in range(2)))
    tables, _ = run(tmp_path, "--no-model")
    assert list(tables) == [f"CBSD68 noise{sigma}" for sigma in (15, 25, 50, 75, 89.25)]
    for sigma in (15, 25):  # stronger noise leaves the range of 8 bits
        wanted = 20 * np.log10(255 / sigma)
        assert tables[f"CBSD68 noise{sigma}"]["input"]["psnr"] == pytest.approx(wanted, abs=0.03)


def test_only_the_noise_without_a_table_is_clipped():
    (picture,) = textures(1)
    for task in SETS["CBSD68"].tasks:
        x = degraded(picture, task)
        assert (x.min() < 0 and x.max() > 1) == bool(published("CBSD68", task))
        np.testing.assert_array_equal(x, degraded(picture, task))


def test_a_grey_picture_gets_the_jpeg_of_a_grey_file():
    grey = textures(1)[0][..., 0]
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=10)
    wanted = np.asarray(Image.open(file))
    found = to_uint8(degraded(np.repeat(grey[..., None], 3, -1), Task("jpeg", 10)))
    np.testing.assert_array_equal(found, np.repeat(wanted[..., None], 3, -1))


@pytest.mark.parametrize(
    "task, grey, share",
    [
        (Task("jpeg", 10), False, 1 / 3**0.5),  # of the error in red, in all three channels
        (Task("sr", 4), False, 65.481 / 255),
    ],
)
def test_figures_are_of_the_channels_that_the_tables_compare(task, grey, share):
    original = np.full((40, 40, 3), 100, np.uint8)
    pixels = original.copy()
    pixels[..., 0] += 10
    if task.kind == "sr":
        pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:] = 0, 0, 0, 0
    found = figures(pixels, original, task, grey)
    assert found.psnr == pytest.approx(20 * np.log10(255 / (10 * share)), abs=0.01)
    assert 0.9 < found.ssim < 1


def test_a_restoration_of_a_grey_set_counts_with_its_luma(tmp_path):
    grey = np.full((64, 64, 3), 100, np.uint8)
    write_set(tmp_path, "LIVE1_gray", grey, grey + 1)
    for number in range(2):
        made = grey + np.uint8(number)
        made[..., 2] += 100  # luma: 0.114 of it, rounded
        write_png(tmp_path / f"blue/LIVE1_gray/jpeg10/{number}.png", made)
    tables, stored = run(tmp_path, "--no-model", "--results", f"blue={tmp_path / 'blue'}")
    found = tables["LIVE1_gray jpeg10"]["blue"]["psnr"]
    assert found == pytest.approx(20 * np.log10(255 / 11), abs=0.01)
    left_out = [found["left_out"] for found in stored["tables"]]
    assert left_out[0] == [] and "no folder" in left_out[1][0]


@pytest.mark.slow
def test_results_in_a_folder_count_as_the_models_own(tmp_path, restorer, monkeypatch):
    monkeypatch.setattr(Restorer, "load", lambda model: restorer)
    write_set(tmp_path, "LIVE1_color", *textures(2))
    for number, pixels in enumerate(textures(2)):
        for task in SETS["LIVE1_color"].tasks:
            x = Picture("LIVE1_color", task, str(number), pixels).degraded
            (stages,) = restorer.stages([x], 0, every=True)
            place = f"LIVE1_color/{task.name}/{number}.png"
            write_png(tmp_path / "mean" / place, to_uint8(stages[0]))
            write_png(tmp_path / "last" / place, to_uint8(stages[-1]))
    options = [f"--results={name}={tmp_path / name}" for name in ("mean", "last")]
    tables, _ = run(tmp_path, "--model", "W", *options)
    assert len(tables) == 4
    for rows in tables.values():
        assert list(rows) == ["input", "W, posterior mean", "W, restored", "mean", "last"]
        for own, other in (("W, posterior mean", "mean"), ("W, restored", "last")):
            assert rows[own] | {"row": ""} == rows[other] | {"row": ""}


class Stopped(Exception):
    pass


class Blur:
    """As a restorer: it gives the pictures back, and counts them."""

    stage_names = ("mean", "restored")

    def __init__(self, weight, most=None):
        self.weights, self.calls, self.most = {"w": np.float32([weight])}, 0, most

    def stages(self, images, seed, batch, every=False):
        if self.calls == self.most:
            raise Stopped
        self.calls += 1
        return [[images[0], images[0]] if every else [images[0]]]


def test_a_stopped_board_continues_and_other_weights_are_measured_anew(tmp_path, monkeypatch):
    write_set(tmp_path, "LIVE1_color", *textures(3))

    def calls(weight, most=None):
        there = Blur(weight, most)
        monkeypatch.setattr(Restorer, "load", lambda model: there)
        restorers.load.cache_clear()
        with contextlib.suppress(Stopped):
            run(tmp_path, "--model", "W")
        return there.calls

    assert [calls(1, most=5), calls(1), calls(1), calls(2), calls(2)] == [5, 7, 0, 12, 0]


def test_the_statistics_of_pictures_together_are_those_of_all_their_latents():
    rng = np.random.default_rng(0)
    parts = [rng.normal(n, 1 + n, (count, 3)) for n, count in enumerate((4, 9, 30))]
    found, wanted = (
        pooled([measured(0, 0, part) for part in parts]),
        describe(np.concatenate(parts)),
    )
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, wanted.covariance, rtol=1e-6)


def test_a_model_with_a_knob_is_measured_at_its_ends_too(tmp_path, monkeypatch):
    write_set(tmp_path, "Classic5", *textures(1))
    asked = []

    def load(model, fidelity=0.5):
        asked.append((model, fidelity))
        return Blur(1)

    monkeypatch.setattr(Restorer, "load", load)
    tables, _ = run(tmp_path, "--model", "knob")
    rows = [
        "input",
        "knob, posterior mean",
        "knob, restored",
        "knob, fidelity 0",
        "knob, fidelity 1",
    ]
    assert all(list(table) == rows for table in tables.values())
    assert asked == [("knob", 0.5), ("knob", 0.0), ("knob", 1.0)]


def test_every_published_cell_is_of_a_set_and_a_strength_that_are_measured():
    cells = sum(
        cell != "-"
        for _, table in TABLES.values()
        for _, _, sets in table
        for row in sets.values()
        for cell in row.split()
    )
    assert cells == sum(len(published(name, task)) for name in SETS for task in SETS[name].tasks)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--sets=CBSD86"], "'CBSD86' is none of CBSD68"),
        (["--sets=Set5,CBSD68"], "no folder CBSD68; put the test sets there"),
        (["--tasks=noise"], "--tasks noise: of no test set that was chosen"),
        (["--results=other=NOWHERE"], "'other=NOWHERE' is no NAME=DIR"),
        (["--results=other={folder}/other"], "sr4: no result for 1; add 1.png"),
        (["--crop=64"], "0.png: 48x48 pixels are too few for --crop 64"),
        (["--most=0"], "'0' is no number from 1 up"),
        (["--results=wrong={folder}/wrong"], "0.png: 40x40 pixels, but 48x48 are measured"),
        (["--json={folder}/sets/Set5/0.png"], "0.png: no file of a board"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, capsys, options, message):
    write_set(tmp_path, "Set5", *textures(2, 48))
    write_png(tmp_path / "other/Set5/sr4/0.png", textures(1, 48)[0])
    write_png(tmp_path / "wrong/Set5/sr4/0.png", textures(1, 40)[0])
    with pytest.raises(SystemExit) as end:
        run(tmp_path, "--no-model", *(option.format(folder=tmp_path) for option in options))
    assert end.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert len(read_image(tmp_path / "sets/Set5/0.png")) == 48  # nothing was overwritten
