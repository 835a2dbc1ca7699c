"""Piles of pictures of every kind come out as items, in one order, each picture found again."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import piles
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tetrapose import images
from tetrapose.errors import UserError
from tetrapose.triplets import lists, pictures, plan
from tetrapose.triplets.build import build
from tetrapose.triplets.library import Library
from tetrapose.triplets.sources import Listing, open_source


def listed(spec: str):
    listing = Listing()
    return list(open_source(spec).items(listing)), listing


def contents(tmp_path, spec):
    """Bytes of each item, by the way that a build takes: through the plan."""
    library = Library(tmp_path / "lib")
    plan.write(library, [open_source(spec)], 1000)
    items = plan.read(library, 0)
    found = dict(pictures.bytes_of(library, 0, items))
    return [found[place] for place in range(len(items))]


def test_a_folder_gives_its_pictures_by_name_with_the_text_beside(tmp_path):
    piles.photos(tmp_path / "b", 2)
    piles.save(tmp_path / "a" / "Z.JPG", piles.picture(5))
    (tmp_path / "b" / "001.txt").write_text(" a dog \n")
    (tmp_path / "b" / ".hidden.png").write_bytes(b"")
    (tmp_path / "b" / "notes.csv").write_bytes(b"")
    items, listing = listed(f"folder:{tmp_path},licence=CC0,species=dog")
    assert [item.key for item in items] == ["a/Z.JPG", "b/000.png", "b/001.png"]
    assert [item.text for item in items] == ["", "", "a dog"]
    assert {(item.source, item.licence, item.species) for item in items} == {
        (f"folder:{tmp_path.name}", "CC0", ("dog",))
    }
    assert listing.passed["files that are no pictures by their names"] == 1


def test_a_labelled_set_gives_its_animals_as_they_are(tmp_path):
    spec = piles.labelled(tmp_path / "set", 3, points=12)
    items, listing = listed(spec)
    assert [item.key for item in items] == [f"images/p{i:03d}.jpg" for i in range(3)]
    assert [item.species for item in items] == [("dog",), ("cat",), ("dog",)]
    one = items[1].instances
    assert one is not None
    assert (one.visibility > 0).sum() == 12
    assert np.isnan(one.keypoints[0, 12:]).all()
    assert items[0].licence
    assert list(listing.skeletons) == ["animal_pose"]
    library = Library(tmp_path / "lib")
    plan.write(library, [open_source(spec)], 2)
    back = [*plan.read(library, 0), *plan.read(library, 1)]
    for before, after in zip(items, back, strict=True):
        assert np.array_equal(before.instances.keypoints, after.instances.keypoints, equal_nan=True)
        assert np.array_equal(before.instances.bboxes, after.instances.bboxes)
        assert before.key == after.key
    assert plan.skeletons_of(library)["animal_pose"].names == piles.NAMES


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    tar.addfile(header, io.BytesIO(data))


@pytest.fixture
def shard(tmp_path):
    """As img2dataset writes them, and one sample without a picture."""
    files = piles.photos(tmp_path / "photos", 3)
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "00000.tar", "w") as tar:
        for i in range(3):
            add(tar, f"{i:05d}.png", (files / f"{i:03d}.png").read_bytes())
            add(tar, f"{i:05d}.txt", f"a cat {i}".encode())
            told = {"caption": "other", "license": "CC-BY", "url": "http://x"}
            add(tar, f"{i:05d}.json", json.dumps(told).encode())
        add(tar, "00003.txt", b"no picture")
    return tmp_path / "tars" / "00000.tar"


def test_tar_shards_give_their_samples_without_being_unpacked(tmp_path, shard):
    items, _ = listed(str(shard.parent))
    assert [item.key for item in items] == [f"00000.tar/{i:05d}" for i in range(3)]
    assert [item.text for item in items] == ["a cat 0", "a cat 1", "a cat 2"]
    assert items[0].licence == "CC-BY"
    pixels, _ = images.read_image(items[2].path)
    assert np.array_equal(pixels, piles.picture(2))
    wanted = [path.read_bytes() for path in sorted((tmp_path / "photos").iterdir())]
    assert contents(tmp_path, str(shard)) == wanted


def test_a_tar_that_was_cut_off_gives_what_it_has(shard):
    whole = shard.read_bytes()
    with tarfile.open(shard) as tar:
        start = tar.getmember("00002.png").offset_data
    shard.write_bytes(whole[: start + 100])
    items, listing = listed(str(shard))
    assert [item.key for item in items] == ["00000.tar/00000", "00000.tar/00001"]
    assert "cannot be read to its end" in str(listing.problems[0])


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_hugging_face_folder_gives_its_rows(tmp_path, form):
    files = sorted(piles.photos(tmp_path / "photos", 5).iterdir())
    rows = [
        {"image": {"bytes": path.read_bytes(), "path": path.name}, "text": f"dog {i}"}
        for i, path in enumerate(files)
    ]
    rows[4]["image"] = {"bytes": None, "path": "../photos/004.png"}
    rows.append({"image": None, "text": ""})
    folder = tmp_path / "hub" / ("data" if form == "parquet" else "")
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    if form == "parquet":
        pq.write_table(table, folder / "train-00000-of-00001.parquet", row_group_size=2)
        (tmp_path / "hub" / "photos").mkdir()
        (tmp_path / "hub" / "photos" / "004.png").write_bytes(files[4].read_bytes())
    else:
        with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
            stream.write_table(table)
    items, _ = listed(str(tmp_path / "hub"))
    assert [item.text for item in items] == [*(f"dog {i}" for i in range(5)), ""]
    found = contents(tmp_path, str(tmp_path / "hub"))
    assert found[:5] == [path.read_bytes() for path in files]
    assert found[5].startswith("unreadable:")
    assert "row 5 holds no picture in image" in found[5]


def test_a_row_is_found_from_any_place(tmp_path):
    rows = [{"image": bytes([i] * 10)} for i in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=7)
    tables = pictures._Tables()
    for row in [0, 3, 50, 51, 99, 20, 21]:
        assert tables.get(tmp_path / "a.parquet", "image", row) == bytes([row] * 10)


LAION = {
    "URL": [f"http://h/{i}.jpg" for i in range(7)],
    "TEXT": ["A cat on a mat", "concatenate", "Hund im Gras", "猫咪", None, "CAT and dog", "cats"],
    "similarity": [0.3, 0.4, 0.35, 0.31, 0.5, 0.2, None],
    "LANGUAGE": ["en", "en", "de", "zh", "en", "EN", "en"],
    "punsafe": [0.0, 0.1, 0.2, 0.9, 0.0, 0.0, 0.0],
    "WIDTH": [300, 300, 300, 300, 300, 300, 200],
    "HEIGHT": [300, 200, 300, 300, 300, 300, 300],
    "LICENSE": ["?", "?", "CC", "?", "?", "?", "?"],
}


@pytest.mark.parametrize(
    "options, rows",
    [
        ("", range(7)),
        (",species=cat", [0, 3, 5, 6]),
        (",species=cat|dog", [0, 2, 3, 5, 6]),
        (",words=mat|gras", [0, 2]),
        (",match=^A|nate$", [0, 1]),
        (",language=en|de", [0, 1, 2, 4, 5, 6]),
        (",similarity=0.31", [1, 2, 3, 4]),
        (",unsafe=0.1", [0, 1, 4, 5, 6]),
        (",side=256", [0, 2, 3, 4, 5]),
        (",species=cat,similarity=0.25,language=en", [0]),
    ],
)
def test_a_list_is_filtered_by_what_it_says(tmp_path, options, rows):
    pq.write_table(pa.table(LAION), tmp_path / "laion.parquet")
    items, listing = listed(f"list:{tmp_path / 'laion.parquet'}{options}")
    assert [item.url for item in items] == [LAION["URL"][row] for row in rows]
    assert [item.key for item in items] == [f"laion.parquet#{row}" for row in rows]
    lost = sum(n for why, n in listing.passed.items() if why.startswith("filtered"))
    assert lost == 7 - len(items)
    assert listing.passed["rows of lists read"] == 7
    assert {item.licence for item in items} <= {"", "CC"}


@pytest.mark.parametrize(
    "options, told",
    [
        (",species=unicorn", "species 'unicorn': no words for it; there is cat, dog"),
        (",match=(", "not a regular expression"),
        (",similarity=high", "similarity=high: a number is due"),
        (",watermark=0.5", "no column for watermark"),
        (",url=address", "no column 'address'; there is URL, TEXT"),
        (",colour=red", "list: no option 'colour'"),
    ],
)
def test_a_filter_that_cannot_be_is_told(tmp_path, options, told):
    pq.write_table(pa.table(LAION), tmp_path / "laion.parquet")
    with pytest.raises(UserError, match=told):
        listed(f"list:{tmp_path / 'laion.parquet'}{options}")


def test_words_for_species_mean_the_same_to_both_engines():
    import pyarrow.compute as pc

    texts = ["cat", "Cat_9", "cats!", "scat", "Kätzchen", "KÄTZCHEN", "une chèvre", "кошка.",
             "猫が好き", "the big bear", "", "zebra's"]  # fmt: skip
    for name in lists.species_words():
        mask = pc.match_substring_regex(pa.array(texts), lists.pattern(name)).to_pylist()
        assert mask == [name in lists.named(text) for text in texts], name
    assert lists.named("A dog, zwei Katzen und ein Pferd") == ("cat", "dog", "horse")


def test_no_word_stands_for_two_species():
    seen: dict[str, str] = {}
    for name, languages in lists.species_words().items():
        for word in {word.lower() for words in languages.values() for word in words}:
            if word not in {"cachorro", "cachorros", "cucciolo", "cuccioli", "山羊"}:
                assert seen.setdefault(word, name) == name, word


def test_a_pickled_or_broken_table_is_told(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match=r"a\.parquet: not a whole Parquet file"):
        build([str(tmp_path / "a.parquet")], tmp_path / "lib", piles.SMALL)
    with pytest.raises(UserError, match=r"a\.parquet: not a whole table"):
        build([f"hf:{tmp_path / 'a.parquet'}"], tmp_path / "lib2", piles.SMALL)
