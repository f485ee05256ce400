"""A short form of benchmarks/faults.py, on a network that compiles quickly."""

from benchmarks.faults import drill


def test_a_run_that_is_killed_again_and_again_ends_bit_for_bit_the_same(tmp_path, capsys):
    options = ["--config.num_steps=40", "--config.checkpoint_every=10"]
    same = drill(tmp_path, "configs/autoencoder.py:tiny", 2, 1, options, seed=1)
    told = capsys.readouterr().out
    assert same and "verdict        bit-identical" in told, told
    assert "SIGTERMs       1: 0 steps lost" in told
