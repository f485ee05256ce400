"""The loop: resuming, stopping, and what ends a run."""

import errno
import json
import math
import os
import re
import shutil
import signal
import struct
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from running import Numbers, Workdir, count_up
from tensorboardX.proto.event_pb2 import Event

from elir_jax.errors import DiskError, UserError
from elir_jax.running.failure import NotFinite, keep_for_inspection
from elir_jax.running.profiling import Profiler, parse_profile
from elir_jax.running.records import checkpoint
from elir_jax.running.records.checkpoint import read
from elir_jax.running.records.report import draw_curves, read_metrics
from elir_jax.running.records.writers import Writers
from elir_jax.running.stopping import StopRequest
from elir_jax.training.step import Verdict


def test_a_stopped_run_goes_on_where_it_stopped(workdir):
    workdir.run(5)
    assert workdir.saved() == 5
    state = workdir.run(9)
    assert int(state.step) == 9
    np.testing.assert_array_equal(state.params["w"], np.full(3, sum(range(1, 10))))
    assert [row["step"] for row in read_metrics(workdir.folder)] == list(range(1, 10))


def test_a_step_and_its_batch_are_handed_over_before_the_one_before_is_waited_for(
    workdir, monkeypatch
):
    events = []

    def noting(state, batch, order):
        events.append(f"made {int(batch.record[0])}")
        return count_up(state, batch, order)

    monkeypatch.setattr(
        Writers, "log", lambda self, step, values: events.append(f"waited for {step}")
    )
    workdir.run(4, step=noting, every=100)
    assert events == [
        "made 1", "made 2", "waited for 1", "made 3", "waited for 2", "made 4", "waited for 3",
        "waited for 4",
    ]  # fmt: skip


def test_running_a_finished_run_again_changes_nothing(workdir):
    workdir.run(4)
    before = (workdir.folder / "metrics.jsonl").read_text()
    assert int(workdir.run(4).step) == 4
    assert (workdir.folder / "metrics.jsonl").read_text() == before


def test_a_signal_ends_the_run_after_the_step_in_hand(workdir):
    with StopRequest() as stop:

        def interrupted(state, batch, order):
            if batch.record[0] == 3:
                os.kill(os.getpid(), signal.SIGINT)
                while stop.signum is None:
                    time.sleep(0.01)
            return count_up(state, batch, order)

        state = workdir.run(100, step=interrupted, stop=stop)
    assert stop.signum == signal.SIGINT
    assert int(state.step) == workdir.saved() == 3


REFUSED = Verdict(*[jnp.bool_(False)] * 4)


def poisoned(state, batch, order):
    """Step 4 has a loss that is not finite; the state stays as it was, as a real step leaves it."""
    if int(order.after) != int(state.step) or batch.record[0] == 4:
        metrics = {"loss": jnp.float32(1), "consistency": jnp.float32(np.nan)}
        return state, metrics, REFUSED
    return count_up(state, batch, order)


def test_a_value_that_is_not_finite_stops_the_run_by_name_and_is_kept_apart(workdir):
    with pytest.raises(NotFinite) as caught:
        workdir.run(100, step=poisoned)
    assert workdir.saved() == 2
    assert [row["step"] for row in read_metrics(workdir.folder)] == [1, 2, 3]
    told = keep_for_inspection(caught.value, workdir.folder, "image {}".format, {})
    assert "step 4: not finite: consistency; images 4 " in str(told)
    assert "not_finite/4-1)" in str(told) and "--allow-config-change" in str(told)
    folder = workdir.folder / "not_finite" / "4-1"
    story = json.loads((folder / "images.json").read_text())
    assert story == {"step": 4, "not_finite": {"consistency": "nan"}, "images": {"4": "image 4"}}
    kept = read(folder / "3")
    assert kept.step == 3 and kept.data == {"samples": 3}
    np.testing.assert_array_equal(kept.leaves["params/w"], np.full(3, 1 + 2 + 3))


