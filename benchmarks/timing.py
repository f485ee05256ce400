"""Time calls in turns, and count the cores that they keep busy."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax

OURS = "ours"
PAUSE = 0.5  # seconds before a call on a CPU: another side's threads may still spin, on its cores


class Timing(NamedTuple):
    """Of one call: medians over the turns."""

    seconds: float
    busy: float  # CPU time of this process over wall time: how many cores it kept busy
    first: float  # seconds of the first call, which compiles


def take_turns(calls: dict[str, Callable], repeats: int) -> dict[str, Timing]:
    """The timing of each call; one that fails is left out and says so, unless it is ours."""
    found: dict[str, list[tuple[float, float]]] = {}
    first: dict[str, float] = {}
    for name, call in calls.items():
        try:
            first[name], _ = _once(call)
        except Exception as error:
            if name == OURS:
                raise
            print(f"  {name}: left out ({str(error).splitlines()[0][:80]})", flush=True)
            continue
        found[name] = []
    for _ in range(repeats):
        for name, turns in found.items():
            turns.append(_once(calls[name]))
    return {
        name: Timing(*map(statistics.median, zip(*turns, strict=True)), first[name])
        for name, turns in found.items()
    }


def in_pairs(
    ours: Callable, others: dict[str, Callable[[], Callable]], repeats: int
) -> dict[str, tuple[Timing, Timing]]:
    """name -> timings of our call and of the other, which is made for these turns and then dropped.

    All of them at once could fill the memory, and the system would then drop the pages of programs.
    """
    found = {}
    for name, make in others.items():
        turns = take_turns({OURS: ours, name: make()}, repeats)
        gc.collect()
        if name in turns:
            found[name] = turns[OURS], turns[name]
    return found


def _once(call: Callable) -> tuple[float, float]:
    """(wall seconds, cores busy)."""
    if jax.default_backend() == "cpu":
        time.sleep(PAUSE)
    start, used = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    seconds = time.perf_counter() - start
    return seconds, (time.process_time() - used) / seconds
