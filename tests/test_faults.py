"""A short form of benchmarks/faults.py, on a network that compiles quickly."""

import re
import shlex
import shutil

import pytest
from clouds import needed, serving
from commanding import Command

from benchmarks.faults import ROOT, drill
from elir_jax.running.records.best import read_best
from elir_jax.running.records.report import read_evaluations
from elir_jax.storage.opening import place_of, storage_of

pytestmark = pytest.mark.slow  # whole runs, killed and started again

COURSE = re.compile(r'<figure class="plot"><h2>Metrics during training</h2>.*?</figure>', re.DOTALL)


OPTIONS = ["--config.num_steps=40", "--config.checkpoint_every=10",
           "--config.evaluate_every=10", "--config.keep_best=restored.psnr"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of both drills, which compare with the same undisturbed run."""
    return tmp_path_factory.mktemp("drills")


def launch(words, scratch, log):
    command = shlex.join([f"TMPDIR={scratch}", "python", *words])
    return Command(command, ROOT, log=log, leader=True)


def drilled(folder, kills, capsys, **where):
    given = folder, "configs/autoencoder.py:tiny", kills, 1, OPTIONS
    same = drill(*given, seed=1, launch=launch, start_takes=2.0, **where)
    told = capsys.readouterr().out
    assert same and "verdict        bit-identical" in told, told
    assert f"kills          {kills} of {kills}: " in told
    assert "SIGTERMs       1 of 1: 0 steps lost" in told


def test_a_run_that_is_killed_again_and_again_ends_bit_for_bit_the_same(folder, capsys):
    drilled(folder, 2, capsys)
    hurt, alone = folder / "hurt", folder / "alone"
    assert list(read_evaluations(hurt)) == [10, 20, 30, 40]
    assert read_best(hurt / "checkpoints") == read_best(alone / "checkpoints") is not None
    curves = [COURSE.search((run / "evaluation/report.html").read_text()) for run in (hurt, alone)]
    assert curves[0][0] == curves[1][0]


@needed("s3")
def test_so_it_does_in_an_object_store_where_every_start_finds_an_empty_disk(folder, capsys):
    for log in folder.glob("hurt*"):
        shutil.rmtree(log) if log.is_dir() else log.unlink()
    with serving("s3") as bucket:
        place = place_of(bucket)
        drilled(folder, 1, capsys, place=place)
        hurt, alone = place / "hurt", folder / "alone"
        assert list(read_evaluations(hurt)) == [10, 20, 30, 40]
        assert read_best(hurt / "checkpoints") == read_best(alone / "checkpoints") is not None
        report = storage_of(hurt).read(hurt / "evaluation" / "report.html").decode()
        wanted = COURSE.search((alone / "evaluation" / "report.html").read_text())
        assert COURSE.search(report)[0] == wanted[0]
    assert not [path for path in folder.glob("hurt-*/*") if "checkpoint" in path.name]
