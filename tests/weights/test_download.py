"""A file is fetched whole and checked, or is not there; what has come is not fetched twice."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import checkpoints as made
import numpy as np
import pytest
from servers import serving

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.weights import card as cards
from tetrapose.weights import download as downloads
from tetrapose.weights import zoo
from tetrapose.weights.download import download
from tetrapose.weights.files import fetched_folder, locate

DATA = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
SUM = hashlib.sha256(DATA).hexdigest()


class Sender:
    """Sends ``data``; ``cut`` bytes at most before it hangs up, once or ``always``."""

    def __init__(self, data: bytes = DATA, *, ranges: bool = True, etag: str = '"one"') -> None:
        self.data, self.ranges, self.etag = data, ranges, etag
        self.cut: int | None = None
        self.always = False
        self.status: int | None = None
        self.pause = 0.0

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        if self.status is not None:
            request.send_error(self.status)
            return
        first, whole = 0, len(self.data)
        wanted = request.headers.get("Range") if self.ranges else None
        condition = request.headers.get("If-Range")
        if wanted and condition in (None, self.etag):
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
        if first >= whole:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{whole}")
            request.end_headers()
            return
        request.send_response(206 if first else 200)
        if first:
            request.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
        request.send_header("Content-Length", str(whole - first))
        request.send_header("ETag", self.etag)
        request.end_headers()
        body = self.data[first:]
        if self.cut is not None:
            body = body[: self.cut]
            if not self.always:
                self.cut = None
        try:
            for start in range(0, len(body), 100_000):
                request.wfile.write(body[start : start + 100_000])
                time.sleep(self.pause)
        except OSError:
            pass  # whoever asked has gone
        request.close_connection = True


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
def server(sender: Sender) -> Iterator[tuple[str, list[Any]]]:
    with serving(sender) as (address, seen):
        yield f"{address}/w.pth", seen


def leftovers(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir()) if folder.exists() else []


def refused(address: str, target: Path, *words: str, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        download(address, target, **more)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line
    return line


def test_a_file_comes_whole_and_is_told_of(server, tmp_path):
    told = []
    target = tmp_path / "new" / "w.pth"
    found = download(server[0], target, sha256=SUM, progress=lambda *now: told.append(now))
    assert found == SUM
    assert target.read_bytes() == DATA
    assert leftovers(target.parent) == ["w.pth"]
    assert told[-1] == (len(DATA), len(DATA))
    assert download(server[0], target, sha256=SUM) == SUM  # what is there is only checked
    assert len(server[1]) == 1


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("checked", [True, False])
def test_a_broken_connection_is_gone_on_with(ranges, checked, tmp_path):
    sender = Sender(ranges=ranges)
    sender.cut = 1_500_000
    with serving(sender) as (address, seen):
        found = download(f"{address}/w", tmp_path / "w", sha256=SUM if checked else None)
    assert found == SUM
    assert (tmp_path / "w").read_bytes() == DATA
    assert seen[1].headers["Range"] == "bytes=1500000-"
    assert seen[1].headers["If-Range"] == '"one"'


def test_what_breaks_off_for_good_is_kept_for_the_next_time(sender, server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.time, "sleep", lambda seconds: None)
    sender.cut, sender.always = 500_000, True
    refused(server[0], tmp_path / "w", "broke off after 1500000 bytes", "goes on", sha256=SUM)
    assert not (tmp_path / "w").exists()
    sender.cut = None
    assert download(server[0], tmp_path / "w", sha256=SUM) == SUM
    assert server[1][-1].headers["Range"] == "bytes=1500000-"


def test_a_killed_download_is_gone_on_with(sender, server, tmp_path):
    sender.pause = 0.05
    target = tmp_path / "w"
    part = tmp_path / ".w.part"
    code = (
        "import sys; from pathlib import Path\n"
        "from tetrapose.weights import download as d\n"
        "d.BLOCK = 100_000\n"
        "d.download(sys.argv[1], Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, server[0], str(target)])
    until = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= 300_000) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    have = part.stat().st_size
    assert 0 < have < len(DATA)
    sender.pause = 0.0
    assert download(server[0], target) == SUM
    assert server[1][-1].headers["Range"] == f"bytes={have}-"


def test_a_file_that_became_another_is_fetched_anew(sender, server, tmp_path):
    (tmp_path / ".w.part").write_bytes(b"x" * 1000)
    (tmp_path / ".w.tag").write_text('"older"')
    assert download(server[0], tmp_path / "w") == SUM


def test_halves_that_nothing_tells_apart_are_not_joined(sender, server, tmp_path):
    (tmp_path / ".w.part").write_bytes(b"x" * 1000)
    assert download(server[0], tmp_path / "w") == SUM
    assert "Range" not in server[1][-1].headers


def test_all_the_bytes_and_no_name_yet(server, tmp_path):
    (tmp_path / ".w.part").write_bytes(DATA)
    assert download(server[0], tmp_path / "w", sha256=SUM) == SUM


def test_too_many_bytes_are_thrown_away(server, tmp_path):
    (tmp_path / ".w.part").write_bytes(DATA + b"more")
    assert download(server[0], tmp_path / "w", sha256=SUM) == SUM


@pytest.mark.parametrize("how", [{"sha256": "0" * 64}, {"start": "00000000"}])
def test_another_file_is_deleted(how, server, tmp_path):
    refused(server[0], tmp_path / "w", "not the file that was published", SUM[:8], **how)
    assert leftovers(tmp_path) == []


def test_the_first_digits_are_a_check_too(server, tmp_path):
    assert download(server[0], tmp_path / "w", start=SUM[:8]) == SUM


def test_a_file_put_there_by_hand_is_checked_and_left(server, tmp_path):
    (tmp_path / "w").write_bytes(b"another")
    refused(server[0], tmp_path / "w", "not the file of", sha256=SUM)
    assert (tmp_path / "w").exists()
    assert server[1] == []


def test_an_answer_that_is_no_file(sender, server, tmp_path):
    sender.status = 404
    refused(server[0], tmp_path / "w", "404", f"put it at {tmp_path / 'w'}")
    sender.status = 503
    refused(server[0], tmp_path / "w", "503")
    assert leftovers(tmp_path) == []


def test_offline_the_address_and_the_place_are_told(tmp_path):
    with serving(Sender()) as (address, _):
        pass  # nobody listens there any more
    refused(f"{address}/w", tmp_path / "w", address, "cannot be reached", str(tmp_path / "w"))
    refused("file:///etc/passwd", tmp_path / "w", "only http and https")


def test_no_room_is_told_before_and_while(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    refused(server[0], tmp_path / "w", "no room for w", "1000 are free", sha256=SUM)
    monkeypatch.undo()

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: Any) -> None:
            self.file.close()

        def write(self, block: bytes) -> None:
            if self.file.tell() > 1_000_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.file.write(block)

    real = Path.open

    def full(self: Path, mode: str = "r", **more: Any) -> Any:
        file = real(self, mode, **more)
        return Full(file) if self.suffix == ".part" and "r" not in mode else file

    monkeypatch.setattr(Path, "open", full)
    line = refused(server[0], tmp_path / "w", "no room", "goes on from there", sha256=SUM)
    monkeypatch.undo()
    kept = (tmp_path / ".w.part").stat().st_size
    assert 0 < kept < len(DATA)
    assert f"{kept} bytes are kept" in line
    assert download(server[0], tmp_path / "w", sha256=SUM) == SUM
    assert server[1][-1].headers["Range"] == f"bytes={kept}-"


# The zoo


def test_every_entry_is_whole():
    known = skeletons.available()
    for name, one in zoo.entries().items():
        assert name.isidentifier()
        assert name == name.lower()
        assert one.kind in cards_kinds()
        assert one.address.startswith("https://")
        assert one.skeleton in known or one.skeleton is None
        assert one.sha256 is None or len(one.sha256) == 64
        assert one.sha256_start is None or one.sha256_start in one.address
        assert one.licence
        assert one.score
        assert one.source
        # MMPose's and torchvision's file names carry the digits; they are never left unused
        if "openmmlab" in one.address or "pytorch.org" in one.address:
            assert one.sha256_start
        assert (one.skeleton is None) == (one.kind == "torchvision" or "backbone" in one.options)


def cards_kinds() -> set[str]:
    from tetrapose.weights.importers import KINDS

    return set(KINDS)


@pytest.fixture
def small_zoo(tmp_path, monkeypatch) -> Iterator[tuple[Sender, Any]]:
    """A zoo of one file, an HRNet of MMPose's, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = made.save(tmp_path / "w.pth", made.as_mmpose(made.state(made.small_hrnet(width=2))))
    sender = Sender(path.read_bytes())
    with serving(sender) as (address, _):
        one = zoo.Entry(
            name="little", kind="mmpose", address=f"{address}/folder/w%2D1.pth?x=1",
            sha256=hashlib.sha256(sender.data).hexdigest(), sha256_start=None, skeleton="ap10k",
            input=(64, 96), licence="MIT", score="AP 0.5, somewhere", source="a test",
        )  # fmt: skip
        monkeypatch.setattr(zoo, "entries", lambda: {"little": one})
        yield sender, one


