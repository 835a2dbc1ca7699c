"""The parts of a library made on Ray Data: a cluster's machines, or one machine's cores.

The same steps as ``running.run``, in its place: parts are looked at in any order and anywhere,
repeats are judged in order by the one that began, then parts are made anywhere. A part is a shard
and is written once, whole; one that is written is not asked for again, so that a run that lost its
machines goes on. All machines see the library's folder and the sources under the same path.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tetrapose.errors import UserError
from tetrapose.triplets.running import Did, Job, Tell, undone
from tetrapose.triplets.timing import Clock

WAVE = 4  # parts a worker that are asked for together


def on_ray(
    job: Job,
    *,
    workers: int = 1,
    tell: Tell | None = None,
    address: str | None = None,
    gpus: float = 0.0,
) -> Clock:
    """Do every part that is not done, by ``workers`` actors; times of all of them.

    ``address`` joins a cluster ("auto" for the one that this machine belongs to), else the machine
    at hand is used. ``gpus`` is each worker's share of one. Raises UserError where Ray is missing.
    """
    if workers < 1:
        raise UserError(f"workers {workers}: one or more")
    clock = Clock()
    todo = undone(job.library, job.parts)
    if not todo:
        return clock
    with _joined(address, workers):
        for row in _mapped(job, "scan", range(max(todo) + 1), {}, workers, gpus):
            clock.add(_did(row).clock)
        judged = _judged(job, todo, clock)
        for start in range(0, len(todo), WAVE * workers):
            some = todo[start : start + WAVE * workers]
            for row in _mapped(job, "make", some, judged, workers, gpus):
                did = _did(row)
                clock.add(did.clock)
                if tell is not None:
                    tell(int(row["part"]), did)
    return clock


@contextmanager
def _joined(address: str | None, workers: int) -> Iterator[None]:
    """Ray, quietly; what was not running before is ended after."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise UserError("many machines want Ray: pip install 'tetrapose[cluster]'") from None
    began = not ray.is_initialized()
    if began:
        more: dict[str, Any] = {"address": address} if address else {"num_cpus": workers}
        ray.init(**more, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    try:
        yield
    finally:
        context.enable_progress_bars = before
        if began:
            ray.shutdown()


def _judged(job: Job, todo: Sequence[int], clock: Clock) -> dict[int, Mapping[int, str]]:
    """Which items of each part repeat earlier ones, over all parts in order."""
    judge, wanted = job.judges(), set(todo)
    judged = {}
    for part in range(max(todo) + 1):
        with clock.step("duplicates"):
            repeated = judge(part)
        if part in wanted:
            judged[part] = repeated
    return judged


class Worker:
    """One actor: does a verb on the parts of its batch; networks stay open between batches."""

    def __init__(self, job: Job, verb: str) -> None:
        import cv2

        cv2.setNumThreads(1)
        self._job, self._verb = job, verb

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A row for each part of the batch: what it came to, or the user's error in words."""
        rows = []
        for part, repeated in zip(batch["part"], batch["repeated"], strict=True):
            try:
                if self._verb == "scan":
                    did = self._job.scan(int(part))
                else:
                    known = {int(place): why for place, why in json.loads(str(repeated)).items()}
                    did = self._job.make(int(part), known)
                rows.append(_plain(did))
            except UserError as error:
                rows.append({"error": str(error)})
        return {"part": list(batch["part"]), "did": [json.dumps(row) for row in rows]}


def _mapped(
    job: Job,
    verb: str,
    parts: Sequence[int],
    judged: Mapping[int, Mapping[int, str]],
    workers: int,
    gpus: float,
) -> Iterator[dict[str, Any]]:
    """Rows of the parts as they come; a user's error of any of them is raised."""
    import ray.data

    rows = [
        {"part": part, "repeated": json.dumps({str(k): v for k, v in judged.get(part, {}).items()})}
        for part in parts
    ]
    made = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Worker,  # pyright: ignore[reportArgumentType]  # its stub asks for narrower types
        fn_constructor_args=(job, verb),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    for row in made.iter_rows():
        told = json.loads(row["did"])
        if "error" in told:
            raise UserError(told["error"])
        yield {"part": row["part"], "did": told}


def _plain(did: Did) -> dict[str, Any]:
    clock = {"seconds": did.clock.seconds, "pictures": dict(did.clock.pictures)}
    return {"triplets": did.triplets, "items": did.items, **clock}


def _did(row: Mapping[str, Any]) -> Did:
    told = row["did"]
    clock = Clock()
    for name, seconds in told["seconds"].items():
        clock.note(name, seconds, told["pictures"].get(name, 0))
    return Did(told["triplets"], told["items"], clock)
