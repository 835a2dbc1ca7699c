"""A library's folder: where its files lie, how they are written, and whose run it is."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tetrapose.errors import UserError

FORMAT = 1  # of the folder; goes up when another program could not go on with it
ABOUT = "library.json"
PART = ".part"  # ends the name of a file that is being written


@dataclass(frozen=True)
class Library:
    """The paths of a library; nothing is opened or made by naming it."""

    root: Path

    @property
    def about(self) -> Path:
        """Settings, sources, versions and, at the end, counts."""
        return self.root / ABOUT

    @property
    def work(self) -> Path:
        """What a run needs and a finished library does not."""
        return self.root / "work"

    def shard(self, part: int) -> Path:
        """The triplets of a part; no file where none was kept."""
        return self.root / "shards" / f"{part:06d}.tar"

    def ledger(self, part: int) -> Path:
        """What became of each item of a part; there when the part is finished."""
        return self.root / "ledger" / f"{part:06d}.parquet"

    def plan(self, part: int) -> Path:
        """The items of a part."""
        return self.work / "plan" / f"{part:06d}.parquet"

    def scan(self, part: int) -> Path:
        """Sizes and hashes of a part's pictures."""
        return self.work / "scan" / f"{part:06d}.parquet"

    def small(self, part: int) -> Path:
        """The pictures of a part as small grey ones, to compare near-copies by."""
        return self.work / "scan" / f"{part:06d}.npy"

    def judged(self, part: int) -> Path:
        """Which items of a part repeat an earlier one."""
        return self.work / "judged" / f"{part:06d}.json"

    def fetched(self, part: int) -> Path:
        """What the addresses of a part answered, one after another."""
        return self.work / "fetched" / f"{part:06d}.pack"

    def parts_written(self) -> list[int]:
        """Numbers of the finished parts, in order."""
        return sorted(int(p.stem) for p in (self.root / "ledger").glob("[0-9]*.parquet"))

    def shards(self) -> list[Path]:
        """The shards there are, in order."""
        return sorted((self.root / "shards").glob("[0-9]*.tar"))

    def read_about(self) -> dict[str, Any]:
        """What ``library.json`` says; UserError where the folder is no library."""
        try:
            content = json.loads(self.about.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{self.root}: no library of triplets ({ABOUT} is missing)") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{self.about}: cannot be read ({error}); is it complete?") from None
        if not isinstance(content, dict) or "triplet_library" not in content:
            raise UserError(f"{self.about}: does not describe a library of triplets")
        if content["triplet_library"] != FORMAT:
            raise UserError(
                f"{self.root}: written in form {content['triplet_library']} of libraries, this"
                f" version reads {FORMAT}; export it with the version that wrote it"
            )
        return content

    @property
    def finished(self) -> bool:
        """Whether every part is there."""
        return self.about.exists() and bool(self.read_about().get("finished"))


def claim(library: Library, identity: dict[str, Any]) -> dict[str, Any]:
    """Begin a library, or go on with the one of the very same run; what ``library.json`` says.

    ``identity`` holds plain values on which the bytes of the shards depend. A UserError names what
    differs where the folder belongs to another run.
    """
    identity = json.loads(json.dumps(identity))
    if library.about.exists():
        there = library.read_about()
        odd = differences(there.get("identity", {}), identity)
        if odd:
            raise UserError(
                f"{library.root}: holds the library of another run ({'; '.join(odd[:4])});"
                " choose another --out, or give the same settings to go on with it"
            )
        return there
    about = {"triplet_library": FORMAT, "finished": False, "identity": identity}
    write_json(library.about, about)
    return about


def differences(one: Any, other: Any, name: str = "") -> list[str]:
    """What differs between two nests of plain values, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [
            text
            for key in keys
            for text in differences(one.get(key), other.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if one == other else [f"{name}: {_shown(one)} there, {_shown(other)} here"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


@contextmanager
def locked(library: Library) -> Iterator[None]:
    """Alone in a library while it is written; what a killed run left half is cleared first.

    A UserError refuses a folder that holds other things, and one that another run is writing.
    """
    root = library.root
    with told(root):
        others = sorted(p.name for p in root.iterdir() if p.name[0] != ".") if root.exists() else []
        if others and not library.about.exists():
            raise UserError(
                f"{root}: holds other files ({', '.join(others[:3])}); name a new folder"
            )
        root.mkdir(parents=True, exist_ok=True)
        file = open(root / ".lock", "w", encoding="utf-8")  # noqa: SIM115 held while it is written
    with file:
        if not _held(file):
            raise UserError(f"{root}: another run is writing it; wait for it")
        with told(root):
            for left in root.rglob(f".*{PART}"):
                left.unlink(missing_ok=True)
        yield


def _held(file: IO[str]) -> bool:
    """Whether this process now holds a lock on a file; where there are none, it is taken to."""
    try:
        import fcntl
    except ImportError:  # Windows: two runs on one library are the user's to avoid
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def told(where: Path) -> Iterator[None]:
    """Troubles of writing become one line that says what to do."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        place = error.filename or where
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = "the disk is full; free some and run the same command again, it goes on from here"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            why = "may not be written; choose another --out, or mend its permissions"
        else:
            why = f"cannot be written ({error.strerror or error})"
        raise UserError(f"{place}: {why}") from None


def write_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write a file beside ``path``, then move it there whole; UserError if it fails.

    After the move the file is on the disk, not in a buffer: what is there is complete.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fill(part)
            with open(part, "rb") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Plain values as a file, whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> Any:
    """Plain values of a file that a run wrote; UserError where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it and run again") from None


def finish(library: Library, about: dict[str, Any], *, keep_work: bool = False) -> None:
    """Write the closing ``library.json``, then clear what only the run needed."""
    write_json(library.about, {**about, "finished": True})
    if not keep_work:
        shutil.rmtree(library.work, ignore_errors=True)
