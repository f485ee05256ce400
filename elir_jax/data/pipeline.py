"""From photographs to endless batches, with grain: shuffle, pair, share among hosts, batch.

All random numbers of a sample follow from the seed and the sample's number in the endless sequence
of all epochs. So the position in the data is one integer, and the global batch is the same whatever
the number of workers and processes.
"""

import dataclasses
import errno
import logging
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator

import grain
import numpy as np

from elir_jax.data.pairs import Maker
from elir_jax.data.sources import Source
from elir_jax.errors import UserError
from elir_jax.types import Sent

THREADS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)  # in batches
WORKER_THREADS = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
WORKER_BUFFER = 1  # batches that a worker keeps ready; 64 pairs at 512x512 take 400 MB
ON_ERROR = ("raise", "skip")
GOOD = -1  # as ``bad``: no image was unusable
NONE = -1  # as ``record``: no image was usable
ATTEMPTS = 100  # images tried in place of one that cannot be used

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Feed:
    """How batches are made.

    ``workers`` is the number of processes that make them; 0: threads of this process. If an image
    is unusable, ``on_error="raise"`` ends the run; ``"skip"`` puts the next usable one in its
    place, until more than ``max_bad_share`` of all images are unusable.
    """

    batch_size: int  # global
    seed: int
    workers: int = 0
    on_error: str = "raise"
    max_bad_share: float = 0.01

    def __post_init__(self):
        if self.on_error not in ON_ERROR:
            raise ValueError(f"on_error must be one of {ON_ERROR}, got {self.on_error!r}")
        if self.workers < 0:
            raise ValueError(f"workers must not be negative, got {self.workers}")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must lie in [0, 1], got {self.max_bad_share}")


@dataclasses.dataclass(frozen=True)
class MakeSample:
    """Image number -> a training sample.

    An unusable image is replaced by the next usable one, and its number returned under ``bad``. If
    ``ATTEMPTS`` images in a row are unusable, the sample is blank and its record ``NONE``. The
    reader of the samples decides what to do, in order.
    """

    source: Source
    maker: Maker

    def __call__(self, record: int, rng: np.random.Generator) -> dict:
        bad, number = GOOD, int(record)
        for _ in range(min(ATTEMPTS, len(self.source))):
            try:
                name = self.source.name(number)
                arrays = self.maker.sample(rng, self.source[number], name)
            except UserError:
                bad = int(record)
                number = (number + 1) % len(self.source)
            else:
                return arrays | {"record": np.int32(number), "bad": np.int32(bad)}
        return self.maker.blank() | {"record": np.int32(NONE), "bad": np.int32(bad)}


