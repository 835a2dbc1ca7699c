"""Libraries joined, and in other forms and back, to the byte."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace

import piles
import pyarrow.parquet as pq
import pytest

from tetrapose.errors import UserError
from tetrapose.triplets import exporting, ledger, shards
from tetrapose.triplets.build import build
from tetrapose.triplets.exporting import export
from tetrapose.triplets.library import Library
from tetrapose.triplets.merging import merge
from tetrapose.triplets.rows import Triplet


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """Two that share two pictures: numbers 0..6 and 5..9, the second's 6 saved once more."""
    root = tmp_path_factory.mktemp("two")
    first = piles.labelled(root / "a", 7)
    second = piles.labelled(root / "b", 5, start=5)
    (root / "b" / "images" / "p000.jpg").write_bytes(
        (root / "a" / "images" / "p005.jpg").read_bytes()
    )
    piles.save(root / "b" / "images" / "p001.jpg", piles.picture(6), quality=60)
    build([first], root / "one", piles.SMALL)
    build([second], root / "two", piles.SMALL)
    return root


def shard_bytes(root):
    return [path.read_bytes() for path in Library(root).shards()]


@pytest.mark.parametrize("form", ["hf", "parquet", "webdataset"])
def test_every_form_comes_back_to_the_byte(tmp_path, libraries, form):
    assert export(libraries / "one", tmp_path / "out", form) == 7
    assert export(tmp_path / "out", tmp_path / "back", "webdataset") == 7
    assert shard_bytes(tmp_path / "back") == shard_bytes(libraries / "one")
    about = Library(tmp_path / "back").read_about()
    assert about["finished"]
    assert about["counts"]["kept"] == 7
    assert "sources" not in about["identity"]
    told = json.dumps(about) + str(list(ledger.read_all(Library(tmp_path / "back"))))
    assert str(libraries) not in told  # where the pictures lay is nobody's business


