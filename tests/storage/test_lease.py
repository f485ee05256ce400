"""The lock of an object store: one holder, and who may follow it."""

import json
import threading
import time

import pytest

from elir_jax.errors import UserError
from elir_jax.storage import lease
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
    with storage.whole_file(folder / "a") as part:
        part.write_text("mine")
    later = lease.Lease(storage._client, str(folder), 3)  # while this process slept
    later.create()
    deadline = time.monotonic() + 20
    while not lease._held[str(folder)].lost:
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
