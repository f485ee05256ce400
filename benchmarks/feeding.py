"""Feeding a device: the bytes of a pair on the way, and the wait for a batch.

`benchmarks/data.py` prints both. The wait is that of a device which is busy for a fixed time with
each step and leaves the host's cores alone.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator

import grain
import jax

from elir_jax.compose.data import Data
from elir_jax.data import pipeline
from elir_jax.running.feeding import Feeding
from elir_jax.running.stopping import StopRequest
from elir_jax.types import Sent

MB = 1e6
PAIRS, STEPS = 4, 20  # in a batch; waited for
SLACK = 1.25  # the device's time for a step, in times that the host needs for a batch


def print_bytes(data: dict[str, Data]) -> None:
    """What a pair has on the way to the device, beside the same values as float32."""
    print(f"\n{'a pair on the way':<32}{'MB':>8}{'as float32':>12}{'share':>8}   arrays")
    for task, one in data.items():
        arrays = [a for a in jax.tree.leaves(one.batches(0, 1).blank()) if a.ndim > 2]
        sizes = [a[0].size for a in arrays]
        sent = sum(a[0].nbytes for a in arrays) / MB
        wide = 4 * sum(sizes) / MB
        kinds = ", ".join(f"{a.dtype} {list(a.shape[1:])}" for a in arrays)
        print(f"{task:<32}{sent:>8.2f}{wide:>12.2f}{sent / wide:>8.0%}   {kinds}")


def print_waits(task: str, data: Data) -> None:
    """How long a device waits for each step's batch, with and without double buffering."""
    data = data._replace(feed=dataclasses.replace(data.feed, batch_size=PAIRS, workers=0))
    busy = SLACK * statistics.median(_waits(_as_asked, data, 0.0))
    print(f"\n{task}, {PAIRS} pairs a batch: a device that needs {1e3 * busy:.0f} ms a step waits")
    for title, feed in (
        ("each batch made when asked for", _as_asked),
        ("double buffering", _ahead),
    ):
        waits = [1e3 * seconds for seconds in _waits(feed, data, busy)]
        print(f"{title:<32}{statistics.fmean(waits):>8.1f} ms a step, at most {max(waits):.1f}")


def _waits(feed: Callable, data: Data, busy: float) -> list[float]:
    """Seconds between the end of each step and the start of the next."""
    waits = []
    with feed(data) as (take, late):
        take()  # the first one warms up
        ends = time.monotonic()
        for _ in range(STEPS):
            jax.block_until_ready(jax.device_put(take()))
            there = time.monotonic()
            before, ends = ends, max(there, ends) + busy
            waits.append(ends - busy - before)
            time.sleep(max(0.0, (before if late else ends) - there))
    return waits


@contextlib.contextmanager
def _ahead(data: Data) -> Iterator[tuple[Callable[[], Sent], bool]]:
    """(the next batch, whether a step is waited for one step late), as in the loop."""
    with Feeding(data.batches(0, 1)) as feeding:
        yield lambda: feeding.take(StopRequest()), True


@contextlib.contextmanager
def _as_asked(data: Data) -> Iterator[tuple[Callable[[], Sent], bool]]:
    """The same without anything made ahead: step and batch wait for each other."""
    batches, threads = data.batches(0, 1), pipeline.THREADS
    pipeline.THREADS = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    try:
        yield lambda: next(batches), False
    finally:
        pipeline.THREADS = threads
        batches.close()
