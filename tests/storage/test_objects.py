"""Runs in an object store: what counts, what damage does, and what a kill leaves."""

import errno
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from clouds import S3
from judging import Judge, go
from running import Workdir, count_up, new_state, save

from elir_jax.errors import DiskError, UserError
from elir_jax.running.failure import NotFinite, keep_for_inspection
from elir_jax.running.records import checkpoint
from elir_jax.running.records.best import Best, checkpoint_named, read_best
from elir_jax.running.records.checkpoint import read, read_newest, steps_in
from elir_jax.running.records.digests import Damaged, leaf_digests
from elir_jax.running.records.keeping import Checkpoints
from elir_jax.running.records.report import read_evaluations, read_metrics
from elir_jax.storage import objects
from elir_jax.storage.objects import Objects
from elir_jax.storage.opening import storage_of
from elir_jax.storage.scratch import PREFIX

ROOT = Path(__file__).resolve().parents[2]
PSNR = "restored.psnr"


def put(place, data):
    with storage_of(place).whole_file(place) as part:
        part.write_bytes(data)


def digests(folder):
    saved = read_newest(folder)
    return saved.step, saved.data, leaf_digests(saved.leaves)


def test_a_run_there_is_the_run_on_a_disk(run_folder, tmp_path):
    """Stopped in between; with the newest, every fifth and the best kept, rows and evaluations."""
    there, here = Workdir(run_folder), Workdir(tmp_path)
    for workdir in (there, here):
        for end in (4, 10):
            judge = Judge(score=lambda weight: 30.0 - abs(weight - 6))
            go(workdir, end, judge, every=5, keep_best=PSNR)
    assert digests(there.checkpoints) == digests(here.checkpoints)
    assert steps_in(there.checkpoints) == steps_in(here.checkpoints) == [6, 10]
    assert read_best(there.checkpoints) == read_best(here.checkpoints) == Best(6, PSNR, 30.0)
    assert checkpoint_named(there.checkpoints / "best") == there.checkpoints / "6"
    assert read_evaluations(run_folder) == read_evaluations(tmp_path) != {}
    rows = [[row["loss"] for row in read_metrics(folder)] for folder in (run_folder, tmp_path)]
    assert rows[0] == rows[1] and len(rows[0]) == 10
    names = storage_of(run_folder).names(run_folder)
    assert sum(name.startswith("tensorboard/events") for name in names) == 2
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    assert json.loads(storage_of(run_folder).read(run_folder / "ledger.json"))["starts"] == 2


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\0", b"\xff"])
def test_a_file_arrives_byte_for_byte(run_folder, end):
    content = bytes(range(256)) + end
    put(run_folder / "file", content)
    assert storage_of(run_folder).read(run_folder / "file") == content


def test_the_marker_is_sent_last_and_deleted_first(run_folder, monkeypatch):
    folder, client, done = run_folder, storage_of(run_folder)._client, []
    put_all, rm_file, rm = client.put, client.rm_file, client.rm
    monkeypatch.setattr(client, "put", lambda a, b: (done.append(b), put_all(a, b)))
    monkeypatch.setattr(client, "rm_file", lambda name: (done.append(name), rm_file(name)))
    monkeypatch.setattr(client, "rm", lambda names: (done.append(names), rm(names)))
    checkpoint.write(folder, 5, jax.device_get(new_state()), {"samples": 5}, {})
    arrays, marker = done[-2:]
    assert marker == [f"{folder}/5/digests.json"] and len(arrays) > 3
    assert all(name.startswith(f"{folder}/5/") for name in arrays) and marker[0] not in arrays
    done.clear()
    storage_of(folder).remove(folder / "5")
    assert done[0] == marker[0] and sorted(done[1]) == sorted(arrays)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("sent", [1, 2])