def test_a_run_that_fails_at_the_same_step_again_keeps_one_state(workdir):
    with pytest.raises(NotFinite) as caught:
        workdir.run(100, step=poisoned)
    error, folder = caught.value, workdir.folder / "not_finite"

    def told(bad):
        error.bad = bad
        return str(keep_for_inspection(error, workdir.folder, str, {}))

    first, again = ({"consistency": math.nan}, {"consistency": math.inf})
    (folder / "4-1").mkdir(parents=True)  # a kill left nothing in it
    assert "4-2" in told(first) == told(first)
    state = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert "4-3" in told(again) == told(again)
    assert "4-2" in told(first)
    assert {path: path.stat().st_mtime_ns for path in state} == state
    assert sorted(path.name for path in (folder / "4-3").iterdir()) == ["images.json"]
    assert json.loads((folder / "4-3/images.json").read_text())["not_finite"] == {
        "consistency": "inf"
    }
    shutil.rmtree(folder / "4-2" / "3")  # as if there had been no room
    told(again)
    assert read(folder / "4-3" / "3").step == 3


def full(part):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_save_that_fails_is_told_together_with_a_value_that_is_not_finite(workdir, monkeypatch):
    monkeypatch.setattr(checkpoint, "seal", full)
    with pytest.raises(NotFinite) as caught:
        workdir.run(100, step=poisoned, every=3)
    told = keep_for_inspection(caught.value, workdir.folder, str, {})
    assert isinstance(told, DiskError) and str(told).startswith("step 4: not finite: consistency")
    assert re.search(
        r"; and \S+checkpoints: a checkpoint could not be saved \(No space left on device\); the "
        r"last complete one is none; make room, then run the same command again$",
        str(told),
    )


def test_an_earlier_error_is_told_together_with_a_value_that_is_not_finite(workdir, monkeypatch):
    def unwritten(self, step, values):
        if step == 3:
            raise DiskError("rows: cannot be written")

    monkeypatch.setattr(Writers, "log", unwritten)
    with pytest.raises(NotFinite) as caught:
        workdir.run(100, step=poisoned, every=100)
    assert str(caught.value.earlier) == "rows: cannot be written"


def test_a_save_that_fails_is_told_whatever_ends_the_run(workdir, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "seal", full)

    def mistaken(state, batch, order):
        if batch.record[0] == 4:
            raise ZeroDivisionError
        return count_up(state, batch, order)

    with pytest.raises(ZeroDivisionError):
        workdir.run(100, step=mistaken, every=3)
    assert capsys.readouterr().err.count("a checkpoint could not be saved (No space left") == 1


def skipping(limit):
    """A step that skips images 3 and 4 as a real one does, while the limit allows it."""

    def step(state, batch, order):
        if batch.record[0] not in (3, 4) or int(order.after) != int(state.step):
            return count_up(state, batch, order)
        metrics = {"loss": jnp.float32(np.nan)}
        if int(state.skipped) >= limit:
            return state, metrics, REFUSED
        state = state.replace(step=state.step + 1, skipped=state.skipped + 1)
        return state, metrics, REFUSED._replace(skipped=jnp.bool_(True))

    return step


