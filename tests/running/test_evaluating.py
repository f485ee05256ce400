"""Evaluation while a run trains: at its steps, once each, and out of the way of signals."""

import json
import os
import signal
import time

import numpy as np
import pytest
from judging import Judge, averaged, go

from elir_jax.errors import UserError
from elir_jax.evaluation.measure import Restoring
from elir_jax.inference.whole_pictures import Restoration
from elir_jax.metrics.perceptual import NOTHING
from elir_jax.running.evaluating import HeldOut, evaluate_held_out
from elir_jax.running.records.report import read_evaluations, read_metrics
from elir_jax.running.stopping import StopRequest


def lines(workdir):
    """The rows without what a clock says."""
    rows = map(json.loads, (workdir.folder / "metrics.jsonl").read_text().splitlines())
    clock = ("images_per_second", "seconds_")
    return [{k: v for k, v in row.items() if not k.startswith(clock)} for row in rows]


def test_the_averaged_weights_are_measured_every_nth_step_but_the_last(workdir):
    assert go(workdir, 9).calls == [3, 6]
    assert read_evaluations(workdir.folder) == {
        step: {"restored": {"psnr": step, "ssim": 0.5}} for step in (3, 6)
    }
    assert [row["step"] for row in read_metrics(workdir.folder)] == list(range(1, 10))
    assert lines(workdir)[3] == {
        "step": 3, "evaluation/restored.psnr": 3.0, "evaluation/restored.ssim": 0.5
    }  # fmt: skip
    ledger = json.loads((workdir.folder / "ledger.json").read_text())
    assert ledger["seconds"]["evaluation"] > 0


def test_without_an_interval_nothing_is_measured(workdir):
    judge = Judge()
    workdir.run(5, evaluate=judge)
    assert not judge.calls and not read_evaluations(workdir.folder)


@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.parametrize("stops", [(4,), (3,), (6, 7), (3, 6)])
def test_a_run_that_goes_on_leaves_the_same_lines_as_one_without_a_break(
    workdir, tmp_path, stops, every
):
    for num_steps in (*stops, 10):
        go(workdir, num_steps, every=every)
    whole = type(workdir)(tmp_path / "whole")
    whole.folder.mkdir()
    go(whole, 10, every=every)
    assert lines(workdir) == lines(whole)


def test_lines_of_steps_made_again_are_not_kept_twice(workdir):
    go(workdir, 4, every=4)
    with (workdir.folder / "metrics.jsonl").open("a") as file:  # of a run that was killed
        file.write('{"step": 5, "loss": 1.0}\n{"step": 6, "loss": 1.0}\n')
        file.write('{"step": 6, "evaluation/restored.psnr": 1.0}\n')
    assert go(workdir, 8, every=4).calls == [6]
    assert [row["step"] for row in lines(workdir)] == [1, 2, 3, 3, 4, 5, 6, 6, 7, 8]
    assert read_evaluations(workdir.folder)[6]["restored"]["psnr"] == 6


def test_a_signal_during_an_evaluation_saves_the_step_and_it_is_measured_on_return(workdir):
    with StopRequest() as stop:

        def interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
            while stop.signum is None:
                time.sleep(0.01)

        judge = go(workdir, 9, Judge(at=2, act=interrupt), stop=stop, every=100)
    assert judge.calls == [3, 6] and workdir.saved() == 6
    assert list(read_evaluations(workdir.folder)) == [3]
    assert go(workdir, 9).calls == [6]
    assert list(read_evaluations(workdir.folder)) == [3, 6]


def test_an_evaluation_that_fails_ends_the_run_and_what_was_trained_is_kept(workdir):
    def fail():
        raise UserError("none of the images to evaluate on can be used")

    with pytest.raises(UserError, match="none of the images"):
        go(workdir, 9, Judge(at=1, act=fail), every=100)
    assert workdir.saved() == 3


def test_nothing_is_measured_after_a_step_that_was_not_made(workdir):
    def empty(state, batch, order):
        state, metrics, verdict = averaged(state, batch, order)
        return state, metrics, verdict._replace(stop=np.bool_(batch.record[0] == 3))

    judge = Judge()
    workdir.run(9, step=empty, evaluate=judge, evaluate_every=3)
    assert not judge.calls


def test_a_request_to_stop_ends_the_measuring_before_the_next_group():
    seen = []

    def restore(images, batch):
        seen.append(len(images))
        return [Restoration(x) for x in images]

    def pairs(numbers):
        return ((i, str(i), *2 * [np.zeros((16, 16, 3), np.float32)]) for i in numbers)

    restoring = Restoring(restore, None, (), lambda side: side)
    held_out = HeldOut(pairs, 40, 1, 1)
    assert evaluate_held_out(held_out, restoring, NOTHING, lambda: len(seen) == 2) is None
    assert len(seen) == 2
    whole = evaluate_held_out(held_out, restoring, NOTHING, lambda: False)
    assert whole.figures.keys() == {"input", "restored"}