def test_what_a_kill_left_of_a_save_does_not_count_and_is_cleared(run_folder, monkeypatch, sent):
    folder, send, calls = run_folder, Objects._send, []
    save(folder, 3)

    def dying(self, here, place, files):
        calls.append(files)
        if len(calls) == 2:  # of the marker
            raise Killed
        send(self, here, place, files if sent == 2 else list(files)[:1])

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "_send", dying)
        with pytest.raises(Killed):
            checkpoint.write(folder, 5, jax.device_get(new_state()), {"samples": 5}, {})
    storage = storage_of(folder)
    assert any(name.startswith("5/") for name in storage.names(folder))
    assert steps_in(folder) == [3] and read_newest(folder).step == 3
    save(folder, 4, start=3)
    assert not any(name.startswith("5/") for name in storage.names(folder))
    assert steps_in(folder) == [3, 4]


@S3
def test_damage_is_found_named_and_moved_aside_and_the_one_before_is_used(run_folder, caplog):
    folder = run_folder
    save(folder, 3, 5)
    storage = storage_of(folder)
    inside = [name for name in storage.names(folder) if name.startswith("5/")]
    (arrays, *_) = [name for name in inside if name.startswith("5/state/d/")]
    for name in ("5/digests.json", "5/run.json", arrays):
        whole = storage.read(folder / name)
        put(folder / name, bytes([whole[0] ^ 1]) + whole[1:])
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            assert read_newest(folder).step == 3
        assert f"refused checkpoint {folder}/5: " in caplog.text
        put(folder / name, whole)
    assert read_newest(folder).step == 5
    storage._client.rm_file(f"{folder}/{arrays}")
    with pytest.raises(Damaged, match=rf"^{arrays.removeprefix('5/')} is missing"):
        read(folder / "5")
    save(folder, 4, start=3)
    assert steps_in(folder) == [3, 4] and storage.folders(folder / "damaged") == ["5"]


@S3
def test_frozen_weights_are_stored_once_and_written_again_if_damaged(run_folder, caplog):
    folder = run_folder
    save(folder, 3, 5)
    storage = storage_of(folder)
    (digest,) = storage.folders(folder / "frozen")
    name = next(n for n in storage.names(folder / "frozen" / digest) if n.startswith("state/d/"))
    place = folder / "frozen" / digest / name
    put(place, storage.read(place) + b"x")
    with pytest.raises(UserError, match=rf"all .* damaged: 5: its frozen weights, frozen/{digest}"):
        read_newest(folder)
    save(folder, 7, start=5)
    assert "writing it again" in caplog.text and read(folder / "5").step == 5


@S3
def test_the_state_before_a_value_that_is_not_finite_is_kept_there(run_folder):
    state = new_state().replace(step=np.int32(3))
    error = NotFinite(4, {"loss": np.nan}, state, np.array([7]), {"samples": 3})
    told = [str(keep_for_inspection(error, run_folder, "image {}".format, {})) for _ in range(2)]
    assert told[0] == told[1] and "not_finite/4-1" in told[0]
    incident = run_folder / "not_finite" / "4-1"
    story = json.loads(storage_of(incident).read(incident / "images.json"))
    assert story["images"] == {"7": "image 7"} and read(incident / "3").step == 3


@S3
def test_a_whole_folder_is_not_overwritten(run_folder):
    folder = run_folder
    save(folder, 3)
    before = storage_of(folder).versions(folder)
    with pytest.raises(FileExistsError, match="is there already"):
        checkpoint.write(folder, 3, jax.device_get(new_state()), {"samples": 0}, {})
    assert storage_of(folder).versions(folder) == before


@S3
def test_frozen_weights_are_fetched_once_by_a_process_unless_they_change(run_folder, monkeypatch):
    folder, fetched = run_folder, []
    fetch = Objects.fetched
    monkeypatch.setattr(Objects, "fetched", lambda *at: (fetched.append(at[1].name), fetch(*at))[1])
    save(folder, 3, 5, 7, keep=3)
    (digest,) = storage_of(folder).folders(folder / "frozen")
    assert fetched.count(digest) == 2  # as long as there were none, and what was sent
    put(folder / "frozen" / digest / "digests.json", b"other")
    save(folder, 9, start=7)
    assert fetched.count(digest) == 3 and read(folder / "9").step == 9


def unable(error):
    def fail(*_, **__):
        raise error

    return fail


ERRORS = pytest.mark.parametrize(
    "error, words",
    [
        (PermissionError(errno.EACCES, "Access Denied"), "Access Denied"),
        (OSError(errno.EBUSY, "503 Slow Down"), "503 Slow Down"),
        (TimeoutError(), "TimeoutError"),
        (ValueError("Bad Request:\n<html>"), "Bad Request:"),
    ],
    ids=["denied", "busy", "silent", "odd"],
)


