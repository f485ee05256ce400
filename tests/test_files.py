"""Files that are written whole: who else writes them, and what lies in the way."""

import errno
import os
import secrets
from pathlib import Path

import pytest

from elir_jax.files import sync, whole_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and names(tmp_path) == ["file"]


def test_of_two_writers_of_one_number_the_last_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in two containers on one share
    path = tmp_path / "file"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first" and names(tmp_path) == ["file"]


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    with whole_file(path) as part:
        part.write_text("whole")
    assert path.read_text() == "whole" and names(tmp_path) == [path.name]


def test_a_link_in_the_parts_place_is_not_followed(tmp_path, monkeypatch):
    path, precious = tmp_path / "file", tmp_path / "precious"
    precious.write_text("precious")
    drawn = iter(["taken", "taken", "free"])
    monkeypatch.setattr(secrets, "token_hex", lambda count: next(drawn))
    with whole_file(path) as part:
        pass
    part.symlink_to(precious)
    with whole_file(path) as again:
        assert again != part
        again.write_text("new")
    assert precious.read_text() == "precious" and path.read_text() == "new"
    assert not path.is_symlink() and names(tmp_path) == [part.name, "file", "precious"]


def test_content_is_on_the_disk_before_its_name_and_the_name_at_the_end(tmp_path, monkeypatch):
    path, flushed = tmp_path / "file", []

    def fsync(number):
        place = Path(os.readlink(f"/proc/self/fd/{number}"))
        flushed.append((place == tmp_path, names(tmp_path) == ["file"], path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with whole_file(path) as part:
        part.write_text("new")
    assert flushed == [(False, False, False), (True, True, True)]


def test_only_a_folder_may_be_unable_to_be_flushed(tmp_path, monkeypatch):
    def refuse(number):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse)
    sync(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Invalid"):
        sync(tmp_path / "file")
