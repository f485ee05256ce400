"""The best checkpoint by a figure is kept, found again and named."""

import errno
import math
import os
from pathlib import Path

import numpy as np
import pytest
from judging import Judge, go
from running import new_state
from test_configs import load

from elir_jax import compose
from elir_jax.errors import DiskError, UserError
from elir_jax.evaluation.measure import Evaluation
from elir_jax.running.records.best import Best, checkpoint_named, is_better, read_best, write_best
from elir_jax.running.records.checkpoint import arrange, read_chosen, steps_in

PSNR = "restored.psnr"


def falling(weight):
    """Highest at step 6: 3 -> 27, 6 -> 30, 9 -> 27, 12 -> 24."""
    return 30.0 - abs(weight - 6)


def test_the_best_stays_beside_the_newest_and_is_read_by_its_name(workdir):
    go(workdir, 20, Judge(score=falling), every=5, keep_best=PSNR)
    assert read_best(workdir.checkpoints) == Best(6, PSNR, 30.0)
    assert steps_in(workdir.checkpoints) == [6, 15, 20]
    saved = read_chosen(checkpoint_named(workdir.checkpoints / "best"))
    assert saved.step == 6 and saved.data == {"samples": 6}
    state = arrange(saved, new_state(), workdir.checkpoints)
    np.testing.assert_array_equal(state.ema["w"], np.full(3, 6.0))


def test_without_the_field_no_checkpoint_is_best(workdir):
    go(workdir, 10, every=5)
    assert steps_in(workdir.checkpoints) == [5, 10] and read_best(workdir.checkpoints) is None
    assert checkpoint_named(workdir.checkpoints) == workdir.checkpoints / "10"
    with pytest.raises(UserError, match=r"no best checkpoint here.*keep_best"):
        checkpoint_named(workdir.checkpoints / "best")


def test_a_run_that_goes_on_keeps_the_best_until_a_better_one_is_measured(workdir):
    go(workdir, 10, Judge(score=falling), every=5, keep_best=PSNR)
    go(workdir, 20, Judge(score=falling), every=5, keep_best=PSNR)
    assert steps_in(workdir.checkpoints) == [6, 15, 20]
    go(workdir, 25, every=5)  # a start that does not ask for it deletes nothing
    assert steps_in(workdir.checkpoints) == [6, 20, 25]
    go(workdir, 30, Judge(score=lambda weight: 31.0), every=5, keep_best=PSNR)
    assert read_best(workdir.checkpoints) == Best(27, PSNR, 31.0)
    assert steps_in(workdir.checkpoints) == [27, 30]


def test_a_kill_between_the_measuring_and_the_row_leaves_the_same_best(workdir):
    go(workdir, 10, Judge(score=falling), every=3, keep_best=PSNR)
    path = workdir.folder / "metrics.jsonl"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(row for row in rows if '"step": 9, "evaluation' not in row))
    (workdir.checkpoints / "10" / "digests.json").unlink()  # so that it goes on at 9
    judge = go(workdir, 11, Judge(score=falling), every=3, keep_best=PSNR)
    assert judge.calls == [9] and read_best(workdir.checkpoints).step == 6


def test_another_figure_starts_anew_and_a_best_that_is_gone_is_forgotten(workdir):
    go(workdir, 10, Judge(score=falling), every=5, keep_best=PSNR)
    go(workdir, 20, every=5, keep_best="restored.ssim")
    assert read_best(workdir.checkpoints) == Best(12, "restored.ssim", 0.5)
    write_best(workdir.checkpoints, Best(4, "restored.ssim", 0.9))
    go(workdir, 30, every=5, keep_best="restored.ssim")
    assert read_best(workdir.checkpoints) == Best(21, "restored.ssim", 0.5)


def test_a_figure_is_better_in_its_own_direction_and_of_equal_ones_the_first_stays():
    for figure, better, worse in (("restored.psnr", 3.0, 2.0), ("a.b.lpips", 2.0, 3.0)):
        assert is_better(Best(1, figure, worse), figure, better)
        assert not is_better(Best(1, figure, better), figure, worse)
        assert not is_better(Best(1, figure, better), figure, better)
        assert not is_better(None, figure, math.nan)
        assert is_better(None, figure, worse)