@S3
@ERRORS
def test_a_best_that_cannot_be_read_now_is_not_forgotten(run_folder, monkeypatch, error, words):
    workdir = Workdir(run_folder)
    judge = {"judge": Judge(score=lambda weight: 30.0 - abs(weight - 3)), "keep_best": PSNR}
    go(workdir, 10, every=5, **judge)
    assert steps_in(workdir.checkpoints) == [3, 5, 10]
    storage, client = storage_of(run_folder), storage_of(run_folder)._client
    cat_file = client.cat_file
    with monkeypatch.context() as patch:
        fail = unable(error)
        broken = lambda name: (fail if name.endswith("best.json") else cat_file)(name)  # noqa: E731
        patch.setattr(client, "cat_file", broken)
        with pytest.raises(DiskError, match=rf"best\.json: cannot be read or written \({words}\)$"):
            go(workdir, 20, every=5, **judge)
        with pytest.raises(OSError, match=words):
            checkpoint_named(workdir.checkpoints / "best")
    go(workdir, 20, every=5, **judge)
    assert read_best(workdir.checkpoints).step == 3 and 3 in steps_in(workdir.checkpoints)
    assert storage.folders(workdir.checkpoints) == ["15", "20", "3"]


@S3
@ERRORS
def test_rows_that_cannot_be_sent_end_the_run_and_every_finished_step_is_saved(
    run_folder, monkeypatch, error, words
):
    """As where a bucket lets files be created but not overwritten."""
    client = storage_of(run_folder)._client
    put_all = client.put

    def write_once(here, there):
        if any(name.endswith("metrics.jsonl") and client.exists(name) for name in there):
            raise error
        put_all(here, there)

    monkeypatch.setattr(objects, "EVERY", 0.0)
    monkeypatch.setattr(client, "put", write_once)
    workdir, made = Workdir(run_folder), []

    def step(state, batch, order):
        made.append(int(batch.record[0]))
        time.sleep(0.05)
        return count_up(state, batch, order)

    with pytest.raises(DiskError, match=rf"metrics\.jsonl: cannot be written \({words}\); run the"):
        workdir.run(1000, step=step, every=3)
    assert workdir.saved() == made[-1] < 100


@S3
def test_a_store_that_does_not_answer_holds_up_no_row(run_folder, monkeypatch):
    """What is sent is what there was when the sending began."""
    client, answer = storage_of(run_folder)._client, threading.Event()
    put_all = client.put
    monkeypatch.setattr(client, "put", lambda *given: (answer.wait(60), put_all(*given)))
    sending = storage_of(run_folder).outgoing(run_folder)
    path = sending.folder / "metrics.jsonl"
    path.write_text("one\n")
    for _ in range(3):
        sending.send()
        with path.open("a") as file:
            file.write("two\n")
        sending.send(now=False)
    assert storage_of(run_folder).names(run_folder) == []
    answer.set()
    sending.wait()
    assert storage_of(run_folder).read(run_folder / "metrics.jsonl") == b"one\ntwo\ntwo\n"
    sending.close()
    assert storage_of(run_folder).read(run_folder / "metrics.jsonl") == b"one\n" + 3 * b"two\n"


@S3
def test_rows_are_there_before_their_checkpoint_and_right_after_an_evaluation(
    run_folder, monkeypatch
):
    """Else a kill would leave a checkpoint whose rows are lost, or cost the evaluation."""
    client, done = storage_of(run_folder)._client, []
    put_all = client.put

    def put_slowly(here, there):
        if rows := [name for name in here if name.endswith("metrics.jsonl")]:
            time.sleep(0.3)
            lines = map(json.loads, Path(rows[0]).read_text().splitlines())
            done.append([(row["step"], "loss" in row) for row in lines][-1])
        put_all(here, there)
        if found := [name for name in there if re.search(r"checkpoints/\d+/digests.json", name)]:
            done.append(int(found[0].split("/")[-2]))

    monkeypatch.setattr(client, "put", put_slowly)
    go(Workdir(run_folder), 8, every=5)  # and an evaluation every 3 steps
    assert done.index((5, True)) < done.index(5) and done.index((8, True)) < done.index(8)
    assert (3, False) in done and (6, False) in done