def test_a_hugging_face_folder_opens_with_its_own_library(tmp_path, libraries, monkeypatch):
    datasets = pytest.importorskip("datasets")
    export(libraries / "one", tmp_path / "hub", "hf")
    found = datasets.load_dataset(
        "parquet", data_dir=str(tmp_path / "hub" / "data"), split="train",
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    assert found.num_rows == 7
    names = ["original_image", "conditioning_image", "overlaid", "caption"]
    assert found.column_names[:4] == names
    row = found[3]
    assert [row[name].size for name in names[:3]] == [(64, 64)] * 3
    first = [t for path in Library(libraries / "one").shards() for t in shards.read(path)][3]
    assert row["caption"] == first.caption
    assert json.loads(row["points"]) == first.points


def test_shards_open_with_webdataset(libraries):
    pytest.importorskip("webdataset")
    from webdataset import autodecode, tariterators

    rows = []
    for path in Library(libraries / "one").shards():
        with open(path, "rb") as file:  # WebDataset(urls) leaves its files open
            entries = ({**one, "__url__": "x"} for one in tariterators.tar_file_iterator(file))
            rows += list(tariterators.group_by_keys(entries))
    assert len(rows) == 7
    decode = autodecode.Decoder([autodecode.ImageHandler("rgb8")])
    row = decode(rows[0])
    assert row["original_image.jpg"].shape == (64, 64, 3)
    assert row["points.json"]["skeleton"] == "animal_pose"
    assert isinstance(row["caption.txt"], str)


def test_an_export_goes_on_and_is_not_mixed_with_another(tmp_path, libraries, monkeypatch):
    write, calls = exporting.write_file, []

    def stop(path, fill):
        calls.append(path)
        if path.name == "000001.parquet":
            raise KeyboardInterrupt
        write(path, fill)

    monkeypatch.setattr(exporting, "write_file", stop)
    with pytest.raises(KeyboardInterrupt):
        export(libraries / "one", tmp_path / "out", "parquet")
    monkeypatch.undo()
    first = (tmp_path / "out" / "000000.parquet").stat()
    assert export(libraries / "one", tmp_path / "out", "parquet") == 7
    assert (tmp_path / "out" / "000000.parquet").stat() == first
    assert pq.ParquetFile(tmp_path / "out" / "000001.parquet").metadata.num_rows == 3
    with pytest.raises(UserError, match="out: holds another export"):
        export(libraries / "two", tmp_path / "out", "parquet")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("")
    with pytest.raises(UserError, match=r"mine: holds other files \(x\)"):
        export(libraries / "two", tmp_path / "mine", "hf")


def test_merged_libraries_hold_each_picture_once_and_the_first(tmp_path, libraries):
    about = merge([libraries / "one", libraries / "two"], tmp_path / "both")
    assert about["counts"]["kept"] == 10
    assert about["counts"]["dropped"] == {
        "duplicates: duplicate": 1, "duplicates: near_duplicate": 1,
    }  # fmt: skip
    rows = list(ledger.read_all(Library(tmp_path / "both")))
    assert len(rows) == 12
    gone = [row for row in rows if row.outcome == "dropped"]
    assert [row.key for row in gone] == ["images/p000.jpg", "images/p001.jpg"]
    assert [row.part for row in gone] == [2, 2]
    kept = [t.key for path in Library(tmp_path / "both").shards() for t in shards.read(path)]
    assert kept == [row.triplet for row in rows if row.triplet]
    first = [t.key for path in Library(libraries / "one").shards() for t in shards.read(path)]
    assert kept[:7] == first
    again = merge([libraries / "one", libraries / "two"], tmp_path / "again", workers=2)
    assert again["counts"] == about["counts"]
    assert piles.digests(tmp_path / "again") == piles.digests(tmp_path / "both")


def test_a_merged_library_is_one_like_others(tmp_path, libraries):
    merge([libraries / "two", libraries / "one"], tmp_path / "both")
    assert export(tmp_path / "both", tmp_path / "out", "parquet") == 10
    about = merge([tmp_path / "both", libraries / "one"], tmp_path / "third")
    assert about["counts"]["kept"] == 10


def test_what_cannot_be_joined_is_told(tmp_path, libraries):
    other = build(
        [piles.labelled(tmp_path / "c", 2)], tmp_path / "c96", replace(piles.SMALL, size=96)
    )
    assert other.about["counts"]["kept"] == 2
    with pytest.raises(UserError, match="c96: its size is 96, .*one's 64"):
        merge([libraries / "one", tmp_path / "c96"], tmp_path / "out")
    with pytest.raises(UserError, match=r"nothing: no library of triplets \(library.json"):
        merge([libraries / "one", tmp_path / "nothing"], tmp_path / "out")
    merge([libraries / "one"], tmp_path / "out")
    with pytest.raises(UserError, match="out: holds the library of another run"):
        merge([libraries / "two"], tmp_path / "out")


def test_a_shard_that_is_not_its_ledgers_is_told(tmp_path, libraries):
    export(libraries / "one", tmp_path / "lib", "webdataset")
    shard = Library(tmp_path / "lib").shard(0)
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(
        UserError, match=r"000000.tar: not the shard that .*000000.parquet tells of"
    ):
        merge([tmp_path / "lib"], tmp_path / "out")


@pytest.mark.parametrize("form", ["hf", "parquet"])
def test_a_damaged_piece_is_told(tmp_path, libraries, form):
    export(libraries / "one", tmp_path / "out", form)
    piece = sorted((tmp_path / "out").rglob("*.parquet"))[0]
    piece.write_bytes(piece.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a whole Parquet file"):
        export(tmp_path / "out", tmp_path / "back", "webdataset")
    library = Library(tmp_path / "cut")
    export(libraries / "one", library.root, "webdataset")
    library.shard(0).write_bytes(library.shard(0).read_bytes()[:30_000])
    with pytest.raises(UserError, match=r"000000.tar: not a whole tar file"):
        export(library.root, tmp_path / "more", form)


def test_a_shard_cut_anywhere_is_told(tmp_path, libraries):
    whole = Library(libraries / "one").shards()[0].read_bytes()
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        second = tar.getmembers()[6].offset  # where the first triplet is whole
    for length in (second, second + 100, second + 512, second + 700, len(whole) - 10240, 100):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut.tar: not a whole tar file"):
            list(shards.read(cut))


def test_a_shard_is_what_tarfile_writes(tmp_path):
    names = ("a", "k" * 24, "é" * 30, "n" * 76)
    made = [triplet_of(name, i) for i, name in enumerate(names)]
    wrote = shards.write(tmp_path / "ours.tar", made)
    with tarfile.open(tmp_path / "theirs.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in shards.members(tmp_path / "ours.tar"):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    ours, theirs = ((tmp_path / f"{who}.tar").read_bytes() for who in ("ours", "theirs"))
    assert ours == theirs
    assert list(shards.read(tmp_path / "ours.tar")) == made
    assert wrote.seal == shards.sealed(tmp_path / "ours.tar")
    assert (wrote.count, wrote.length) == (4, len(ours))


def triplet_of(key: str, seed: int) -> Triplet:
    data = [bytes([seed]) * (511 + seed) for _ in range(3)]
    return Triplet(key, *data, f"caption {seed}", {"a": seed}, {"b": [seed]})
