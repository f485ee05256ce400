"""The lock of an object store: one holder, and who may follow it."""

import json
import threading
import time

import numpy as np
import pytest
from clouds import S3
from running import new_state, save

from elir_jax.errors import DiskError, UserError
from elir_jax.running.records.checkpoint import read_newest, steps_in
from elir_jax.running.records.keeping import Checkpoints
from elir_jax.storage import lease
from elir_jax.storage.objects import AT_ONCE
from elir_jax.storage.opening import storage_of


@pytest.fixture
def elsewhere(run_folder, monkeypatch):
    """The folder, whose lock another machine holds; gives also what that one does with it."""
    monkeypatch.setattr(lease, "PATIENCE", 1.0)
    monkeypatch.setattr(lease, "POLL", 0.1)
    client = storage_of(run_folder)._client
    holder = {"name": "process 1 on far", "machine": "far", "process": 1, "began": "1", "beat": 0}

    def write(number=1, **changes):
        content = json.dumps(holder | changes).encode()
        client.pipe_file(f"{run_folder}/lock/{number}", content)

    write()
    return run_folder, write


def numbers(folder):
    return storage_of(folder).names(folder / "lock")


def test_a_lock_that_was_given_back_is_free_at_once(run_folder, monkeypatch):
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: pytest.fail("waited"))
    storage = storage_of(run_folder)
    for number in ("1", "2"):
        storage.lock(run_folder)
        assert numbers(run_folder) == [number]
        with pytest.raises(UserError, match="in use by another run"):
            storage.lock(run_folder)
        storage.unlock(run_folder)


def test_another_machine_that_gives_signs_keeps_it(elsewhere):
    folder, write = elsewhere
    threading.Timer(0.3, lambda: write(beat=1)).start()
    with pytest.raises(UserError, match=r"in use by another run \(process 1 on far\); wait"):
        storage_of(folder).lock(folder)
    assert numbers(folder) == ["1"]


def test_another_machine_that_is_silent_loses_it_and_notices(elsewhere, monkeypatch):
    folder, _ = elsewhere
    monkeypatch.setattr(lease, "BEAT", 0.1)
    began = time.monotonic()
    storage = storage_of(folder)
    storage.lock(folder)
    assert time.monotonic() - began >= lease.PATIENCE and numbers(folder) == ["2"]
    monkeypatch.setattr(lease, "PATIENCE", 60.0)
    with storage.whole_file(folder / "a") as part:
        part.write_text("mine")
    later = lease.Lease(storage._client, str(folder), 3)  # while this process slept
    later.create()
    deadline = time.monotonic() + 20
    while not lease._held[str(folder)].why_lost():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with (
        pytest.raises(OSError, match="another run took"),
        storage.whole_file(folder / "a") as part,
    ):
        part.write_text("not mine any more")
    assert storage.read(folder / "a") == b"mine"
    storage.unlock(folder)
    assert json.loads(storage.read(folder / "lock" / "3")).get("free") is None


def test_of_two_that_take_the_same_number_one_is_let_through(run_folder):
    if str(run_folder).startswith("gs"):
        pytest.skip("the emulator ignores the condition that an object must not exist")
    client = storage_of(run_folder)._client
    first, second = (lease.Lease(client, str(run_folder), 1) for _ in range(2))
    first.create()
    with pytest.raises(FileExistsError):
        second.create()
    first.create()  # tried again after an answer that was lost


@pytest.fixture
def held(run_folder, monkeypatch):
    """The folder, locked by this process, which renews the lock often and is told of a loss."""
    monkeypatch.setattr(lease, "BEAT", 0.1)
    storage_of(run_folder).lock(run_folder)
    yield run_folder
    storage_of(run_folder).unlock(run_folder)


def lose(folder):
    """As if a successor had been seen."""
    own = lease._held[str(folder)]
    own._ended.set()
    own._thread.join()
    own._is_followed = True


@S3
def test_whoever_has_lost_the_lock_sends_moves_and_deletes_nothing(held):
    folder, storage = held, storage_of(held)
    save(folder, 3)
    sending = storage.outgoing(folder)
    (sending.folder / "rows").write_text("")
    before = storage.versions(folder)
    before = {name: version for name, version in before.items() if "/lock/" not in name}
    lose(folder)

    def fill(opened):
        with opened as part:
            (part / "digests.json" if part.is_dir() else part).write_text("")

    for attempt in (
        lambda: storage.remove(folder / "3"),
        lambda: storage.move(folder / "3", folder / "damaged" / "3"),
        lambda: fill(storage.whole_file(folder / "best.json")),
        lambda: fill(storage.staged(folder, "3", replace=True)),
        lambda: fill(storage.staged(folder, "5")),
        lambda: Checkpoints(folder, start=0),
        sending.close,
    ):
        with pytest.raises(OSError, match="another run took the folder .*; nothing more is writ"):
            attempt()
    after = storage.versions(folder)
    assert {name: version for name, version in after.items() if "/lock/" not in name} == before


