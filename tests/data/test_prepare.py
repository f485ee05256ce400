"""``prepare``: what it stores, what it leaves out, what it refuses."""

import numpy as np
import pytest
from PIL import Image
from preparing import photograph, prepare, python, save

from elir_jax.data.prepared import PreparedImages, PreparedPairs, is_prepared, open_prepared
from elir_jax.data.sources import Source, find_images
from elir_jax.errors import UserError
from elir_jax.pictures.images import read_image


def test_a_folder_reads_back_pixel_for_pixel(images, tmp_path, few_a_shard, capsys):
    assert prepare("folder", images, tmp_path / "data") == 0
    assert "12 records" in capsys.readouterr().out
    paths = find_images(images)
    for place in ("data", "data/folder", "data/folder/1.0.0"):
        assert is_prepared(tmp_path / place)
        source = open_prepared(tmp_path / place)
        assert isinstance(source, PreparedImages) and isinstance(source, Source)
        assert len(source) == len(paths) == 12
        for i, path in enumerate(paths):
            np.testing.assert_array_equal(source[i], read_image(path))
            assert path.relative_to(images).as_posix() in source.name(i)
    with pytest.raises(IndexError):
        source[12]


def test_plain_files_are_stored_as_they_are(images, tmp_path):
    prepare("folder", images, tmp_path / "data")
    records = open_prepared(tmp_path / "data").records
    kept = [records.read(i) == [p.read_bytes()] for i, p in enumerate(find_images(images))]
    assert kept == [p.suffix in (".png", ".JPG") and p.stem != "grau" for p in find_images(images)]


def test_tensorflow_datasets_reads_it_by_name_and_decodes_the_same(images, tmp_path, few_a_shard):
    import tensorflow_datasets as tfds

    prepare("folder", images, tmp_path / "data")
    theirs = tfds.data_source("folder", data_dir=tmp_path / "data", split="train")
    for record, path in zip(theirs, find_images(images), strict=True):
        assert record["name"].decode() == path.relative_to(images).as_posix()
        if path.suffix not in (".JPG", ".jpeg"):  # they may bring another JPEG decoder
            np.testing.assert_array_equal(record["image"], read_image(path))


def test_ffhq_is_resized_as_pillow_does_where_its_size_differs(tmp_path):
    folder = tmp_path / "ffhq"
    exact = save(folder / "00000/00000.png", photograph(0, 32, 32))
    larger = save(folder / "01000/01000.png", photograph(1, 64, 64))
    assert prepare("ffhq", folder, tmp_path / "data", "--size", "32") == 0
    source = open_prepared(tmp_path / "data")
    assert source.records.read(0) == [exact.read_bytes()]
    resized = Image.open(larger).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(source[1], np.asarray(resized))
    assert source.records.read(1)[0].startswith(b"\x89PNG")


def test_ffhq_is_512_by_default_and_square(tmp_path, capsys):
    folder = tmp_path / "ffhq"
    save(folder / "0.png", photograph(0, 64, 64))
    save(folder / "1.png", photograph(1, 64, 65))
    assert prepare("ffhq", folder, tmp_path / "data") == 1
    assert "1.png: 65x64 pixels" in capsys.readouterr().err
    assert [x.shape for x in open_prepared(tmp_path / "data")] == [(512, 512, 3)]


def test_a_size_keeps_the_aspect_of_a_folder(tmp_path):
    save(tmp_path / "images/a.png", photograph(0, 20, 30))
    assert prepare("folder", tmp_path / "images", tmp_path / "data", "--size", "10") == 0
    assert open_prepared(tmp_path / "data")[0].shape == (10, 15, 3)


@pytest.fixture
def pairs(tmp_path):
    for i in range(3):
        save(tmp_path / f"celeba/hq/s/{i}.png", photograph(i, 32, 32))
        save(tmp_path / f"celeba/lq/s/{i}.jpg", photograph(10 + i, 8 * (i + 1), 8 * (i + 1)))
    return tmp_path / "celeba"


def test_pairs_are_matched_and_lq_keeps_its_size(pairs, tmp_path):
    assert prepare("celeba_test", pairs, tmp_path / "data") == 0
    source = open_prepared(tmp_path / "data")
    assert isinstance(source, PreparedPairs) and source.records.split == "test"
    assert len(source) == 3
    for i in range(3):
        hq, lq = source[i]
        np.testing.assert_array_equal(hq, read_image(pairs / f"hq/s/{i}.png"))
        np.testing.assert_array_equal(lq, read_image(pairs / f"lq/s/{i}.jpg"))
        assert f"s/{i}.png" in source.name(i)


def test_a_size_scales_both_images_of_a_pair_alike(pairs, tmp_path):
    assert prepare("celeba_test", pairs, tmp_path / "data", "--size", "16") == 0
    shapes = [(hq.shape[0], lq.shape[0]) for hq, lq in open_prepared(tmp_path / "data")]
    assert shapes == [(16, 4), (16, 8), (16, 12)]