def test_a_skipped_step_is_named_and_the_run_goes_on_killed_or_not(workdir, capsys):
    whole = workdir.run(6, step=skipping(2))
    assert (int(whole.step), int(whole.skipped)) == (6, 2)
    np.testing.assert_array_equal(whole.params["w"], np.full(3, 1 + 2 + 5 + 6))
    said = capsys.readouterr().err
    assert "step 3 skipped, not finite: loss; images 3 (3)" in said
    rows = [json.loads(row) for row in (workdir.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "skipped" in row] == [3, 4]
    assert [row["step"] for row in read_metrics(workdir.folder)] == [1, 2, 5, 6]
    other = Workdir(workdir.folder / "stopped")
    for end in (3, 6):  # between the two that are skipped
        parts = other.run(end, step=skipping(2))
    assert (int(parts.step), int(parts.skipped)) == (6, 2)
    np.testing.assert_array_equal(parts.params["w"], whole.params["w"])


def test_one_step_more_than_may_be_skipped_stops_the_run(workdir):
    with pytest.raises(NotFinite) as caught:
        workdir.run(6, step=skipping(1))
    told = str(keep_for_inspection(caught.value, workdir.folder, "image {}".format, {}))
    assert "step 4: not finite: loss after 1 such step(s) that were skipped; images 4" in told
    assert "--config.max_skipped_steps" in told


def test_a_loss_above_its_running_range_is_warned_of_once(workdir, capsys):
    def step(state, batch, order):
        state, metrics, verdict = count_up(state, batch, order)
        far = batch.record[0] in (70, 71)
        return state, {"loss": jnp.float32(50.0 if far else 1 + batch.record[0] % 3)}, verdict

    workdir.run(80, step=step, every=40)
    said = [line for line in capsys.readouterr().err.splitlines() if "warning: step" in line]
    assert len(said) == 1 and "step 70: loss is 50, usually below" in said[0]


def test_a_trace_of_some_steps_is_written(workdir):
    profiler = Profiler(workdir.folder / "trace", parse_profile("2:3"))
    workdir.run(4, profiler=profiler)
    assert list((workdir.folder / "trace").rglob("*.xplane.pb"))
    for wrong in ("3", "0:2", "3:2", "a:b"):
        with pytest.raises(UserError, match=f"--profile={wrong}: must be FIRST:LAST"):
            parse_profile(wrong)


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


@pytest.mark.parametrize("place", ["step", "log", "advance", "evaluation", "trace"])
def test_whatever_ends_the_run_what_was_trained_is_kept(place, workdir, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("unforeseen")

    def failing(state, batch, order):
        return count_up(state, batch, order) if batch.record[0] < 4 else fail()

    given = {
        "step": {"step": failing},
        "evaluation": {"evaluate": fail, "evaluate_every": 3},
        "trace": {"profiler": Profiler(workdir.folder / "trace", parse_profile("4:5"))},
    }
    monkeypatch.setattr(jax.profiler, "start_trace", fail)
    if place in ("log", "advance"):
        whole = getattr(Writers, place)
        monkeypatch.setattr(
            Writers, place, lambda self, step, *a: fail() if step == 3 else whole(self, step, *a)
        )
    with pytest.raises(RuntimeError, match="unforeseen"):
        workdir.run(100, every=50, **given.get(place, {}))
    saved = workdir.saved()
    assert saved >= 3
    monkeypatch.undo()
    np.testing.assert_array_equal(
        workdir.run(saved + 2).params["w"], np.full(3, sum(range(saved + 3)))
    )


def test_rows_after_the_last_checkpoint_are_not_kept_twice(workdir):
    workdir.run(4)
    with (workdir.folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5, "loss": 0.0}) + "\n")
        file.write('{"step": 6, "lo')  # a kill in the middle of a line
    workdir.run(6)
    assert [row["step"] for row in read_metrics(workdir.folder)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "line", [b'{"step": 2, "lo', b"\xff\xfe", b"3", b"[]", b'{"step": "2"}', b""]
)
def test_a_damaged_row_costs_no_other(workdir, line):
    workdir.run(4)
    path = workdir.folder / "metrics.jsonl"
    rows = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([rows[0], line, *rows[2:]]) + b"\n")
    workdir.run(6)
    assert [row["step"] for row in read_metrics(workdir.folder)] == [1, 3, 4, 5, 6]


def test_curves_are_drawn_of_what_was_logged(workdir, monkeypatch):
    assert draw_curves(workdir.folder) is None
    workdir.run(3)
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: drawn.append((figure, path)))
    path = draw_curves(workdir.folder)
    ((figure, written),) = drawn
    assert path == written == workdir.folder / "loss.png"
    (axes,) = figure.axes
    assert {line.get_label(): line.get_xydata().tolist() for line in axes.lines} == {
        "loss": [[1, 1], [2, 2], [3, 3]]
    }
    assert axes.get_yscale() == "log"


def test_tensorboard_has_what_was_logged(workdir):
    workdir.run(3)
    (file,) = (workdir.folder / "tensorboard").iterdir()
    content, rows = file.read_bytes(), {}
    while content:  # length, its checksum, event, its checksum
        (length,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        for value in event.summary.value:
            rows.setdefault(event.step, {})[value.tag] = value.simple_value
        content = content[16 + length :]
    logged = {row.pop("step"): row for row in read_metrics(workdir.folder)}
    assert sorted(logged) == [1, 2, 3] and rows.keys() == logged.keys()
    for step, row in logged.items():
        assert rows[step] == pytest.approx(row, rel=1e-6)
