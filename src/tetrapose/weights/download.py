"""Fetching one file: resumed where it stopped, checked, and then seen whole or not at all.

What has come so far lies beside the target as .NAME.part, with the sender's tag in .NAME.tag; only
a file that passed its check is moved to its name.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tetrapose import __version__
from tetrapose.weights.files import WeightsError

Progress = Callable[[int, int | None], None]
BLOCK = 1 << 20
TRIES = 3  # connections in a row that may break before it is given up
PATIENCE = 30.0  # seconds without a byte


def download(
    address: str,
    target: Path,
    *,
    sha256: str | None = None,
    start: str | None = None,
    progress: Progress | None = None,
) -> str:
    """Have ``target`` hold the file at an http(s) address; gives its sha256 in hex.

    ``sha256`` is what it must be, ``start`` what it must begin with; with neither, whatever comes
    is taken. A target that exists is only checked. ``progress`` gets bytes so far and in all.
    Raises WeightsError, and then the target is not there.
    """
    if urlsplit(address).scheme not in ("http", "https"):
        raise WeightsError(f"{address}: only http and https addresses are fetched")
    if target.is_file():
        return _checked(target, address, sha256, start, target)
    part = target.with_name(f".{target.name}.part")
    tag = target.with_name(f".{target.name}.tag")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{target.parent}: cannot be made ({error.strerror})") from None
    for attempt in range(TRIES):
        try:
            # without a sum nothing would tell that two halves are not of one file
            if not (sha256 or start or _tag(tag)):
                _forget(part, tag)
            _receive(address, part, tag, progress)
            break
        except _Broken as error:
            if attempt + 1 == TRIES:
                raise WeightsError(
                    f"{address}: broke off after {_size(part)} bytes ({error}); the same command"
                    " goes on from there"
                ) from None
            time.sleep(0.2 * 2**attempt)
        except (urllib.error.URLError, OSError) as error:
            raise WeightsError(_told(error, address, target, part)) from None
    digest = _checked(part, address, sha256, start, target)
    os.replace(part, target)
    tag.unlink(missing_ok=True)
    return digest


class _Broken(Exception):
    """The connection ended before the file did."""


def _receive(address: str, part: Path, tag: Path, progress: Progress | None) -> None:
    """Append what is missing to ``part``; start again where the sender cannot go on."""
    have = _size(part)
    known = _tag(tag)
    headers = {"User-Agent": f"tetrapose/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known:
            headers["If-Range"] = known
    try:
        request = urllib.request.Request(address, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            goes_on = reply.status == 206 and _begins_at(reply, have)
            if reply.status == 206 and not goes_on:
                _forget(part, tag)
                raise _Broken("the sender went on at another place")
            told = reply.headers.get("ETag") or ""
            tag.write_text("" if told.startswith("W/") else told, encoding="utf-8")
            _append(reply, part, have if goes_on else 0, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not have:  # 416: nothing lies beyond what is there already
            raise
        if f"/{have}" != "/" + (error.headers.get("Content-Range") or "").rpartition("/")[2]:
            _forget(part, tag)
            raise _Broken("the file has become another") from None
    except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise _Broken(str(error) or type(error).__name__) from None


def _append(reply: Any, part: Path, have: int, progress: Progress | None) -> None:
    length = reply.headers.get("Content-Length")
    whole = have + int(length) if length and length.isdigit() else None
    room = shutil.disk_usage(part.parent).free
    if whole is not None and whole - have > room:
        raise OSError(errno.ENOSPC, f"{whole - have} bytes are wanted and {room} are free")
    with part.open("ab" if have else "wb") as file:
        while block := reply.read(BLOCK):
            file.write(block)
            have += len(block)
            if progress is not None:
                progress(have, whole)
    if whole is not None and have < whole:
        raise _Broken(f"{whole} bytes were promised")


def _begins_at(reply: Any, place: int) -> bool:
    stated = (reply.headers.get("Content-Range") or "").removeprefix("bytes ")
    return stated.split("-")[0].strip() == str(place)


def _checked(path: Path, address: str, sha256: str | None, start: str | None, target: Path) -> str:
    """The file's sha256, if it is the one that was published; else the file is deleted."""
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                hasher.update(block)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    found = hasher.hexdigest()
    wanted = sha256 or start or ""
    if found.startswith(wanted):
        return found
    told = f"sha256 begins with {found[: len(wanted)][:16]}, and {wanted[:16]} is published"
    if path == target:  # put there by hand perhaps: it is not ours to delete
        raise WeightsError(f"{path}: not the file of {address} ({told}); delete it and fetch again")
    _forget(path, path.with_name(path.name.removesuffix(".part") + ".tag"))
    raise WeightsError(f"{address}: not the file that was published ({told}); it was deleted")


def _told(error: OSError, address: str, target: Path, part: Path) -> str:
    """One line: what went wrong and what to do."""
    if isinstance(error, urllib.error.HTTPError):
        return (
            f"{address}: the server answers {error.code} ({error.reason}); if you have the file,"
            f" put it at {target}"
        )
    if isinstance(error, urllib.error.URLError):
        reason = getattr(error.reason, "strerror", None) or error.reason
        return (
            f"{address}: cannot be reached ({reason}); fetch it elsewhere, put it at {target}, and"
            " run the same command"
        )
    if error.errno == errno.ENOSPC:
        return (
            f"{part.parent}: no room for {target.name} ({error.strerror}); {_size(part)} bytes are"
            " kept, and the same command goes on from there"
        )
    return f"{part}: cannot be written ({error.strerror or error})"


def _forget(part: Path, tag: Path) -> None:
    part.unlink(missing_ok=True)
    tag.unlink(missing_ok=True)


def _tag(tag: Path) -> str:
    return tag.read_text(encoding="utf-8") if tag.is_file() else ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
