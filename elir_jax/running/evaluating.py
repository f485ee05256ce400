"""Evaluate on held-out images: each host restores its share; the figures are those of all."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax

from elir_jax.devices import hosts
from elir_jax.evaluation.measure import (
    Evaluation,
    Pair,
    Restoring,
    add_fid,
    columns,
    measure_groups,
    share_of,
    summarize,
)
from elir_jax.metrics.perceptual import Perceptual

Group = tuple[Sequence[Pair], int]  # pairs of one padded size, and their batch


class HeldOut(NamedTuple):
    """The images that a configuration keeps for evaluation."""

    pairs: Callable[[range], Iterator[tuple]]  # numbers -> (number, name, x_hq, x_lq) of each
    total: int
    batch_size: int  # on each device
    num_samples: int
    name: Callable[[int], str] = str  # of a pair by its number, wherever its folder is


class _Stopped(Exception):
    """This host was told to stop."""


def evaluate_held_out(
    held_out: HeldOut,
    restoring: Restoring,
    perceptual: Perceptual,
    stopping: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """The mean figures of all held-out images, the same on every host. Raises UserError.

    ``stopping`` is called before each group of images; if it returns True on any host, the result
    is None on all. Every host must call this function at the same point.
    """
    total = held_out.total
    numbers = share_of(total, jax.process_index(), jax.process_count())
    batch = min(held_out.batch_size, total) * jax.local_device_count()

    def measure():
        try:
            return measure_groups(
                _until(stopping, _batches(held_out.pairs(numbers), batch)),
                restoring,
                most=len(share_of(total, 0, jax.process_count())),
                num_samples=held_out.num_samples,
                perceptual=perceptual,
            )
        except _Stopped:
            return None

    measured = hosts.agreed(measure)
    if hosts.any_of(measured is None):
        return None
    table, samples = measured
    named = columns(restoring.stage_names, perceptual)
    evaluation = summarize(hosts.gather(table), named, samples, held_out.name, total)
    add_fid(evaluation, perceptual, restoring.stage_names, hosts.gather_rows)
    return evaluation


def _until(stopping: Callable[[], bool], groups: Iterator[Group]) -> Iterator[Group]:
    for group in groups:
        if stopping():
            raise _Stopped
        yield group


def _batches(pairs: Iterator[tuple], size: int) -> Iterator[Group]:
    """Groups of ``size`` pairs; a shorter last group uses the same programs."""
    found: list[Pair] = []
    for pair in pairs:
        found.append(Pair(*pair))
        if len(found) == size:
            yield found, size
            found = []
    if found:
        yield found, size