class TrainingBatches:
    """Endless batches: this process's share of each global batch.

    ``get_state`` and ``set_state`` give and set the position, in samples of the global sequence, so
    that a run with another batch size can continue from it. Raises ValueError if the number of
    processes does not divide the batch.
    """

    def __init__(
        self,
        source: Source,
        maker: Maker,
        feed: Feed,
        process_index: int = 0,
        process_count: int = 1,
    ):
        if feed.batch_size % process_count:
            raise ValueError(f"{process_count} processes do not divide {feed.batch_size}")
        self.source, self.maker, self.feed = source, maker, feed
        self.bad: set[int] = set()
        slots = np.arange(process_index, feed.batch_size, process_count, dtype=np.int32)
        self._slots = slots
        self._samples = (
            grain.MapDataset.range(len(source))
            .seed(feed.seed)
            .shuffle()
            .repeat()
            .random_map(MakeSample(source, maker))
        )
        self._share = process_index, process_count
        self._next = 0  # number of the next global batch's first sample
        self._iterator: Iterator | None = None

    def __iter__(self) -> "TrainingBatches":
        return self

    def __next__(self) -> Sent:
        try:
            if self._iterator is None:
                self._iterator = self._start()
            sample = next(self._iterator)
        except (OSError, RuntimeError) as error:
            reason = _trouble_of_workers(error) if self.feed.workers else ""
            if not reason:
                raise
            raise UserError(f"{reason}; then run the same command again") from error
        self._look_at(sample.pop("bad"), sample["record"])
        self._next += self.feed.batch_size
        return self.maker.batch(**sample, slot=self._slots)

    def close(self) -> None:
        """Stop the workers; the next request for a batch starts them again, at its position."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None:
            iterator.close()

    def get_state(self) -> dict[str, int]:
        """The number of samples taken so far by all processes, since the start of the run."""
        return {"samples": self._next}

    def set_state(self, state: dict[str, int]) -> None:
        """Continue after that number of samples."""
        self._next, self._iterator = int(state["samples"]), None

    def after(self, state: dict[str, int], batches: int) -> dict[str, int]:
        """The position that many batches later."""
        return {"samples": state["samples"] + batches * self.feed.batch_size}

    def blank(self) -> Sent:
        """A blank batch, for a process that has none."""

        def rows(one):
            if isinstance(one, dict):
                return {name: rows(array) for name, array in one.items()}
            return np.stack([one] * len(self._slots))

        sample = self.maker.blank() | {"record": np.int32(GOOD)}
        return self.maker.batch(**rows(sample), slot=self._slots)

    def _start(self) -> Iterator:
        index, count = self._share
        rest = self._samples[self._next + index :: count].batch(len(self._slots))
        if not self.feed.workers:
            return iter(rest.to_iter_dataset(THREADS))
        options = grain.MultiprocessingOptions(
            num_workers=self.feed.workers, per_worker_buffer_size=WORKER_BUFFER
        )
        dataset = rest.to_iter_dataset(WORKER_THREADS)
        return iter(dataset.mp_prefetch(options, worker_init_fn=_leave_signals_to_parent))

    def _look_at(self, bad: np.ndarray, record: np.ndarray) -> None:
        """Raise an error for unusable images, or log and count them."""
        for number, found in zip(bad.tolist(), record.tolist(), strict=True):
            if number == GOOD:
                continue
            if self.feed.on_error == "raise":
                name = self.source.name(number)
                self.maker.sample(np.random.default_rng(0), self.source[number], name)
                raise UserError(
                    f"{name}: could not be read at first, now it can; check its storage"
                )
            total = len(self.source)
            if found == NONE:
                raise UserError(
                    f"{self.source.name(number)} and the {min(ATTEMPTS, total) - 1} images after "
                    f"it, of {total}, are all unusable; repair or remove them"
                )
            if number in self.bad:
                continue
            self.bad.add(number)
            count = len(self.bad)
            logger.warning(
                "skipped %s: unusable (%d of %d images so far)",
                self.source.name(number), count, total,
            )  # fmt: skip
            if count > self.feed.max_bad_share * total:
                raise UserError(
                    f"{count} of {total} images are unusable, the last {self.source.name(number)}: "
                    f"more than --config.data.max_bad_share={self.feed.max_bad_share}; repair or "
                    f"remove those named above, or raise the share"
                )


def _trouble_of_workers(error: Exception) -> str:
    """Why workers cannot continue and what helps, if the machine is the reason; or nothing."""
    number = getattr(error, "errno", None)
    died = re.search(r"terminated unexpectedly with exit code (-?\d+)", str(error))  # grain's words
    code, fewer = int(died[1]) if died else 0, "lower --config.data.workers (0: no processes)"
    if number in (errno.EMFILE, errno.ENFILE):
        return f"too many open files; raise the limit (ulimit -n), or {fewer}"
    if number == errno.ENOSPC or code == -signal.SIGBUS:
        return (
            f"/dev/shm is full, the shared memory through which workers send batches; enlarge it "
            f"(docker run --shm-size), or {fewer}"
        )
    if code == -signal.SIGKILL:
        return f"a worker that makes batches was killed, usually because memory ran out; {fewer}"
    return f"a worker that makes batches ended with {code}; lines above may say why" if code else ""


def _leave_signals_to_parent(index: int, count: int) -> None:
    """Ignore signals, which the parent handles; workers end when the parent ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # however it ended
        os._exit(1)