def test_figures_of_another_evaluation_are_not_compared(workdir, caplog):
    """An easy set gave 40 dB; on a harder one 22 dB may be the best."""
    go(workdir, 10, Judge(score=lambda weight: 40.0), keep_best=PSNR, evaluation="easy")
    go(workdir, 20, Judge(score=falling), keep_best=PSNR, evaluation="easy")
    assert read_best(workdir.checkpoints) == Best(3, PSNR, 40.0, "easy") and not caplog.records
    go(workdir, 30, Judge(score=lambda weight: 30 - weight / 10), keep_best=PSNR, evaluation="hard")
    assert read_best(workdir.checkpoints) == Best(21, PSNR, 27.9, "hard")
    assert "step 3, is by another evaluation" in caplog.text
    assert steps_in(workdir.checkpoints) == [21, 28, 30]


def test_a_stage_without_the_figure_is_never_the_best(workdir):
    def nothing(params, frozen, *, stopping):
        return Evaluation({"restored": {}}, [])

    workdir.run(10, evaluate=nothing, evaluate_every=3, every=5, keep_best=PSNR)
    assert read_best(workdir.checkpoints) is None and steps_in(workdir.checkpoints) == [5, 10]


@pytest.mark.parametrize("cut", [b"", b'{"step": 6, "fig', b"[]", b'{"step": 6}', b"\xff\xfe"])
def test_a_best_json_that_is_damaged_is_told_and_written_anew(workdir, cut, caplog):
    go(workdir, 10, Judge(score=falling), every=5, keep_best=PSNR)
    (workdir.checkpoints / "best.json").write_bytes(cut)
    with pytest.raises(UserError, match="no best checkpoint here"):
        checkpoint_named(workdir.checkpoints / "best")
    assert "best.json: damaged; the next evaluation writes it anew" in caplog.text
    go(workdir, 14, Judge(score=falling), every=5, keep_best=PSNR)
    assert read_best(workdir.checkpoints) == Best(12, PSNR, 24.0)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_best_json_that_cannot_be_read_ends_the_start_and_keeps_the_best(
    workdir, monkeypatch, number
):
    go(workdir, 10, Judge(score=falling), every=5, keep_best=PSNR)
    whole = Path.read_bytes

    def broken(path):
        if path.name == "best.json":
            raise OSError(number, os.strerror(number), str(path))
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(DiskError, match=rf"best\.json: cannot be .*\({os.strerror(number)}\)"):
        workdir.run(20, keep_best=PSNR)
    monkeypatch.undo()
    go(workdir, 20, Judge(score=falling), every=5, keep_best=PSNR)
    assert read_best(workdir.checkpoints).step == 6 and 6 in steps_in(workdir.checkpoints)


def test_a_damaged_best_is_named(workdir):
    go(workdir, 20, Judge(score=falling), every=5, keep_best=PSNR)
    (workdir.checkpoints / "6" / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"checkpoints/6: run\.json is not what was written; name"):
        read_chosen(checkpoint_named(workdir.checkpoints / "best"))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"keep_best": "restored.lpips"}, ["keep_best=restored.lpips", "psnr, ssim"]),
        ({"keep_best": "psnr"}, ["keep_best=psnr", "STAGE.METRIC", "restored"]),
        ({"keep_best": "final.psnr"}, ["final.psnr", "latent_mmse"]),
        ({"keep_best": PSNR, "evaluate_every": 0}, ["evaluate_every=STEPS"]),
        ({"evaluate_every": -1}, ["evaluate_every=-1", "at least 0"]),
    ],
)
def test_a_figure_that_training_does_not_measure_is_named_at_the_start(changes, words):
    config = load("quickstart", "tiny")
    config.update({"evaluate_every": 5} | changes)
    with pytest.raises(UserError) as error:
        compose.build(config)
    assert all(word in str(error.value) for word in words), error.value


def test_a_figure_of_any_stage_is_accepted():
    config = load("quickstart", "tiny")
    config.update(evaluate_every=5, keep_best="latent_mmse.ssim")
    assert compose.build(config).plan.evaluate_every == 5
