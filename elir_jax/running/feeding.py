"""Take batches in a thread, so that a signal does not have to wait for the storage."""

import queue
import threading
from typing import Any, Protocol, runtime_checkable

from elir_jax.running.stopping import StopRequest
from elir_jax.types import Sent

POLL = 0.05  # seconds
CLOSING = 3.0  # seconds: how long to wait for workers, so that they end before the interpreter does


@runtime_checkable
class Batches(Protocol):
    """An iterator of batches that can be closed."""

    def __next__(self) -> Sent: ...

    def close(self) -> None: ...


class Feeding:
    """Makes the next batch of ``data`` while the step runs.

    Use as a context manager. If ``data`` raises an exception, :meth:`take` raises it in turn. On
    exit the thread closes ``data``, so that its workers end; it may be waiting for the storage.
    """

    def __init__(self, data: Batches):
        self._data = data
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="feeding", daemon=True)

    def __enter__(self) -> "Feeding":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(CLOSING)

    def take(self, stop: StopRequest) -> Any:
        """The next batch, or None if ``stop`` came first."""
        while stop.signum is None:
            try:
                batch, error = self._queue.get(timeout=POLL)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            return batch
        return None

    def _fill(self) -> None:
        error: BaseException | None = None
        while error is None and not self._closed.is_set():
            batch = None
            try:
                batch = next(self._data)
            except BaseException as raised:  # raised again in take
                error = raised
            while not self._closed.is_set():
                try:
                    self._queue.put((batch, error), timeout=POLL)
                    break
                except queue.Full:
                    continue
        self._data.close()
