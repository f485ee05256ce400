"""Evaluation on held-out images: each host its share, the figures over all of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax

from elir_jax.devices import hosts
from elir_jax.evaluation.measure import (
    Evaluation,
    Pair,
    Restoring,
    columns,
    measure_groups,
    share_of,
    summarize,
)
from elir_jax.metrics.perceptual import Perceptual


class HeldOut(NamedTuple):
    """The images that a configuration keeps for evaluation."""

    pairs: Callable[[range], Iterator[tuple]]  # of these numbers: (number, name, x_hq, x_lq)
    total: int
    batch_size: int  # a device's
    num_samples: int


def evaluate_held_out(
    held_out: HeldOut, restoring: Restoring, perceptual: Perceptual
) -> Evaluation:
    """The mean figures of all held-out images, the same on every host. Raises UserError."""
    total = held_out.total
    numbers = share_of(total, jax.process_index(), jax.process_count())
    batch = min(held_out.batch_size, total) * jax.local_device_count()
    table, samples = hosts.agreed(
        lambda: measure_groups(
            _batches(held_out.pairs(numbers), batch),
            restoring,
            most=len(share_of(total, 0, jax.process_count())),
            num_samples=held_out.num_samples,
            perceptual=perceptual,
        )
    )
    named = columns(restoring.stage_names, perceptual)
    evaluation = summarize(hosts.gather(table), named, samples)
    for stage, fid in perceptual.finish(restoring.stage_names, hosts.gather_rows).items():
        evaluation.figures[stage]["fid"] = fid
    return evaluation


def _batches(pairs: Iterator[tuple], size: int) -> Iterator[tuple[Sequence[Pair], int]]:
    """Groups of ``size`` pairs; a short last one is restored by the same programs."""
    found: list[Pair] = []
    for pair in pairs:
        found.append(Pair(*pair))
        if len(found) == size:
            yield found, size
            found = []
    if found:
        yield found, size
