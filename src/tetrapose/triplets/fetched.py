"""What addresses answered, kept on the disk as it comes: a pack of pictures and its journal.

The pack holds picture files one after another (``images.member`` names one); each line of the
journal is an address that was asked, written after its bytes. A run that was killed, at whatever
moment, goes on with the addresses that have no line yet.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from tetrapose.errors import UserError
from tetrapose.triplets.download import Fetched, Manners, fetch_all

PASSING = ("timeout", "connection", "truncated", "http_status:429", "http_status:5")
"""Beginnings of reasons that may be gone another day."""


@dataclass(frozen=True)
class Answer:
    """One address that was asked: its place in the list, and its picture's place in the pack.

    ``reason`` is one of ``rows.REASONS`` with a detail, "" where there is a picture.
    """

    place: int
    url: str
    reason: str = ""
    status: int = 0
    final: str = ""
    start: int = 0
    length: int = 0
    sha256: str = ""
    tries: int = 0
    seconds: float = 0.0


def journal_of(pack: Path) -> Path:
    """The journal that goes with a pack."""
    return pack.with_suffix(".jsonl")


def fetch_into(
    pack: Path,
    urls: Sequence[str],
    manners: Manners | None = None,
    *,
    again: bool = False,
    told: Callable[[Answer], None] | None = None,
) -> list[Answer]:
    """Ask every address that has no answer yet, and keep what comes; one Answer each, in order.

    With ``again``, those lost for a reason that may have passed are asked anew. ``told`` hears of
    each answer as it comes. Raises UserError for a journal of another list and a disk that is full
    or may not be written.
    """
    try:
        pack.parent.mkdir(parents=True, exist_ok=True)
        had = read(pack)
        answers = {one.place: one for one in had}
        for place, one in answers.items():
            if place >= len(urls) or one.url != urls[place]:
                raise UserError(
                    f"{journal_of(pack)}: belongs to another list of addresses; remove it"
                )
        waiting = [
            place for place in range(len(urls))
            if place not in answers or (again and answers[place].reason.startswith(PASSING))
        ]  # fmt: skip
        with open(pack, "ab") as data, open(journal_of(pack), "ab") as journal:
            end = max((one.start + one.length for one in answers.values()), default=0)
            data.truncate(end)  # bytes whose line was never written
            journal.truncate(_whole(journal_of(pack)))

            def keep(number: int, got: Fetched) -> None:
                answer = _keep(data, journal, waiting[number], got)
                answers[answer.place] = answer
                if told is not None:
                    told(answer)

            fetch_all([urls[place] for place in waiting], manners, told=keep)
    except OSError as error:
        raise UserError(
            f"{error.filename or pack}: cannot be written ({error.strerror or error}); run again"
            " when it can, what has come is kept"
        ) from None
    return [answers[place] for place in range(len(urls))]


def read(pack: Path) -> list[Answer]:
    """The answers in a pack's journal, later ones of an address in the place of earlier ones."""
    journal = journal_of(pack)
    if not journal.exists():
        return []
    held = journal.read_bytes()[: _whole(journal)]
    try:
        rows = [Answer(**json.loads(line)) for line in held.splitlines()]
    except (ValueError, TypeError) as error:
        raise UserError(f"{journal}: no journal of downloads ({error}); remove it") from None
    return list({row.place: row for row in rows}.values())


def picture(pack: Path, answer: Answer) -> bytes:
    """The bytes of an answer's picture; UserError where the pack does not hold them any more."""
    with open(pack, "rb") as file:
        file.seek(answer.start)
        data = file.read(answer.length)
    if hashlib.sha256(data).hexdigest() != answer.sha256:
        raise UserError(f"{pack}: does not hold what its journal says; remove both")
    return data


def _keep(data: BinaryIO, journal: BinaryIO, place: int, got: Fetched) -> Answer:
    start = data.seek(0, os.SEEK_END)
    if got.data:
        data.write(got.data)
        data.flush()
    answer = Answer(
        place=place, url=got.url, reason=got.reason, status=got.status, final=got.final,
        start=start if got.data else 0, length=len(got.data),
        sha256=hashlib.sha256(got.data).hexdigest() if got.data else "",
        tries=got.tries, seconds=round(got.seconds, 3),
    )  # fmt: skip
    text = json.dumps(asdict(answer), ensure_ascii=True)
    journal.write(text.encode("ascii") + b"\n")
    journal.flush()
    return answer


def _whole(journal: Path) -> int:
    """Length of a journal up to its last whole line."""
    if not journal.exists():
        return 0
    return journal.read_bytes().rfind(b"\n") + 1