def test_fetched_weights_are_a_model_by_name(small_zoo, tmp_path):
    done = zoo.fetch("little")
    assert done.path == locate("little") == fetched_folder() / "little.safetensors"
    assert fetched_folder() == tmp_path / "cache" / "tetrapose" / "weights"
    card = cards.load("little").card
    assert card["codec"]["input_size"] == [64, 96]
    assert card["training"]["licence"] == "MIT"
    assert card["training"]["checked"] == "sha256"
    assert card["scores"] == {"published": "AP 0.5, somewhere"}
    assert small_zoo[1].file.name == "w-1.pth"
    small_zoo[0].status = 500  # nothing is fetched twice
    zoo.fetch("little")


def test_a_file_without_a_published_sum_wants_trust(small_zoo, monkeypatch):
    from dataclasses import replace

    one = replace(small_zoo[1], sha256=None)
    monkeypatch.setattr(zoo, "entries", lambda: {"little": one})
    with pytest.raises(UserError, match="--trust"):
        zoo.fetch("little")
    assert zoo.fetch("little", trust=True).card["training"]["checked"] == "no published sum"


def test_an_unknown_name_is_answered_with_the_nearest(small_zoo):
    with pytest.raises(UserError, match="did you mean little"):
        zoo.entry("litle")


def test_offline_a_file_put_by_hand_is_taken(small_zoo):
    sender, one = small_zoo
    sender.status = 404
    with pytest.raises(UserError, match="put it at") as caught:
        zoo.fetch("little")
    assert str(one.file) in str(caught.value)
    one.file.write_bytes(sender.data)
    assert zoo.fetch("little").path.is_file()
