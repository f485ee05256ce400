"""Two folders of pictures and a checkpoint: figures of whole pictures, whatever their sizes."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from identity import CONFIG, write_identity
from PIL import Image

from elir_jax.errors import UserError
from elir_jax.evaluation.folders import evaluate_folders
from elir_jax.evaluation.present import write_evaluation
from elir_jax.metrics.psnr import psnr
from elir_jax.restorer import Restorer

SIZES = [(40, 48), (33, 20), (64, 32), (40, 41), (39, 48)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="module")
def restorer(folder):
    return Restorer.load(folder, CONFIG, steps=1)


def write_pairs(folder):
    rng = np.random.default_rng(0)
    pairs = []
    for i, (height, width) in enumerate(SIZES):
        x = np.linspace(0.2, 0.8, width)[None, :, None] * np.ones((height, 1, 3))
        noisy = np.clip(x + 0.1 * rng.standard_normal(x.shape), 0, 1)
        pair = [np.round(255 * a).astype(np.uint8) for a in (x, noisy)]
        for side, image in zip(("hq", "lq"), pair, strict=True):
            (folder / side).mkdir(exist_ok=True)
            Image.fromarray(image).save(folder / side / f"{i}.png")
        pairs.append([jnp.asarray(a / np.float32(255))[None] for a in pair])
    return pairs


@pytest.mark.slow
def test_figures_are_means_over_whole_pictures(restorer, tmp_path):
    pairs = write_pairs(tmp_path)
    result = evaluate_folders(restorer.restoring(), tmp_path / "lq", tmp_path / "hq")
    stages = ("input", "latent_mmse", "latent_mmse_noisy", "step_1", "restored")
    assert tuple(result.figures) == stages
    wanted = np.mean([float(psnr(noisy, x)[0]) for x, noisy in pairs])
    np.testing.assert_allclose(result.figures["input"]["psnr"], wanted, atol=1e-4)
    restored = []
    for _, noisy in pairs:  # by the programs that ran before
        together = 3 if noisy.shape[2] > 32 else 2
        (stages,) = restorer.stages([np.asarray(noisy[0])], 0, together, every=True)
        restored.append(jnp.asarray(np.clip(stages[-1], 0, 1))[None])
    wanted = np.mean([float(psnr(y, x)[0]) for y, (x, _) in zip(restored, pairs, strict=True)])
    np.testing.assert_allclose(result.figures["restored"]["psnr"], wanted, atol=1e-4)
    assert [sample.name for sample in result.samples] == ["0.png", "1.png", "2.png", "3.png"]


@pytest.mark.slow
def test_evaluating_restores_a_picture_as_restoring_does(restorer, tmp_path):
    """Noise included: each picture's own, by its pixels, not by its place or its size."""
    write_pairs(tmp_path)
    found = evaluate_folders(restorer.restoring(), tmp_path / "lq", tmp_path / "hq").samples
    for i in (0, 3):
        with Image.open(tmp_path / "lq" / f"{i}.png") as picture:
            restored = restorer(np.asarray(picture), seed=0)
        np.testing.assert_allclose(
            restored / 255, found[i].stages["restored"].clip(0, 1), atol=3e-3
        )


def test_pictures_of_one_size_have_noise_of_their_own(restorer):
    pictures = [np.full((32, 32, 3), value, np.uint8) for value in (100, 101)]
    noises = []
    for mean, noisy, *_ in restorer.stages(pictures, 0, every=True):
        noises.append((noisy - mean).ravel())
    assert abs(np.corrcoef(noises)[0, 1]) < 0.3


def test_the_report_shows_pictures_of_different_sizes(restorer, tmp_path):
    write_pairs(tmp_path)
    result = evaluate_folders(restorer.restoring(), tmp_path / "lq", tmp_path / "hq")
    figures, grid, page = write_evaluation(tmp_path, result, name="pairs", title="pairs")
    assert json.loads(figures.read_text())["figures"] == result.figures
    with Image.open(grid) as picture:
        assert picture.width > 4 * 48 and picture.height > sum(h for h, _ in SIZES[:4])
    assert "3.png" in page.read_text()


@pytest.mark.slow
def test_a_smaller_input_is_enlarged(restorer, tmp_path):
    write_pairs(tmp_path)
    with Image.open(tmp_path / "lq" / "0.png") as picture:
        small = picture.resize((24, 20))
    small.save(tmp_path / "lq" / "0.png")
    result = evaluate_folders(restorer.restoring(), tmp_path / "lq", tmp_path / "hq")
    assert result.samples[0].stages["restored"].shape == (40, 48, 3)


def test_nothing_is_restored_if_a_picture_cannot_be_read(restorer, tmp_path):
    """The last one, of whichever side."""
    write_pairs(tmp_path)
    for side in ("lq", "hq"):
        file = tmp_path / side / "4.png"
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        never = restorer.restoring()._replace(restore=lambda *_: pytest.fail("restored"))
        with pytest.raises(UserError, match=rf"{side}/4\.png: not a readable image"):
            evaluate_folders(never, tmp_path / "lq", tmp_path / "hq")
        file.write_bytes(whole)


def test_mistakes_name_the_file(restorer, tmp_path):
    write_pairs(tmp_path)
    (tmp_path / "lq" / "2.png").unlink()
    with pytest.raises(UserError, match=r"hq/2\.png: no image of this name in .*lq"):
        evaluate_folders(restorer.restoring(), tmp_path / "lq", tmp_path / "hq")
    for width, height in (
        (40, 64),
        (8, 32),
    ):  # the second is smaller by another factor on each side
        Image.new("RGB", (width, height)).save(tmp_path / "lq" / "2.png")
        said = rf"lq/2\.png: {width}x{height} pixels, but its original has 32x64"
        with pytest.raises(UserError, match=said):
            evaluate_folders(restorer.restoring(), tmp_path / "lq", tmp_path / "hq")
    for side in ("hq", "lq"):
        Image.new("RGB", (10, 40)).save(tmp_path / side / "2.png")
    with pytest.raises(UserError, match=r"2\.png: SSIM needs at least 11x11"):
        evaluate_folders(restorer.restoring(), tmp_path / "lq", tmp_path / "hq")
