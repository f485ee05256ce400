"""Long lists of files: what they hold, in which order, and what they cost other processes."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elir_jax.data.listing import AllBut, FileList

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


@pytest.mark.parametrize("left_out", [(), (0,), (9,), (3, 4, 7), tuple(range(10))])
def test_all_but_a_few_numbers(left_out):
    assert list(AllBut(10, left_out)) == [n for n in range(10) if n not in left_out]


def test_all_but_a_few_of_a_million_are_sent_in_a_few_bytes():
    rest = AllBut(1_000_000, (499_999,))
    assert len(pickle.dumps(rest)) < 200 and len(rest) == 999_999
    places = np.random.default_rng(0).integers(len(rest), size=100).tolist()
    assert [rest[i] for i in places] == [i + (i >= 499_999) for i in places]
