"""The Python call: what it takes, what it gives back, and what that depends on."""

import pickle

import jax
import numpy as np
import pytest
from identity import CONFIG, write_identity

import elir_jax
from elir_jax.errors import UserError
from elir_jax.inference.color import with_colors_of
from elir_jax.pictures.images import to_uint16
from elir_jax.restorer import Restorer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="module")
def restorer(folder):
    return Restorer.load(folder, CONFIG)


def images(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def test_the_package_has_it():
    assert elir_jax.Restorer is Restorer
    with pytest.raises(AttributeError, match="no attribute 'Restore'"):
        elir_jax.Restore  # noqa: B018


def test_the_form_given_comes_back(restorer):
    small, large = images((40, 24), (50, 70))
    assert restorer(small).shape == (40, 24, 3) and restorer(small).dtype == np.uint8
    batch = restorer(np.stack([small, small]))
    assert batch.shape == (2, 40, 24, 3)
    floats = restorer(small / np.float32(255))
    assert floats.dtype == np.float32 and 0 <= floats.min() <= floats.max() <= 1
    assert np.abs(floats * 255 - restorer(small)).max() <= 0.51
    first, second = restorer([small, large])
    assert first.shape == small.shape and second.shape == large.shape


def test_an_image_is_restored_alike_whatever_stands_beside_it(restorer):
    pictures = [image / np.float32(255) for image in images((40, 24), (50, 70), (64, 32), (33, 20))]
    alone = [restorer(picture, seed=3) for picture in pictures]
    for picture, together in zip(alone, restorer(pictures[::-1], seed=3)[::-1], strict=True):
        np.testing.assert_allclose(together, picture, atol=1e-5)
    again = restorer(pictures[0], seed=4)
    assert np.abs(again - alone[0]).max() > 1e-3  # the noise is the seed's


def test_samples_are_the_restorations_of_several_seeds_and_their_deviation(restorer):
    picture = images((40, 24))[0]
    restorations, deviation = restorer.samples(picture, 3, seed=2**32 - 2)
    seeds = (2**32 - 2, 2**32 - 1, 0)
    for seed, found in zip(seeds, restorations, strict=True):
        np.testing.assert_array_equal(found, restorer(picture, seed=seed))
    floats = [restorer(picture / np.float32(255), seed=seed) for seed in seeds]
    wanted = np.sqrt(np.var(floats, axis=0, ddof=1).mean(-1))
    assert deviation.shape == (40, 24) and wanted.max() > 1e-3
    np.testing.assert_allclose(deviation, wanted, atol=1e-5)


def test_samples_without_noise_or_of_no_number_are_refused(restorer, folder):
    with pytest.raises(UserError, match="here there is none"):
        Restorer.load(folder, CONFIG, noise=False).samples(images((8, 8))[0], 2)
    for wrong in (1, 0, True, 2.5, None):
        with pytest.raises(ValueError, match="count must be a whole number of at least 2"):
            restorer.samples(images((8, 8))[0], wrong)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (np.zeros((8, 8, 4), np.uint8), r"not \(8, 8, 4\)"),
        (np.zeros((8, 8, 3), np.int64), "not int64"),
        (np.full((8, 8, 3), 255.0), r"lie in \[0, 1\]"),
        (np.full((8, 8, 3), np.nan), r"lie in \[0, 1\]"),
    ],
)
def test_what_is_no_image_is_refused(restorer, wrong, message):
    with pytest.raises(ValueError, match=message):
        restorer([wrong])


def test_weights_want_a_configuration_and_a_network_of_their_own(folder):
    with pytest.raises(UserError, match="name it with --config"):
        Restorer.load(folder)
    with pytest.raises(UserError, match="weights of another network"):
        Restorer.load(folder, "configs/bfr.py")


@pytest.mark.parametrize("steps", [0, -1, True])
def test_a_number_of_steps_that_cannot_be_is_refused(steps):
    with pytest.raises(UserError, match="steps must be a whole number of at least 1, not "):
        Restorer.load("photo", steps=steps)


@pytest.mark.slow
def test_colours_are_taken_from_the_input_if_asked(restorer):
    image = np.float32(images((32, 48))[0] / 255)
    plain, fixed = restorer(image), restorer(image, color_fix=True)
    (loose,) = restorer.stages([image], 0)[0]
    np.testing.assert_allclose(fixed, np.clip(with_colors_of(image, loose), 0, 1), atol=1e-6)
    assert np.abs(fixed - plain).max() > 1e-3
    deep = to_uint16(image)
    *_, last = restorer.stages([deep], 0, every=True, color_fix=True)[0]
    np.testing.assert_allclose(np.clip(last, 0, 1), fixed, atol=1e-3)


def test_a_model_that_adds_colours_takes_none_from_its_input(restorer, monkeypatch):
    monkeypatch.setattr(restorer, "task", "colorization")
    with pytest.raises(UserError, match="colorization cannot take colours"):
        restorer(*images((32, 32)), color_fix=True)


def test_a_grey_picture_stays_grey_at_every_stage(restorer):
    grey = np.repeat(images((40, 24))[0][..., :1], 3, -1)
    (stages,) = restorer.stages([grey], 0, every=True, color_fix=True)
    assert len(stages) == len(restorer.stage_names)
    for stage in stages:
        np.testing.assert_array_equal(stage, np.repeat(stage[..., :1], 3, -1))


def test_grey_is_the_luma_of_what_a_model_that_adds_colours_would_give(restorer, monkeypatch):
    grey = np.repeat(images((40, 24))[0][..., :1], 3, -1)
    plain = restorer(grey)[..., 0]
    monkeypatch.setattr(restorer, "task", "colorization")
    coloured = restorer(grey)
    assert np.ptp(coloured.astype(int), axis=-1).max() > 2
    luma = coloured @ [0.299, 0.587, 0.114]
    inside = ((coloured > 0) & (coloured < 255)).all(-1)  # not clipped
    assert np.abs(luma - plain)[inside].max() <= 1


@pytest.mark.slow
def test_a_pickled_restorer_restores_the_same(folder):
    image, before = images((40, 24))[0], Restorer.load(folder, CONFIG, steps=2, noise=False)
    after = pickle.loads(pickle.dumps(before))
    assert after.title == before.title and after.stage_names == before.stage_names
    np.testing.assert_array_equal(after(image), before(image))


def test_a_pickled_restorer_is_refused_on_another_platform(restorer, monkeypatch):
    content = pickle.dumps(restorer)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with pytest.raises(UserError, match="pickled on cpu cannot be used on tpu; load"):
        pickle.loads(content)


def test_a_number_of_steps_that_is_none(folder):
    with pytest.raises(UserError, match="at least 1, not 0"):
        Restorer.load(folder, CONFIG, steps=0)
