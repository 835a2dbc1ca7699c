"""An iterator run ahead in a thread of its own, within bounds."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_END = object()
LEFT = 2.0  # seconds after which a thread that waits for something silent is left to itself


class Ahead(Generic[T]):
    """Iterates over what a thread takes from ``items``, at most ``depth`` ahead; close when done.

    ``busy`` is the seconds that the thread spent in ``items``, ``waited`` those that the consumer
    waited for it. With ``lossy`` the oldest is dropped where the consumer is too slow, and counted
    in ``dropped``: what is live does not wait.
    """

    def __init__(self, items: Iterable[T], *, depth: int, lossy: bool = False) -> None:
        self.busy = self.waited = 0.0
        self.dropped = 0
        self._lossy = lossy
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            began = time.perf_counter()
            item = self._queue.get()
            self.waited += time.perf_counter() - began
            if item is _END:
                self._queue.put(_END)
                if self._error is not None:
                    raise self._error
                return
            yield item

    def close(self) -> None:
        """Stop the thread and wait for it, though not for what it may itself be waiting for."""
        self._stopped.set()
        until = time.monotonic() + LEFT
        while self._thread.is_alive() and time.monotonic() < until:
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.01)

    def _run(self, items: Iterable[T]) -> None:
        iterator = iter(items)
        try:
            while not self._stopped.is_set():
                began = time.perf_counter()
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                finally:
                    self.busy += time.perf_counter() - began
                self._put(item)
        except BaseException as error:  # noqa: BLE001 handed to the consumer
            self._error = error
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
            self._put(_END)

    def _put(self, item: Any) -> None:
        lossy = self._lossy and item is not _END
        while not self._stopped.is_set():
            try:
                self._queue.put(item, block=not lossy, timeout=0.1)
                return
            except queue.Full:
                if lossy:  # at once: else the source's own buffers fill, and all is seen late
                    with contextlib.suppress(queue.Empty):
                        self._queue.get_nowait()
                        self.dropped += 1
