"""Long lists of files: what they hold, in which order, and what they cost other processes."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elir_jax.data.listing import AllBut, FileList, walk
from elir_jax.pictures.opening import EXTENSIONS

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["a.png", "größe 1/ein Bild.webp", os.fsdecode(b"caf\xe9.png"), "b/c/d.JPG"]


def test_a_list_gives_its_files_in_order():
    found = FileList.of(Path("/images"), NAMES)
    assert list(found) == [Path("/images", name) for name in NAMES]
    assert len(found) == 4 and found[-1] == Path("/images/b/c/d.JPG")
    with pytest.raises(IndexError):
        found[4]
    assert list(FileList.of(Path("/images"), [])) == []


def test_a_list_costs_its_names_and_eight_bytes_a_file():
    names = [f"n{i // 1300:08}/n{i // 1300:08}_{i}.JPEG" for i in range(20_000)]
    found = FileList.of(Path("/images"), names)
    assert os.fstat(found._content).st_size == sum(map(len, names)) + 8 * 20_001


READ = """
import pickle, sys
found = pickle.load(sys.stdin.buffer)
assert pickle.loads(pickle.dumps(found))[2] == found[2]
print([ascii(str(path)) for path in found])
"""


def test_another_process_reads_the_list_without_being_sent_it():
    found = FileList.of(Path("/images"), NAMES * 1000)
    sent = pickle.dumps(found)
    if Path("/proc/self/fd").exists():
        assert len(sent) < 300
    done = subprocess.run(
        [sys.executable, "-c", READ], input=sent, capture_output=True, cwd=ROOT, check=True
    )
    assert done.stdout.decode().strip() == str([ascii(str(path)) for path in found])


def test_without_linux_a_list_is_sent_whole(monkeypatch):
    found = FileList.of(Path("/images"), NAMES)
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert list(pickle.loads(pickle.dumps(found))) == list(found)


@pytest.fixture
def folder(tmp_path):
    """Names whose order as text is not that of paths, odd ones, and links."""
    names = ["a/b.png", "a.b/c.PNG", "a b.png", "a-1.jpg", "A.png", "a/Z.webp", "a/b/c.tif",
             "a.txt", ".png", "x.png.", ".hidden/y.bmp", "größe.jpeg", *NAMES]  # fmt: skip
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/far.png").touch()
    (tmp_path / "in/folder.png").mkdir()
    for name, target in (("file.png", "../out/far.png"), ("tree", "../out"), ("up", ".."),
                         ("broken.png", "nowhere"), ("loop.png", "loop.png")):  # fmt: skip
        (tmp_path / "in" / name).symlink_to(target)
    return tmp_path / "in"


def test_a_walk_finds_what_a_sorted_search_finds(folder):
    wanted = sorted(p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    assert [folder / name for name in walk(str(folder), EXTENSIONS)] == wanted
    assert folder / "file.png" in wanted and len(wanted) > 10


def test_files_are_not_looked_at_one_by_one(folder, monkeypatch):
    """Over a network that would take minutes; links alone are followed."""

    looks, look = [], os.stat

    def counted(path, **how):
        looks.append(path)
        return look(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", counted)
        found = list(walk(str(folder), EXTENSIONS))
    assert len(found) > 10 and not looks


def test_a_folder_that_cannot_be_read_is_left_out_and_named(folder, monkeypatch, caplog):
    whole, scandir = len(list(walk(str(folder), EXTENSIONS))), os.scandir

    def refuse(path):
        if path.endswith("a/b/"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert len(list(walk(str(folder), EXTENSIONS))) == whole - 1
    assert "a/b/ cannot be read (Permission denied)" in caplog.text


@pytest.mark.parametrize("left_out", [(), (0,), (9,), (3, 4, 7), tuple(range(10))])
def test_all_but_a_few_numbers(left_out):
    assert list(AllBut(10, left_out)) == [n for n in range(10) if n not in left_out]


def test_all_but_a_few_of_a_million_are_sent_in_a_few_bytes():
    rest = AllBut(1_000_000, (499_999,))
    assert len(pickle.dumps(rest)) < 200 and len(rest) == 999_999
    places = np.random.default_rng(0).integers(len(rest), size=100).tolist()
    assert [rest[i] for i in places] == [i + (i >= 499_999) for i in places]
