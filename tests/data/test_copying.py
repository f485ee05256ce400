"""Prepared datasets in an object store are read from a copy, which is fetched once."""

from pathlib import Path

import numpy as np
import pytest
from clouds import needed, serving
from preparing import photograph, prepare, save
from test_configs import load

from elir_jax.compose.data import build_data
from elir_jax.data.copying import on_disk
from elir_jax.data.prepared import open_prepared
from elir_jax.errors import UserError
from elir_jax.storage import mirror
from elir_jax.storage.opening import place_of, storage_of


def send(folder, place):
    out = storage_of(place).outgoing(place)
    for path in folder.rglob("*"):
        if path.is_file():
            copy = out.folder / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    out.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A small dataset on this machine's disk: DATA_DIR."""
    folder = tmp_path_factory.mktemp("prepared")
    for i in range(6):
        save(folder / "images" / f"{i}.png", photograph(i, 64, 70))
    assert prepare("folder", folder / "images", folder / "data") == 0
    return folder / "data"


@pytest.fixture(scope="module", params=[pytest.param(s, marks=needed(s)) for s in ("s3", "gs")])
def bucket(request):
    with serving(request.param) as address:
        yield address


def test_a_folder_of_a_disk_is_read_where_it_is():
    for name in ("", "images", "/data/ffhq"):
        assert on_disk(name) == name


def test_a_dataset_is_copied_once_and_gives_the_same_images(
    bucket, prepared, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    send(prepared, place_of(f"{bucket}/data"))
    copy = Path(on_disk(f"{bucket}/data"))
    here, there = open_prepared(prepared), open_prepared(copy)
    assert len(here) == len(there) == 6
    for i in range(6):
        np.testing.assert_array_equal(here[i], there[i])
    config = load("denoising")
    config.data.update(path=str(prepared), size=32, held_out=1)
    config.evaluation.size = 32
    local = build_data(config).fingerprint()
    config.data.path = f"{bucket}/data"
    assert build_data(config).fingerprint() == local  # a run may go on with either

    with monkeypatch.context() as patch:
        patch.setattr(mirror.shutil, "disk_usage", lambda path: pytest.fail("fetched again"))
        assert Path(on_disk(f"{bucket}/data")) == copy


def test_what_was_written_again_is_fetched_again(bucket, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = place_of(f"{bucket}/changing")
    send(prepared, place)
    copy = Path(on_disk(f"{bucket}/changing"))
    (info,) = prepared.rglob("dataset_info.json")
    name = info.relative_to(prepared)
    with storage_of(place).whole_file(place / name) as part:
        part.write_text(info.read_text() + "\n")
    assert on_disk(f"{bucket}/changing") == str(copy)
    assert (copy / name).read_text() == info.read_text() + "\n"


@pytest.mark.parametrize("notes", ["", '{"dataset_info.json": [3', "[]"])
def test_a_copy_whose_notes_are_damaged_is_fetched_again(
    bucket, prepared, tmp_path, monkeypatch, notes
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    send(prepared, place_of(f"{bucket}/data"))
    copy = Path(on_disk(f"{bucket}/data"))
    (file,) = (path for path in tmp_path.rglob("*.json") if len(path.stem) == 16)
    file.write_text(notes)
    (info,) = copy.rglob("dataset_info.json")
    info.unlink()
    assert on_disk(f"{bucket}/data") == str(copy) and info.exists()


def test_what_is_no_prepared_dataset_is_named(bucket, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=f"{bucket}/nothing: no prepared dataset here"):
        on_disk(f"{bucket}/nothing")
    for name in "ab":
        send(prepared, place_of(f"{bucket}/two/{name}"))
    with pytest.raises(UserError, match="two: holds several datasets; choose one of a/.*, b/"):
        on_disk(f"{bucket}/two")
    absent = bucket.replace("bucket", "no-such-bucket")
    with pytest.raises(UserError, match=r"no-such-bucket.*cannot be read \(no such"):
        on_disk(f"{absent}/data")


def test_a_disk_without_room_is_named(bucket, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    send(prepared, place_of(f"{bucket}/data"))
    full = type("usage", (), {"free": 0})
    monkeypatch.setattr(mirror.shutil, "disk_usage", lambda path: full)
    with pytest.raises(UserError, match=r"its copy needs .* XDG_CACHE_HOME"):
        on_disk(f"{bucket}/data")
