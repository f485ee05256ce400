"""Loop, checkpoints, stopping and reports, with a model of one number."""

import itertools
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elir_jax.errors import UserError
from elir_jax.training.checkpoint import Checkpoints
from elir_jax.training.loop import Plan, fit
from elir_jax.training.optim import AdamW
from elir_jax.training.parallel import replicate, replicated_like
from elir_jax.training.report import Report, draw_curves, read_metrics
from elir_jax.training.state import create_state
from elir_jax.training.stopping import StopRequest

OPTIMIZER = AdamW().build()


def new_state(shape=(3,)):
    return replicate(create_state({"w": jnp.zeros(shape)}, {"f": jnp.ones(2)}, OPTIMIZER))


class Numbers:
    """Data whose position is a number."""

    def __init__(self):
        self.position = 0

    def __next__(self):
        self.position += 1
        return self.position

    def get_state(self):
        return {"next_index": self.position}

    def set_state(self, state):
        self.position = state["next_index"]


def count_up(state, batch):
    """A step that sums the data."""
    params = jax.tree.map(lambda w: w + batch, state.params)
    return state.replace(step=state.step + 1, params=params), {"loss": jnp.float32(batch)}


class Workdir:
    """A run's folder; ``run`` goes on from its newest checkpoint."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, num_steps, step=count_up, checkpoint_every=2, stop=None):
        checkpoints = Checkpoints(self.folder / "checkpoints")
        state, data = new_state(), Numbers()
        if checkpoints.latest_step() is not None:
            state, position = checkpoints.restore(replicated_like(state))
            data.set_state(position)
        report = Report(self.folder, start=int(state.step), num_steps=num_steps, batch_size=1)
        try:
            return fit(
                state, data, step, Plan(num_steps, 1, checkpoint_every),
                checkpoints=checkpoints, report=report, stop=stop or StopRequest(), config={},
            )  # fmt: skip
        finally:
            report.close()
            checkpoints.close()

    def saved(self):
        checkpoints = Checkpoints(self.folder / "checkpoints")
        try:
            return checkpoints.latest_step()
        finally:
            checkpoints.close()


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path)


def test_a_stopped_run_goes_on_where_it_stopped(workdir):
    workdir.run(5)
    assert workdir.saved() == 5
    state = workdir.run(9)
    assert int(state.step) == 9
    np.testing.assert_array_equal(state.params["w"], np.full(3, sum(range(1, 10))))
    assert [row["step"] for row in read_metrics(workdir.folder)] == list(range(1, 10))


def test_running_a_finished_run_again_changes_nothing(workdir):
    workdir.run(4)
    before = (workdir.folder / "metrics.jsonl").read_text()
    assert int(workdir.run(4).step) == 4
    assert (workdir.folder / "metrics.jsonl").read_text() == before


@pytest.fixture
def usual_signals():
    """Python's own handler of SIGINT: a shell that starts tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_ends_the_run_after_the_step_in_hand(workdir, usual_signals):
    def interrupted(state, batch):
        if batch == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return count_up(state, batch)

    with StopRequest() as stop:
        state = workdir.run(100, step=interrupted, stop=stop)
    assert stop.signum == signal.SIGINT
    assert int(state.step) == workdir.saved() == 3


def test_a_second_signal_is_not_held_back(usual_signals):
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signum == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_a_loss_that_is_not_finite_stops_the_run_by_name_and_is_not_saved(workdir):
    def failing(state, batch):
        state, metrics = count_up(state, batch)
        return state, metrics | {"consistency": jnp.float32(np.nan if batch == 4 else 1.0)}

    with pytest.raises(UserError, match="step 4: not finite: consistency"):
        workdir.run(100, step=failing)
    assert workdir.saved() == 2
    assert [row["step"] for row in read_metrics(workdir.folder)] == [1, 2, 3]


def test_a_broken_image_ends_the_run_but_what_was_trained_is_kept(workdir, monkeypatch):
    whole = Numbers.__next__

    def broken(data):
        if data.position == 3:
            raise UserError("broken.png: not a readable image")
        return whole(data)

    monkeypatch.setattr(Numbers, "__next__", broken)
    with pytest.raises(UserError, match=r"broken\.png"):
        workdir.run(100)
    assert workdir.saved() == 3
    monkeypatch.setattr(Numbers, "__next__", whole)
    np.testing.assert_array_equal(workdir.run(5).params["w"], np.full(3, sum(range(1, 6))))


def test_rows_after_the_last_checkpoint_are_not_kept_twice(workdir):
    workdir.run(4)
    with (workdir.folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5, "loss": 0.0}) + "\n")
        file.write('{"step": 6, "lo')  # a kill in the middle of a line
    workdir.run(6)
    assert [row["step"] for row in read_metrics(workdir.folder)] == [1, 2, 3, 4, 5, 6]


def test_only_the_newest_checkpoints_are_kept(workdir):
    workdir.run(10)
    kept = sorted(int(p.name) for p in (workdir.folder / "checkpoints").iterdir())
    assert kept == [8, 10]


def test_a_checkpoint_of_another_network_is_refused_by_name(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(new_state(), {"next_index": 0}, {})
    checkpoints.wait()
    with pytest.raises(UserError, match=r"another network: params/w is float32\[3\].*\[4\]"):
        checkpoints.restore(replicated_like(new_state((4,))))
    checkpoints.close()


def test_no_checkpoint_is_a_mistake_that_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoints.restore(replicated_like(new_state()))
    checkpoints.close()


def test_a_restored_state_lies_where_a_new_one_does(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    state = new_state()
    checkpoints.save(state, {"next_index": 7}, {"a": 1})
    checkpoints.wait()
    restored, position = checkpoints.restore(replicated_like(new_state()))
    checkpoints.close()
    assert position == {"next_index": 7}
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert a.sharding == b.sharding and a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_curves_are_drawn_of_what_was_logged(workdir):
    assert draw_curves(workdir.folder) is None
    workdir.run(3)
    assert draw_curves(workdir.folder).stat().st_size > 1000
    assert next(itertools.chain((workdir.folder / "tensorboard").iterdir()), None) is not None
