"""What several processes have, on each; their exchange is played by threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from elir_jax.devices import hosts
from elir_jax.metrics import perceptual
from elir_jax.metrics.frechet import describe, frechet_distance
from elir_jax.metrics.perceptual import Fid, Perceptual

FEATURES = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
REFERENCE = describe(np.random.default_rng(1).standard_normal((9, 3)))
SHARES = [range(0, 3), range(3, 7), range(0)]  # the last host has no image


@pytest.fixture
def on_three_hosts(monkeypatch):
    """``work(host)`` on three hosts at once; their answers."""
    barrier, rows, host = threading.Barrier(3, timeout=20), [None] * 3, threading.local()

    def gather(mine):
        rows[host.number] = mine
        barrier.wait()
        everybodys = np.stack(rows)
        barrier.wait()
        return everybodys

    monkeypatch.setattr(hosts, "gather", gather)
    monkeypatch.setattr(hosts, "alone", lambda: False)

    def on_host(work, number):
        host.number = number
        return work(number)

    def run(work):
        with ThreadPoolExecutor(3) as pool:
            return [done.result() for done in [pool.submit(on_host, work, n) for n in range(3)]]

    return run


def test_rows_of_every_host_come_in_order_however_many_each_has(on_three_hosts):
    def work(host):
        own = FEATURES[list(SHARES[host])] if SHARES[host] else np.zeros((0, 0), np.float32)
        return hosts.gather_rows(own)

    for rows in on_three_hosts(work):
        np.testing.assert_array_equal(rows, FEATURES)


@pytest.fixture
def fid_of(monkeypatch):
    """FID and notes of a host; an image is the number of its features, one is lost where asked."""
    monkeypatch.setattr(perceptual, "_eight_bits", lambda images: [])

    def fid_of(host, lost=False):
        numbers = iter(SHARES[host])

        def features(folder):
            if lost:
                raise MemoryError("no memory")
            return FEATURES[next(numbers)][None]

        mine = Perceptual({}, Fid(features, REFERENCE))
        for _ in SHARES[host]:
            mine.add("restored", np.zeros((1, 1, 1, 3), np.float32))
        return mine.finish(["restored"], hosts.gather_rows), mine.notes

    return fid_of


def test_fid_over_several_hosts_is_that_of_all_images(on_three_hosts, fid_of):
    wanted = {"restored": pytest.approx(frechet_distance(describe(FEATURES), REFERENCE))}
    assert on_three_hosts(fid_of) == [(wanted, [])] * 3


def test_what_one_host_lost_is_lost_on_all_and_told(on_three_hosts, fid_of):
    found = on_three_hosts(lambda host: fid_of(host, lost=host == 1))
    assert [figures for figures, _ in found] == [{}] * 3
    assert ["some of the images" in notes[0] for _, notes in found] == [True, False, True]
    assert "no memory" in found[1][1][0]
