"""``prepare`` interrupted, killed, and run twice: never half a dataset, nothing done twice."""

import signal
from pathlib import Path

import pytest
from preparing import files, prepare, python

from elir_jax.data.prepared import is_prepared
from elir_jax.data.preparing import writing
from elir_jax.data.preparing.recipes import encode_entry


@pytest.fixture
def whole(images, tmp_path, few_a_shard):
    """The files of the dataset that an undisturbed run makes, and of bad files the names."""
    (images / "a/1.png").write_text("no image")
    assert prepare("folder", images, tmp_path / "whole") == 1
    return files(tmp_path / "whole/folder/1.0.0")


@pytest.mark.parametrize("images_before", [0, 3, 7, 11])
def test_an_interrupted_run_goes_on(images, tmp_path, whole, monkeypatch, capsys, images_before):
    done = []

    def counted(recipe, entry):
        done.append(entry.name)
        if len(done) > images_before:
            raise KeyboardInterrupt
        return encode_entry(recipe, entry)

    monkeypatch.setattr(writing, "encode_entry", counted)
    monkeypatch.setattr(writing.os, "cpu_count", lambda: 1)
    assert prepare("folder", images, tmp_path / "data") == 130
    assert not is_prepared(tmp_path / "data")
    assert not is_prepared(tmp_path / "data/folder/1.0.0.incomplete")

    again = []
    monkeypatch.setattr(
        writing, "encode_entry", lambda r, e: again.append(e.name) or encode_entry(r, e)
    )
    capsys.readouterr()
    assert prepare("folder", images, tmp_path / "data") == 1  # the bad file is named once more
    assert "a/1.png" in capsys.readouterr().err
    assert len(again) == {0: 12, 3: 12, 7: 7, 11: 2}[images_before]
    assert files(tmp_path / "data/folder/1.0.0") == whole


KILLED = """
import os, signal, sys
from elir_jax.commands import prepare
from elir_jax.data.preparing import writing
writing.SHARD_IMAGES, encode, names = 5, writing.encode_entry, []
def until_killed(recipe, entry):
    names.append(entry.name)
    if len(names) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(recipe, entry)
writing.encode_entry = until_killed
prepare.main(sys.argv[1:])
"""


def test_a_killed_run_goes_on(images, tmp_path, whole):
    killed = python(KILLED, "folder", "--images", images, "--data-dir", tmp_path / "data")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "data/folder/1.0.0.incomplete").is_dir()
    assert not is_prepared(tmp_path / "data")
    assert prepare("folder", images, tmp_path / "data") == 1
    assert files(tmp_path / "data/folder/1.0.0") == whole


def test_a_run_that_dies_before_the_last_rename_leaves_no_dataset(
    images, tmp_path, whole, monkeypatch, capsys
):
    def no_rename(path, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", no_rename)
        assert prepare("folder", images, tmp_path / "data") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert (tmp_path / "data/folder/1.0.0.incomplete/dataset_info.json").exists()
    for place in ("data", "data/folder", "data/folder/1.0.0.incomplete"):
        assert not is_prepared(tmp_path / place)
    assert prepare("folder", images, tmp_path / "data") == 1
    assert files(tmp_path / "data/folder/1.0.0") == whole


def interrupt(*_):
    """Ctrl-C, also where the shell that started the tests has it ignored."""
    raise KeyboardInterrupt


def test_an_unfinished_run_over_other_images_is_named(images, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_write_metadata", interrupt)
        assert prepare("folder", images, tmp_path / "data") == 130
    (images / "z.bmp").unlink()
    assert prepare("folder", images, tmp_path / "data") == 2
    error = capsys.readouterr().err
    assert "1.0.0.incomplete" in error and "z.bmp" in error


def test_two_runs_at_once_do_not_mix(images, tmp_path, capsys):
    folder = tmp_path / "data/folder/1.0.0.incomplete"
    folder.mkdir(parents=True)
    with writing._alone(folder):
        assert prepare("folder", images, tmp_path / "data") == 2
    assert "another run" in capsys.readouterr().err
