"""Folders for temporary files: what a killed process left is deleted, and nothing else."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from elir_jax.storage import processes
from elir_jax.storage.processes import Process, this_process
from elir_jax.storage.scratch import scratch

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from elir_jax.storage.scratch import scratch
print(scratch(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def other(folder):
    """Another process, and the folder that it made."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(ROOT)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, TMPDIR=str(folder)),
    )
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_has_stays(other):
    process, made = other
    own = scratch()
    assert made.is_dir() and scratch() != own and own.is_dir()
    process.kill()
    process.wait()
    scratch()
    assert not made.exists() and own.is_dir()


@pytest.mark.parametrize("machine", ["boot pid:[1]", None])
def test_what_another_machine_or_container_made_stays(other, monkeypatch, machine):
    """Its numbers mean nothing here, where a shared folder shows its files."""
    process, made = other
    process.kill()
    process.wait()
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_machine", lambda: machine)
        theirs = scratch()
        assert made.is_dir()
    scratch()
    assert theirs.is_dir() and not made.exists()


def test_a_process_is_known_by_its_number_its_start_and_its_machine(monkeypatch):
    own = this_process()
    assert own.is_here() and not own.has_ended()
    assert own._replace(began=str(int(own.began) - 1)).has_ended()  # its number was used again
    assert not own._replace(machine="another", began="1").has_ended()
    for wrong in (0, -1, "x", None, 1 << 80):  # of a damaged lock
        assert not Process(own.machine, wrong, own.began).has_ended()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    while processes._stat(ended.pid)[0] != "Z":
        pass
    assert own._replace(number=ended.pid).has_ended()  # nobody has asked for its code yet
    ended.wait()
    assert own._replace(number=ended.pid).has_ended()


def test_a_process_whose_state_is_hidden_counts_as_living(monkeypatch):
    """As other users' are where /proc is mounted so."""
    own = this_process()
    monkeypatch.setattr(processes, "_stat", lambda number: None)
    assert not own._replace(began="1").has_ended()


def test_where_proc_shows_another_table_of_processes_nothing_is_known(monkeypatch):
    own = this_process()
    monkeypatch.setattr(os, "getpid", lambda: own.number + 1)
    assert this_process().machine is None and not own._replace(began="1").has_ended()
