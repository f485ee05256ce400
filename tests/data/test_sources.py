"""Embedded photographs and image folders."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elir_jax.data.choose import choose_sources, open_source, split
from elir_jax.data.sources import (
    EMBEDDED_HELD_OUT,
    EMBEDDED_TRAIN,
    EmbeddedPhotographs,
    ImageFiles,
    PairFiles,
    find_images,
    find_pairs,
)
from elir_jax.errors import UserError
from elir_jax.pictures.images import read_image, to_float, to_uint8, write_png


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i, name in enumerate(["b.JPG", "a.png", "sub/c.Png", "d.webp", "e.bmp", "f.tiff"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40 + i, 50, 3), np.uint8)).save(path)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_embedded_photographs_are_colour_photographs_and_the_astronaut_is_held_out():
    assert "astronaut" in EMBEDDED_HELD_OUT
    assert not set(EMBEDDED_TRAIN) & set(EMBEDDED_HELD_OUT)
    for names in (EMBEDDED_TRAIN, EMBEDDED_HELD_OUT):
        source = EmbeddedPhotographs(names)
        for i in range(len(source)):
            image = source[i]
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            assert min(image.shape[:2]) >= 256, source.name(i)


def test_folders_are_searched_recursively_in_any_case_and_sorted(folder):
    names = [p.relative_to(folder).as_posix() for p in find_images(folder)]
    assert names == ["a.png", "b.JPG", "d.webp", "e.bmp", "f.tiff", "sub/c.Png"]


def test_a_folder_is_split_into_disjoint_parts_that_cover_it(folder):
    train, held_out = split(open_source(folder), str(folder), held_out=16)
    assert (len(train), len(held_out)) == (5, 1)
    names = [part.name(i) for part in (train, held_out) for i in range(len(part))]
    assert sorted(names) == [str(path) for path in find_images(folder)]
    np.testing.assert_array_equal(train[0], read_image(find_images(folder)[0]))


def test_the_training_images_are_sent_to_workers_in_a_few_bytes(folder):
    train, _ = split(open_source(folder), str(folder), held_out=2)
    if Path("/proc/self/fd").exists():
        assert len(pickle.dumps(train)) < 700
    many, _ = split(EmbeddedPhotographs(["x"] * 100_000), "many", held_out=16)
    assert len(many) == 99_984 and len(pickle.dumps(many.numbers)) < 300
    again = pickle.loads(pickle.dumps(train))
    assert [again.name(i) for i in range(5)] == [train.name(i) for i in range(5)]


def test_missing_and_empty_folders_are_named(folder, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        find_images(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no images in this folder"):
        find_images(empty)
    Image.new("RGB", (9, 9)).save(empty / "one.png")
    with pytest.raises(UserError, match="eval_path"):
        choose_sources(str(empty), "", 4, False)


def test_pairs_are_matched_by_name_whatever_the_extension(tmp_path):
    for side, suffix, value in (("hq", ".png", 200), ("lq", ".JPG", 100)):
        (tmp_path / side / "in").mkdir(parents=True)
        for name in ("b", "in/a"):
            Image.new("RGB", (40, 30), (value,) * 3).save(tmp_path / side / f"{name}{suffix}")
    source = open_source(tmp_path)
    assert isinstance(source, PairFiles) and len(source) == 2
    hq, lq = source[0]
    assert hq.mean() == 200 and abs(lq.mean() - 100) < 1
    assert source.name(0).endswith("hq/b.png")
    (tmp_path / "lq" / "b.JPG").unlink()
    with pytest.raises(UserError, match=r"hq/b\.png: no image of this name in .*lq"):
        find_pairs(tmp_path)
    for name in ("in/a.png", "b.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / "lq" / name)
    with pytest.raises(UserError, match=r"a\.png: in/a\.JPG has the same name"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken"])
def test_broken_files_are_named(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.png"):
        ImageFiles([path])[0]


def test_a_truncated_image_is_an_error(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cut\.jpg"):
        read_image(path)


def test_pictures_and_arrays_convert_without_loss(tmp_path):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    np.testing.assert_array_equal(to_uint8(to_float(pixels)), pixels)
    write_png(tmp_path / "new" / "x.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "x.png"), pixels)
