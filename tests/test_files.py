"""Files that are written whole: who else writes them, and what lies in the way."""

import os

import pytest

from elir_jax.files import whole_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and names(tmp_path) == ["file"]


def test_of_two_processes_that_write_one_file_the_last_one_stays(tmp_path, monkeypatch):
    path = tmp_path / "file"
    with whole_file(path) as first:
        first.write_text("first")
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 1)
            with whole_file(path) as second:
                second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first" and names(tmp_path) == ["file"]


def test_a_link_in_the_parts_place_is_not_followed(tmp_path):
    path, precious = tmp_path / "file", tmp_path / "precious"
    precious.write_text("precious")
    with whole_file(path) as part:
        pass
    part.symlink_to(precious)
    with whole_file(path) as again:
        assert again == part
        again.write_text("new")
    assert precious.read_text() == "precious" and path.read_text() == "new"
    assert not path.is_symlink() and names(tmp_path) == ["file", "precious"]
