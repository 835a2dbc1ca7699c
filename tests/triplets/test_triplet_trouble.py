"""Bad input and bad places: told in plain words, with nothing corrupted."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from dataclasses import replace

import piles
import pytest

from tetrapose.errors import UserError
from tetrapose.triplets import ledger, plan, shards
from tetrapose.triplets.build import build
from tetrapose.triplets.library import Library
from tetrapose.triplets.rows import Triplet
from tetrapose.triplets.settings import Settings


@pytest.fixture
def spec(tmp_path):
    return piles.labelled(tmp_path / "set", 6)


def reasons(root):
    return {row.key: row.reason for row in ledger.read_all(Library(root))}


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(tmp_path, spec, monkeypatch):
    build([spec], tmp_path / "whole", piles.SMALL)
    add, calls = shards.ShardWriter.add, []

    def full(self, triplet):
        calls.append(1)
        if len(calls) > 5:  # in the second part
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(self, triplet)

    monkeypatch.setattr(shards.ShardWriter, "add", full)
    with pytest.raises(UserError, match="000001.tar: the disk is full; free some and run the same"):
        build([spec], tmp_path / "lib", piles.SMALL)
    assert Library(tmp_path / "lib").parts_written() == [0]
    assert not list((tmp_path / "lib").rglob("*.part"))
    monkeypatch.undo()
    assert build([spec], tmp_path / "lib", piles.SMALL).done == 1
    assert piles.digests(tmp_path / "lib") == piles.digests(tmp_path / "whole")


@pytest.mark.parametrize(
    "code, words", [(errno.EROFS, "may not be written"), (errno.EACCES, "may not be written")]
)
def test_a_folder_that_may_not_be_written_is_told(tmp_path, spec, monkeypatch, code, words):
    replace_ = os.replace

    def refuse(source, target):
        if "library.json" in str(target):
            raise OSError(code, os.strerror(code), str(target))
        replace_(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(UserError, match=f"library.json: {words}; choose another --out"):
        build([spec], tmp_path / "lib", piles.SMALL)
    assert not list((tmp_path / "lib").glob("shards/*"))


def test_out_below_a_file_is_told(tmp_path, spec):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        build([spec], tmp_path / "file" / "lib", piles.SMALL)


def test_a_folder_with_other_things_is_refused_and_stays_as_it_is(tmp_path, spec):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("x")
    with pytest.raises(UserError, match=r"mine: holds other files \(thesis.doc\); name a new"):
        build([spec], tmp_path / "mine", piles.SMALL)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"least_share": 0.5}, "settings.least_share: 0.3 there, 0.5 here"),
        ({"captions": {"dropout": 0.1}}, "settings.captions.dropout: 0.0 there, 0.1 here"),
        ({"style": "openpose"}, "settings.style"),
    ],
)
def test_a_library_of_another_run_is_refused_by_what_differs(tmp_path, spec, change, told):
    build([spec], tmp_path / "lib", piles.SMALL)
    before = piles.digests(tmp_path / "lib")
    with pytest.raises(UserError, match=f"the library of another run .*{told}"):
        build([spec], tmp_path / "lib", replace(piles.SMALL, **change))
    assert piles.digests(tmp_path / "lib") == before


ODD = (
    'Кошка \U0001f408 «naïve» 猫 "Hund"\n\t<b>&amp;</b>\x00\x07\\',
    "\ud800 lone \u202e turned, \u0301 and bare",
    "",
)


def test_odd_names_and_texts_are_opened_kept_and_told(tmp_path):
    folder = piles.photos(tmp_path / "photos", 3)
    for i, text in enumerate(ODD):
        (folder / f"{i:03d}.txt").write_bytes(text.encode("utf-8", "surrogatepass"))
    odd = "\udcff\udce9 größe\n"  # bytes that are no UTF-8, and a line's end
    for suffix in ("png", "txt"):
        os.rename(folder / f"000.{suffix}", folder / f"{odd}.{suffix}")
    build([str(folder)], tmp_path / "lib", piles.SMALL, keep_work=True)
    rows = list(ledger.read_all(Library(tmp_path / "lib")))
    assert {row.reason for row in rows} == {"not_labelled"}  # so the odd name was opened
    assert [row.key for row in rows] == ["001.png", "002.png", "?? größe\n.png"]
    items = plan.read(Library(tmp_path / "lib"), 0)
    assert items[2].path == str(folder / f"{odd}.png")
    assert items[2].text == ODD[0]


@pytest.mark.parametrize("text", ODD)
def test_odd_captions_come_through_a_shard(tmp_path, text):
    plain = ledger.clean(text)
    one = Triplet("abc", b"1", b"2", b"3", text, {"a": [None, 1.5]}, {"text": text})
    shards.write(tmp_path / "a.tar", [one])
    (back,) = shards.read(tmp_path / "a.tar")
    assert back.caption == plain
    assert back.points == one.points
    assert ledger.clean(back.provenance["text"]) == plain


def bomb(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_picture_bombs_are_dropped_by_their_header(tmp_path, monkeypatch):
    folder = piles.photos(tmp_path / "photos", 2)
    (folder / "bomb.png").write_bytes(bomb(20_000, 20_000))
    (folder / "big.png").write_bytes(bomb(12_000, 9_000))
    (folder / "liar.png").write_bytes(bomb(800, 800))
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    build([str(folder)], tmp_path / "lib", piles.SMALL)
    found = reasons(tmp_path / "lib")
    assert found.pop("bomb.png") == "too_large"
    assert found.pop("big.png") == "too_large"
    assert found.pop("liar.png").startswith("unreadable:")
    assert found.pop("empty.png").startswith("unreadable:the file is empty")
    assert found.pop("text.jpg").startswith("unreadable:not a picture")
    assert set(found.values()) == {"not_labelled"}


def test_nothing_to_list_is_told_before_anything_is_made(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none: holds no pictures"):
        build([f"folder:{tmp_path / 'none'}"], tmp_path / "a", piles.SMALL)
    table = pa.table({"url": pa.array([], pa.string()), "caption": pa.array([], pa.string())})
    pq.write_table(table, tmp_path / "list.parquet")
    with pytest.raises(
        UserError, match=r"no pictures in list:list\.parquet: the sources are empty"
    ):
        build([str(tmp_path / "list.parquet")], tmp_path / "a", piles.SMALL)
    piles.photos(tmp_path / "some", 1)  # the folder that was begun can be used after all
    build([f"folder:{tmp_path / 'none'}", str(tmp_path / "some")], tmp_path / "a", piles.SMALL)
    assert len(reasons(tmp_path / "a")) == 1


def test_a_picture_that_vanished_since_it_was_listed_is_in_the_ledger(tmp_path, spec, monkeypatch):
    write = plan.write

    def and_then(*given):
        out = write(*given)
        (tmp_path / "set" / "images" / "p003.jpg").unlink()
        return out

    monkeypatch.setattr(plan, "write", and_then)
    build([spec], tmp_path / "lib", piles.SMALL)
    assert reasons(tmp_path / "lib")["images/p003.jpg"] == "unreadable:no such file"


@pytest.mark.parametrize(
    "given, told",
    [
        ({"size": 100}, "size 100: a multiple of 8"),
        ({"size": 72, "buckets": True}, "with buckets, a multiple of 64"),
        ({"least_share": 1.2}, "least share 1.2: it lies in 0..1"),
        ({"part": 0}, "part 0: it lies in 1"),
        ({"quality": 101}, "quality 101"),
    ],
)
def test_settings_out_of_range_are_told(given, told):
    with pytest.raises(UserError, match=told):
        Settings(**given)


@pytest.mark.parametrize(
    "spec, told",
    [
        ("nowhere", "nowhere: no such file or folder, nor NAME:WHERE"),
        ("folder:nowhere", "nowhere: no such file or folder"),
        ("animal_poze:x", "no data format 'animal_poze'"),
        ("hf:.,col=x", "hf: no option 'col'; there is image, text, licence, species"),
    ],
)
def test_sources_that_there_are_not_are_told(tmp_path, spec, told):
    with pytest.raises(UserError, match=told):
        build([spec], tmp_path / "lib", piles.SMALL)
    assert not (tmp_path / "lib").exists()


def test_a_worker_that_dies_is_told_and_the_run_goes_on(tmp_path, spec, monkeypatch):
    from tetrapose.triplets import running

    monkeypatch.setattr(running, "_prepare", os.abort)
    with pytest.raises(UserError, match="a worker was killed.*run the same command again"):
        build([spec], tmp_path / "lib", piles.SMALL, workers=2)
    monkeypatch.undo()
    assert build([spec], tmp_path / "lib", piles.SMALL).about["counts"]["kept"] == 6