@S3
def test_a_run_that_has_lost_the_lock_leaves_its_successors_checkpoints_alone(held):
    first = Checkpoints(held)
    lose(held)
    successor = held  # saves at the same steps, from another machine
    own = lease._held.pop(str(held))
    save(successor, 10, 15)
    lease._held[str(held)] = own
    for step in (10, 15):
        first.save(new_state().replace(step=np.int32(step)), {"samples": step}, {})
        with pytest.raises(
            DiskError, match=r"could not be saved \(another run took.*; run the sam"
        ):
            first.wait()
    first.close()
    assert steps_in(held) == [10, 15] and read_newest(held).step == 15


@S3
@pytest.mark.parametrize("files", [1, AT_ONCE + 1])
def test_a_lock_that_is_lost_while_a_folder_is_sent_leaves_it_incomplete(held, monkeypatch, files):
    storage = storage_of(held)
    put = storage._client.put

    def slowly(*given):
        put(*given)
        lose(held)

    monkeypatch.setattr(storage._client, "put", slowly)
    with pytest.raises(OSError, match="another run took"), storage.staged(held, "5") as part:
        for name in [*map(str, range(files)), "digests.json"]:
            (part / name).write_text("")
    sent = [name for name in storage.names(held) if name.startswith("5/")]
    assert len(sent) == min(files, AT_ONCE) and steps_in(held) == []


@pytest.fixture
def clock(monkeypatch):
    """Tells when a renewal began: the seconds in a list."""
    now = [0.0]
    monkeypatch.setattr(lease, "_now", lambda: now[0])
    return now


@S3
@pytest.mark.parametrize("fault", ["hangs", "fails"])
def test_without_a_renewal_in_time_the_lock_is_lost_for_good_whoever_follows(
    clock, held, monkeypatch, fault
):
    """Also while the store does not answer at all; and an answer that comes later does not help."""
    client, asked, answered = storage_of(held)._client, threading.Event(), threading.Event()
    find, own = client.find, lease._held[str(held)]

    def unreachable(folder, **how):
        asked.set()
        if fault == "hangs":
            answered.wait()
        elif not answered.is_set():
            raise TimeoutError
        return find(folder, **how)

    monkeypatch.setattr(client, "find", unreachable)
    assert asked.wait(20)
    clock[0] += lease.PATIENCE - 2 * lease.BEAT
    lease.check(str(held / "a"))
    for _ in range(2):
        clock[0] += 2 * lease.BEAT
        with pytest.raises(OSError, match=r"^the lock could not be renewed for 60 s; nothing more"):
            lease.check(str(held / "a"))
        answered.set()
        own._thread.join(20)
        assert not own._thread.is_alive()
    lease.check(f"{held}-of-another-run/a")


@S3
def test_a_short_outage_does_not_cost_the_lock(clock, held, monkeypatch, caplog):
    client, answers = storage_of(held)._client, threading.Event()
    find, own = client.find, lease._held[str(held)]

    def unreachable(folder, **how):
        if not answers.is_set():
            raise OSError("503 Slow Down")
        return find(folder, **how)

    monkeypatch.setattr(client, "find", unreachable)
    clock[0] += 50.0
    deadline = time.monotonic() + 20
    while "cannot be renewed (503 Slow Down)" not in caplog.text or own._renewed < 50.0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        if "cannot be renewed" in caplog.text:
            answers.set()
    clock[0] += 50.0
    lease.check(str(held / "a"))


@S3
def test_a_renewal_counts_from_its_beginning(clock, held, monkeypatch):
    """The successor's patience does, too: it counts from what it saw before."""
    client, asked, answers = (
        storage_of(held)._client,
        threading.Semaphore(0),
        threading.Semaphore(0),
    )
    find, own = client.find, lease._held[str(held)]

    def slow(folder, **how):
        asked.release()
        answers.acquire(timeout=20)
        return find(folder, **how)

    monkeypatch.setattr(client, "find", slow)
    assert asked.acquire(timeout=20)
    clock[0] += 40.0
    answers.release()
    assert asked.acquire(timeout=20)  # the first renewal is done, the second waits
    lease.check(str(held / "a"))
    clock[0] += 25.0
    with pytest.raises(OSError, match="could not be renewed"):
        lease.check(str(held / "a"))
    answers.release()
    own._thread.join(20)


@S3
def test_the_requests_of_a_holder_have_an_end(held, monkeypatch):
    client, waits = storage_of(held)._client, set()
    find, pipe_file = client.find, client.pipe_file
    monkeypatch.setattr(client, "find", lambda *a, timeout: (waits.add(timeout), find(*a))[1])
    monkeypatch.setattr(
        client, "pipe_file", lambda *a, timeout: (waits.add(timeout), pipe_file(*a))
    )
    deadline = time.monotonic() + 20
    while lease._held[str(held)]._content["beat"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert waits == {lease.CALL}


@S3
@pytest.mark.parametrize("content", [b'{"name": "process 1 on far", "mach', b"[]", b"\xff"])
def test_a_damaged_lock_is_somebodys(run_folder, monkeypatch, content):
    monkeypatch.setattr(lease, "PATIENCE", 0.3)
    monkeypatch.setattr(lease, "POLL", 0.1)
    client, began = storage_of(run_folder)._client, time.monotonic()
    client.pipe_file(f"{run_folder}/lock/1", content)
    storage_of(run_folder).lock(run_folder)
    assert time.monotonic() - began >= lease.PATIENCE and numbers(run_folder) == ["2"]
    storage_of(run_folder).unlock(run_folder)
