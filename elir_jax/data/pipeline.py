"""From photographs to batches of pairs, with grain: shuffle, crop, flip, degrade, batch.

Everything random about a sample follows from the seed and the sample's number in the endless
sequence of all epochs. So the position in the data is one integer, and the global batch is the
same whatever the number of processes that share it.
"""

import dataclasses
from collections.abc import Callable, Iterator

import grain
import numpy as np

from elir_jax.data.images import FloatPixels, centre_crop, random_crop, to_float
from elir_jax.data.sources import Source
from elir_jax.types import Batch

Degradation = Callable[[np.random.Generator, FloatPixels], FloatPixels]

PREFETCH = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)  # in batches


@dataclasses.dataclass(frozen=True)
class MakePair:
    """Image number -> a training pair: random crop, flip half of the time, degradation."""

    source: Source
    degrade: Degradation
    size: int

    def __call__(self, record: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        pixels = self.source[int(record)]
        pixels = random_crop(rng, pixels, self.size, self.source.name(int(record)))
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        x_hq = to_float(pixels)
        return {"x_hq": x_hq, "x_lq": self.degrade(rng, x_hq), "record": np.int32(record)}


def training_batches(
    source: Source,
    degrade: Degradation,
    *,
    size: int,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.IterDataset:
    """Endless batches: this process's share of each global batch of ``batch_size``.

    The iterator's ``get_state`` and ``set_state`` are the position, in batches. Raises ValueError
    where the processes do not divide the batch.
    """
    if batch_size % process_count:
        raise ValueError(f"{process_count} processes do not divide a batch of {batch_size}")

    def with_slot(index: int, sample: dict) -> dict:
        return sample | {"slot": np.int32(index % batch_size)}

    return (
        grain.MapDataset.range(len(source))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(MakePair(source, degrade, size))
        .map_with_index(with_slot)[process_index::process_count]
        .batch(batch_size // process_count)
        .map(lambda sample: Batch(**sample))
        .to_iter_dataset(PREFETCH)
    )


def evaluation_pairs(
    source: Source, degrade: Degradation, *, size: int, seed: int
) -> Iterator[tuple[str, FloatPixels, FloatPixels]]:
    """(name, x_hq, x_lq) for each image: its centre, degraded by a generator of its own."""
    for i in range(len(source)):
        x_hq = to_float(centre_crop(source[i], size, source.name(i)))
        yield source.name(i), x_hq, degrade(np.random.default_rng((seed, i)), x_hq)
