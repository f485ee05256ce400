"""Reading prepared datasets: damage, pickling, workers, and no TensorFlow."""

import functools
import pickle
import random
import shutil

import numpy as np
import pytest
from preparing import prepare, python

from elir_jax.data.prepared import is_prepared, open_prepared
from elir_jax.data.sources import find_images
from elir_jax.errors import UserError
from elir_jax.pictures.images import read_image


def test_a_flipped_bit_never_gives_a_wrong_image(images, tmp_path):
    prepare("folder", images, tmp_path / "data")
    (shard,) = (tmp_path / "data/folder/1.0.0").glob("*.array_record-*")
    source = open_prepared(tmp_path / "data")
    right = [source[i] for i in range(len(source))]
    content = shard.read_bytes()
    used = [i for i, byte in enumerate(content) if byte]  # the rest pads a block
    rng, found = random.Random(0), 0
    for place in rng.choices(used, k=30) + rng.choices(range(len(content)), k=10):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        shard.write_bytes(damaged)
        try:
            source = open_prepared(tmp_path / "data")
        except UserError as error:
            assert "1.0.0" in str(error)
            found += 1
            continue
        assert len(source) == len(right)
        for i, pixels in enumerate(right):
            try:
                np.testing.assert_array_equal(source[i], pixels)
            except UserError as error:
                assert f"record {i} " in str(error) and "1.0.0" in str(error)
                found += 1
    assert found > 10


def test_a_cut_or_missing_shard_is_named(images, tmp_path):
    prepare("folder", images, tmp_path / "data")
    (shard,) = (tmp_path / "data/folder/1.0.0").glob("*.array_record-*")
    shard.write_bytes(shard.read_bytes()[:70_000])
    source = open_prepared(tmp_path / "data")
    with pytest.raises(UserError, match="record 3 "):
        source[3]
    shard.unlink()
    with pytest.raises(UserError, match=shard.name):
        open_prepared(tmp_path / "data")


def test_sources_pickle_small_and_read_the_same(images, tmp_path):
    prepare("folder", images, tmp_path / "data")
    source = open_prepared(tmp_path / "data")
    source[3], source.name(3)
    pickled = pickle.dumps(source)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again[3], source[3])
    assert again == source and again.name(3) == source.name(3)


def test_what_is_no_dataset_is_told(images, tmp_path):
    assert not is_prepared(images)
    assert not is_prepared(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no prepared dataset"):
        open_prepared(images)
    prepare("folder", images, tmp_path / "data")
    with pytest.raises(UserError, match="choose one of its splits: train"):
        open_prepared(tmp_path / "data", "test")
    info = tmp_path / "data/folder/1.0.0/dataset_info.json"
    text = info.read_text()
    info.write_text(text.replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="stored as tfrecord"):
        open_prepared(tmp_path / "data")
    info.write_text(text[:40])
    with pytest.raises(UserError, match="not a readable dataset"):
        open_prepared(tmp_path / "data")
    shutil.rmtree(tmp_path / "data/folder")
    assert not is_prepared(tmp_path / "data")


WITHOUT = """
import pickle, sys
from pathlib import Path
from elir_jax.data.prepared import is_prepared, open_prepared
assert not is_prepared(Path("tests"))
assert "tensorflow_datasets" not in sys.modules  # it takes a second
from elir_jax.commands.prepare import main
assert main(sys.argv[1:]) == 0
source = pickle.loads(pickle.dumps(open_prepared(Path(sys.argv[-1]))))
assert [x.ndim for x in source] == [3] * 12
assert "tensorflow_datasets" in sys.modules
assert "tensorflow" not in sys.modules
"""


def test_tensorflow_is_never_imported(images, tmp_path):
    """A package of that name that cannot be imported stands first in the path."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('tensorflow was imported')")
    arguments = ("folder", "--images", images, "--data-dir", tmp_path / "data")
    result = python(WITHOUT, *arguments, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr


def test_grain_workers_read_it(images, tmp_path):
    import grain

    prepare("folder", images, tmp_path / "data")
    source = open_prepared(tmp_path / "data")
    read = grain.MapDataset.range(len(source)).map(functools.partial(_item, source))
    options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
    for pixels, path in zip(read.to_iter_dataset(options), find_images(images), strict=True):
        np.testing.assert_array_equal(pixels, read_image(path))


def _item(source, index):
    return source[int(index)]