@S3
def test_rows_are_sent_again_when_they_have_grown_so_that_a_long_run_sends_little(
    run_folder, monkeypatch
):
    client, sent = storage_of(run_folder)._client, []
    monkeypatch.setattr(client, "put", lambda here, _: sent.append(os.path.getsize(here[0])))
    sending, now = storage_of(run_folder).outgoing(run_folder), [0.0]
    monkeypatch.setattr(objects.time, "monotonic", lambda: now[0])
    for _ in range(3000):
        now[0] += 5.0
        with (sending.folder / "metrics.jsonl").open("a") as file:
            file.write("x" * 500)
        sending.send(now=False)
        sending.wait()
    assert sent[:3] == [500, 1500, 2500]  # every 10 seconds at first
    assert sent[-1] > 3000 * 500 / 1.1 and sum(sent) < 15 * 3000 * 500
    sending.close()


@S3
def test_an_error_of_the_last_rows_is_told(run_folder, monkeypatch, caplog):
    storage, workdir = storage_of(run_folder), Workdir(run_folder)
    send = Objects._send

    def failing(self, here, place, files):
        if place == run_folder and storage.exists(workdir.checkpoints / "4" / "digests.json"):
            raise OSError(errno.EIO, "503 Slow Down", str(place))
        send(self, here, place, files)

    monkeypatch.setattr(Objects, "_send", failing)
    before = {*Path(tempfile.gettempdir()).glob(f"{PREFIX}-*")}
    workdir.run(4)
    assert "metrics.jsonl: the last rows may be missing (503 Slow Down)" in caplog.text
    left = {*Path(tempfile.gettempdir()).glob(f"{PREFIX}-*")} - before
    assert not [path for path in left if f"-{os.getpid()}-" in path.name]


def test_a_store_that_cannot_be_written_is_one_line(bucket):
    nowhere = type(bucket)(str(bucket).replace("bucket", "no-such-bucket")) / "run"
    with pytest.raises(UserError, match=r"no-such-bucket/run: cannot be written \(no such"):
        storage_of(nowhere).lock(nowhere)
    with pytest.raises(UserError, match="no-such-bucket/run: no checkpoint here"):
        checkpoint.read_averaged(nowhere)


SAVER = """
import sys, time, jax, numpy as np
sys.path[:0] = sys.argv[2:]
from running import new_state
from elir_jax.running.records import checkpoint
from elir_jax.storage.objects import Objects
from elir_jax.storage.opening import place_of, storage_of
send = Objects._send
Objects._send = lambda *given: (time.sleep(0.2), send(*given))  # so that a save can be met
folder = place_of(sys.argv[1])
storage_of(folder).lock(folder)
print("locked", flush=True)
state = jax.device_get(new_state())
for step in range(1, 1000):
    checkpoint.write(folder, step, state.replace(step=np.int32(step)), {"samples": step}, {})
"""


def test_sigkill_in_the_middle_of_a_save_leaves_the_one_before_and_a_free_lock(run_folder):
    folder, storage = run_folder, storage_of(run_folder)
    line = [sys.executable, "-c", SAVER, str(folder), str(ROOT), str(ROOT / "tests" / "support")]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=rf"in use by another run \(process {process.pid} on "):
            storage.lock(folder)
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline
            begun = {int(n.split("/")[0]) for n in storage.names(folder) if n[0].isdigit()}
            if begun and (unfinished := begun - set(steps_in(folder))) and max(unfinished) > 1:
                break
    finally:
        process.kill()
        process.communicate()
    newest = read_newest(folder)
    assert newest is not None and newest.step in (max(unfinished) - 1, max(unfinished))
    storage.lock(folder)  # the process is dead: no need to wait
    storage.unlock(folder)
    Checkpoints(folder, start=newest.step, keep=1000).close()
    begun = {int(n.split("/")[0]) for n in storage.names(folder) if n[0].isdigit()}
    assert begun == set(steps_in(folder)) == set(range(1, newest.step + 1))
