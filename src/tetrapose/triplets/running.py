"""Parts done one after another or by several workers; what is done is decided in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from typing import Any, Protocol

from tetrapose.errors import UserError
from tetrapose.triplets.library import Library
from tetrapose.triplets.timing import Clock

AHEAD = 2  # parts a worker that are looked at before they are due


@dataclass(frozen=True)
class Did:
    """What a piece of work came to: triplets written, items gone through, times."""

    triplets: int = 0
    items: int = 0
    clock: Clock = field(default_factory=Clock)


class Job(Protocol):
    """Work on a library in parts. It travels to workers, so it holds plain values and paths.

    ``scan`` looks at a part, parts in any order; ``judge`` says in order which of its items repeat
    earlier ones; ``make`` writes a part that was judged. Each leaves alone what is done.
    """

    @property
    def library(self) -> Library:
        """Where it is written."""
        ...

    @property
    def parts(self) -> int:
        """How many there are."""
        ...

    def scan(self, part: int) -> Did:
        """Look at a part."""
        ...

    def judges(self) -> Callable[[int], Mapping[int, str]]:
        """What says which items of a part repeat earlier ones, asked part after part."""
        ...

    def make(self, part: int, repeated: Mapping[int, str]) -> Did:
        """Write a part."""
        ...


Tell = Callable[[int, Did], None]


def run(job: Job, *, workers: int = 1, tell: Tell | None = None) -> Clock:
    """Do every part that is not done; ``tell`` gets each part made. Times of all workers."""
    with crew(workers) as hands:
        return work(job, hands, tell)


def work(job: Job, hands: Crew, tell: Tell | None = None) -> Clock:
    """``run`` by workers that are there already."""
    clock = Clock()
    for part, did in _made(job, hands, clock):
        clock.add(did.clock)
        if tell is not None:
            tell(part, did)
    return clock


def check_workers(workers: int) -> None:
    """UserError for a number of workers that can be no such."""
    if workers < 1:
        raise UserError(f"workers {workers}: one or more")


def undone(library: Library, parts: int) -> list[int]:
    """Numbers of the parts without a table in the ledger."""
    return [part for part in range(parts) if not library.ledger(part).exists()]


def _made(job: Job, hands: Crew, clock: Clock) -> Iterator[tuple[int, Did]]:
    """Each part that was made, as it is; scans run ahead, judging goes in order."""
    todo = set(undone(job.library, job.parts))
    judge = job.judges()
    scans: dict[int, Future[Did]] = {}
    makes: dict[Future[Did], int] = {}
    asked = 0
    last = max(todo, default=-1)
    for part in range(last + 1):
        while asked <= last and asked < part + hands.size * AHEAD:
            scans[asked] = hands.submit(job.scan, asked)
            asked += 1
        clock.add(hands.result(scans.pop(part)).clock)
        with clock.step("duplicates"):
            repeated = judge(part)
        if part in todo:
            makes[hands.submit(job.make, part, repeated)] = part
        while makes and (
            part == last or len(makes) > hands.size or any(one.done() for one in makes)
        ):
            done, _ = wait(makes, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=makes.__getitem__):
                yield makes.pop(future), hands.result(future)


class Crew:
    """Workers, or none: then work is done where it is submitted."""

    def __init__(self, pool: ProcessPoolExecutor | None, size: int) -> None:
        self._pool, self.size = pool, size

    def submit(self, work: Callable[..., Did], *args: Any) -> Future[Did]:
        """Have a worker do it; without workers it is done before this returns."""
        if self._pool is not None:
            try:
                return self._pool.submit(work, *args)
            except BrokenProcessPool:
                raise _died() from None
        future: Future[Did] = Future()
        future.set_result(work(*args))
        return future

    def result(self, future: Future[Did]) -> Did:
        """What came of it, waited for; UserError where its worker is gone."""
        try:
            return future.result()
        except BrokenProcessPool:
            raise _died() from None


def _died() -> UserError:
    return UserError(
        "a worker was killed, for want of memory most likely; run the same command again with fewer"
        " --workers: it goes on from here"
    )


@contextmanager
def crew(workers: int) -> Iterator[Crew]:
    """So many workers, beginning at once: they import what they need while the caller goes on."""
    check_workers(workers)
    if workers == 1:
        yield Crew(None, 1)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare)
    try:
        for _ in range(workers):
            pool.submit(_import)
        yield Crew(pool, workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _import() -> None:

    import tetrapose.triplets.build  # noqa: F401


def _prepare() -> None:
    """A worker begins: alone on its core, and gone when the one that called it is."""
    import cv2

    cv2.setNumThreads(1)
    parent = parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
