"""Seconds are booked once each, over all starts of a run; what is made again is told apart."""

import json
import logging
import time
from pathlib import Path

import pytest

from elir_jax.running.records.ledger import ACCOUNTS, Ledger


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def spend(ledger, account, seconds):
        ledger.turn(account)
        now[0] += seconds

    return spend


def test_accounts_add_up_over_all_starts(tmp_path, clock):
    path = tmp_path / "ledger.json"
    first = Ledger(path, 97.0)
    for account, seconds in (("compile", 5), ("data", 1), ("step", 2)):
        clock(first, account, seconds)
    for step in (1, 2, 3, 4):
        first.made(step)
    row = first.write()
    assert row == {f"seconds_{a}": s for a, s in zip(ACCOUNTS, (3, 5, 1, 2, 0, 0, 0), strict=True)}
    clock(first, "step", 50)  # and killed: what came after the last row is not known

    second = Ledger(path, 150.0)
    clock(second, "data", 1)
    assert [second.account_of(step) for step in (3, 4, 5)] == ["redone", "redone", "step"]
    for step in (3, 4, 5):
        clock(second, second.account_of(step), 2)
        second.made(step)
    seconds = second.write()
    assert seconds["seconds_redone"] == 4 and seconds["seconds_step"] == 4
    assert seconds["seconds_start_up"] == 3 + 8 and seconds["seconds_data"] == 2
    assert (
        "redone 4.0" in second.summary() and "2 start(s), 2 step(s) made again" in second.summary()
    )


def test_a_ledger_cut_short_is_begun_anew(tmp_path):
    (tmp_path / "ledger.json").write_text('{"seconds": {"st')
    assert Ledger(tmp_path / "ledger.json", 0.0).starts == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"seconds": {"step": 1',
        b"[]",
        b"null",
        b'{"seconds": 3}',
        b'{"starts": null}',
        b"\xff",
    ],
)
def test_damaged_accounts_begin_anew_and_it_is_told(tmp_path, content, caplog):
    path = tmp_path / "ledger.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        ledger = Ledger(path, 0.0)
    assert f"{path}: damaged" in caplog.text
    assert ledger.starts == 1 and set(ledger.seconds) == set(ACCOUNTS)
    ledger.write()
    assert json.loads(path.read_text())["starts"] == 1


def test_accounts_that_cannot_be_read_now_are_not_begun_anew(tmp_path, monkeypatch):
    Ledger(tmp_path / "ledger.json", 0.0).write()

    def broken(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(OSError, match="Input/output"):
        Ledger(tmp_path / "ledger.json", 0.0)
    monkeypatch.undo()
    assert Ledger(tmp_path / "ledger.json", 0.0).starts == 2
