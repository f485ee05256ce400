"""Training on an image that a degradation turns into NaN: skipped, named, and limited in number."""

import json
import time

import numpy as np
import pytest
import toy
import toy_config
from killing import killed_at, saved
from measured import figures_of
from PIL import Image

import train
from elir_jax import compose
from elir_jax.commands.frame import Options
from elir_jax.compose.data import DEGRADATIONS, build_data
from elir_jax.errors import UserError
from elir_jax.running.records.checkpoint import read, read_newest

pytestmark = pytest.mark.usefixtures("unlocked")
IMAGES, SIDE, BAD_STEP = 40, 48, 3  # the run sees 24 of them, each once


class Stretch:
    """Spreads an image's values over [0, 1]: 0 / 0 where all are equal."""

    def __call__(self, rng, x_hq):
        with np.errstate(invalid="ignore"):
            return (x_hq - x_hq.min()) / (x_hq.max() - x_hq.min())


@pytest.fixture(autouse=True, scope="module")
def rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(compose.METHODS, "toy", toy.build_toy)
        patch.setitem(DEGRADATIONS, "stretch", Stretch)
        yield


def config_of(images, limit):
    config = toy_config.get_config()
    with config.unlocked():
        config.degradation.name = "stretch"
        config.data.path = str(images)
        config.max_skipped_steps = limit
    return config


def run(workdir, images, limit):
    options = Options(time.monotonic(), first=True, alone=True, allow_config_change=False)
    return train.main(config_of(images, limit), workdir, options)


def flatten(path):
    Image.new("RGB", (SIDE, SIDE), (90, 90, 90)).save(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images, one of which is flat: (folder, the flat one's path)."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(IMAGES):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    data = build_data(config_of(folder, 0), toy.weigh)
    batches = data.batches(0, 1)
    records = [next(batches).record for _ in range(BAD_STEP)][-1]
    batches.close()
    flat = data.source.name(int(records[1]))
    flatten(flat)
    return folder, flat


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    assert run(workdir, images[0], 1) == 0
    return workdir


def test_one_nan_image_costs_one_step_which_is_named_and_the_run_ends_finite(images, undisturbed):
    lines = (undisturbed / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    (skipped,) = [row for row in logged if "skipped" in row]
    assert skipped["step"] == BAD_STEP and "loss" in skipped["skipped"]
    assert images[1] in skipped["images"].values() and len(skipped["images"]) == 4
    assert [row["step"] for row in logged if "loss" in row] == [1, 2, 4, 5, 6]
    found = read_newest(undisturbed / "checkpoints")
    assert (found.step, int(found.leaves["skipped"])) == (6, 1)
    assert all(np.isfinite(leaf).all() for leaf in found.leaves.values())
    figures = figures_of(undisturbed)
    assert np.isfinite([*figures["restored"].values()]).all()


@pytest.mark.parametrize("step", [4, 5])
def test_a_kill_after_the_skipped_step_changes_nothing(images, undisturbed, tmp_path, step):
    """The checkpoint of step 2 is before the skipped step; that of step 4 has counted it."""
    with killed_at(step):
        run(tmp_path, images[0], 1)
    assert run(tmp_path, images[0], 1) == 0
    assert saved(tmp_path) == saved(undisturbed)
    for workdir in (tmp_path, undisturbed):
        text = (workdir / "metrics.jsonl").read_text()
        assert text.count('"skipped"') == 1


def test_a_nan_at_every_step_stops_at_the_limit_started_again_or_not(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(IMAGES):
        flatten(folder / f"{i:02}.png")
    told = []
    for _ in range(2):  # the second start resumes at step 2, where both are used up
        with pytest.raises(UserError) as caught:
            run(tmp_path / "run", folder, 2)
        told.append(str(caught.value).partition(" (all named in ")[0])
    assert told[0] == told[1]
    assert told[0].startswith("step 3: not finite: ")
    assert " after 2 such step(s) that were skipped; images " in told[0]
    assert str(caught.value).endswith("raise --config.max_skipped_steps")
    (incident,) = (tmp_path / "run" / "not_finite").iterdir()  # the same each time
    kept = read(incident / "2")
    assert int(kept.leaves["skipped"]) == 2
    assert all(np.isfinite(leaf).all() for leaf in kept.leaves.values())