@pytest.mark.parametrize("alone", ["hq/s/9.png", "lq/9.jpg"])
def test_an_unmatched_file_is_named(pairs, tmp_path, capsys, alone):
    save(pairs / alone, photograph(9))
    assert prepare("celeba_test", pairs, tmp_path / "data") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and alone in error and error.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_bad_files_are_named_counted_and_left_out(images, tmp_path, capsys, few_a_shard):
    good = find_images(images)
    (images / "a/30.png").write_bytes((images / "a/3.png").read_bytes()[:-300])
    (images / "a/31.png").write_text("no image")
    (images / "c.jpg").write_bytes(b"")
    Image.fromarray(np.zeros((9, 9), np.float32)).save(images / "float.tiff")
    assert prepare("folder", images, tmp_path / "data") == 1
    out, error = capsys.readouterr()
    assert "12 records; left out 4" in out
    for name in ("a/30.png", "a/31.png", "c.jpg", "float.tiff"):
        assert sum(str(images / name) in line for line in error.splitlines()) == 1, error
    source = open_prepared(tmp_path / "data")
    assert len(source) == 12
    for i, path in enumerate(good):
        np.testing.assert_array_equal(source[i], read_image(path))
        assert f"({path.relative_to(images).as_posix()})" in source.name(i)


def test_a_shard_of_bad_files_only_is_empty(images, tmp_path, few_a_shard):
    for i in range(5):
        (images / f"a/{i}.png").write_text("no image")
    assert prepare("folder", images, tmp_path / "data") == 1
    source = open_prepared(tmp_path / "data")
    assert len(source) == 7
    np.testing.assert_array_equal(source[0], read_image(images / "a/5.png"))


def test_nothing_is_made_of_bad_files_only(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_text("no image")
    assert prepare("folder", tmp_path / "images", tmp_path / "data") == 2
    assert "none of the 1 images" in capsys.readouterr().err
    assert not is_prepared(tmp_path / "data")
    assert not list((tmp_path / "data/folder").iterdir())


def test_a_second_run_does_nothing(images, tmp_path, capsys):
    prepare("folder", images, tmp_path / "data")
    folder = tmp_path / "data/folder/1.0.0"
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert prepare("folder", images, tmp_path / "data") == 0
    assert "already complete" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


@pytest.mark.parametrize(
    "change, named",
    [
        ("add", "new.png is new (1 differ)"),
        ("remove", "a/3.png is gone (1 differ)"),
        ("alter", "a/3.png has changed (1 differ)"),
        ("size", "size None, not 9"),
    ],
)
def test_a_dataset_of_other_images_or_size_is_not_taken_for_this_one(
    images, tmp_path, capsys, change, named
):
    prepare("folder", images, tmp_path / "data")
    if change == "add":
        save(images / "new.png", photograph(50))
    elif change == "remove":
        (images / "a/3.png").unlink()
    elif change == "alter":
        save(images / "a/3.png", photograph(51, 40, 40))
    capsys.readouterr()
    options = ("--size", "9") if change == "size" else ()
    assert prepare("folder", images, tmp_path / "data", *options) == 2
    assert named in capsys.readouterr().err
    assert prepare("folder", images, tmp_path / "data", *options, "--name", "other") == 0
    with pytest.raises(UserError, match="several datasets"):
        open_prepared(tmp_path / "data")


def test_a_folder_that_cannot_be_written_is_one_line(images, tmp_path, capsys):
    (tmp_path / "data").write_text("a file")
    assert prepare("folder", images, tmp_path / "data") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "cannot be written" in error


FULL = """
import resource, sys
from elir_jax.commands import prepare  # first: under the limit its bytecode would be cut short
assert sys.dont_write_bytecode
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # writes fail beyond, as if full
sys.exit(prepare.main(sys.argv[1:]))
"""


def test_a_full_disk_is_one_line(images, tmp_path):
    arguments = ("folder", "--images", images, "--data-dir", tmp_path / "data")
    full = python(FULL, *arguments)
    assert full.returncode == 2, full.stderr
    assert "cannot be written" in full.stderr.splitlines()[-1], full.stderr
    assert not is_prepared(tmp_path / "data")
    assert prepare("folder", images, tmp_path / "data") == 0


@pytest.mark.parametrize("option", [("--size", "0"), ("--name", "Ümlaut")])
def test_senseless_options_are_mistakes(images, tmp_path, capsys, option):
    assert prepare("folder", images, tmp_path / "data", *option) == 2
    assert option[0] in capsys.readouterr().err


def test_missing_folders_are_named(tmp_path, capsys):
    for kind in ("folder", "ffhq", "celeba_test"):
        assert prepare(kind, tmp_path / "nowhere", tmp_path / "data") == 2
        assert f"{tmp_path / 'nowhere'}: no such folder" in capsys.readouterr().err
