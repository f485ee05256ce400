"""Batches from a thread."""

import pytest
from running import Numbers

from elir_jax.running.feeding import Feeding
from elir_jax.running.stopping import StopRequest


def test_batches_come_in_order_and_their_maker_is_closed_at_the_end():
    data = Numbers()
    with Feeding(data) as feeding:
        taken = [feeding.take(StopRequest()).record[0] for _ in range(3)]
        assert not data.closed.is_set()
    assert taken == [1, 2, 3]
    assert data.closed.wait(20)


def test_what_the_data_raises_is_raised_and_it_is_closed_all_the_same(monkeypatch):
    def broken(data):
        raise OSError("gone")

    monkeypatch.setattr(Numbers, "__next__", broken)
    data = Numbers()
    with Feeding(data) as feeding, pytest.raises(OSError, match="gone"):
        feeding.take(StopRequest())
    assert data.closed.wait(20)
