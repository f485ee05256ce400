"""A short form of benchmarks/faults.py, on a network that compiles quickly."""

import re

from benchmarks.faults import drill
from elir_jax.running.records.best import read_best
from elir_jax.running.records.report import read_evaluations

COURSE = re.compile(r'<figure class="plot"><h2>Metrics during training</h2>.*?</figure>', re.DOTALL)


def test_a_run_that_is_killed_again_and_again_ends_bit_for_bit_the_same(tmp_path, capsys):
    options = ["--config.num_steps=40", "--config.checkpoint_every=10",
               "--config.evaluate_every=10", "--config.keep_best=restored.psnr"]  # fmt: skip
    same = drill(tmp_path, "configs/autoencoder.py:tiny", 2, 1, options, seed=1)
    told = capsys.readouterr().out
    assert same and "verdict        bit-identical" in told, told
    assert "SIGTERMs       1: 0 steps lost" in told

    hurt, alone = tmp_path / "hurt", tmp_path / "alone"
    assert list(read_evaluations(hurt)) == [10, 20, 30, 40]
    assert read_best(hurt / "checkpoints") == read_best(alone / "checkpoints") is not None
    curves = [COURSE.search((run / "evaluation/report.html").read_text()) for run in (hurt, alone)]
    assert curves[0][0] == curves[1][0]
