"""Triplets to look through, out of shards and Parquet."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
from studio_parts import jpeg, studio

from tetrapose import skeletons
from tetrapose.app import poses
from tetrapose.app.browsing import PAGE, Shown, open_all
from tetrapose.errors import UserError
from tetrapose.triplets import shards
from tetrapose.triplets.rows import COLUMNS, Triplet

EVIL = "a dog <img src=x onerror=alert(1)> & 'more'"


def triplet(number: int, caption: str = "a dog") -> Triplet:
    known = skeletons.load("ap10k")
    points = [[10.0 + k, 20.5, 2 if k % 3 else 1] for k in range(len(known))]
    points[4] = [None, None, 0]
    return Triplet(
        key=f"{number:09d}",
        original_image=jpeg(64, 64, seed=number),
        conditioning_image=b"png of " + str(number).encode(),
        overlaid=jpeg(64, 64, seed=number + 1000),
        caption=caption,
        points={
            "skeleton": "ap10k",
            "size": [64, 64],
            "animals": [
                {"species": "dog", "bbox": [8, 18, 40, 30], "keypoints": points, "scores": None,
                 "bbox_score": None, "labelled": True}
            ],
        },
        provenance={"source": "test"},
    )  # fmt: skip


@pytest.fixture
def library(tmp_path):
    """Two shards: 30 triplets and 2."""
    folder = tmp_path / "dogs"
    (folder / "shards").mkdir(parents=True)
    shards.write(folder / "shards" / "000000.tar", [triplet(i, f"dog {i}") for i in range(30)])
    shards.write(folder / "shards" / "000003.tar", [triplet(30, EVIL), triplet(31)])
    return folder


def test_pages_go_through_a_shard_in_order(library):
    shown = Shown(library)
    first, second = shown.page(0, 0), shown.page(0, PAGE)
    assert first["parts"] == 2
    assert (first["count"], len(first["rows"]), len(second["rows"])) == (30, PAGE, 30 - PAGE)
    assert [r["caption"] for r in first["rows"] + second["rows"]] == [f"dog {i}" for i in range(30)]
    assert shown.page(1, 0)["rows"][0] == {"key": "000000030", "caption": EVIL}


def test_a_picture_is_what_the_shard_holds(library):
    shown, expected = Shown(library), triplet(7)
    assert shown.picture(0, "000000007", "original_image") == (
        expected.original_image, "image/jpeg"
    )  # fmt: skip
    assert shown.picture(0, "000000007", "conditioning_image") == (
        expected.conditioning_image, "image/png"
    )  # fmt: skip
    assert shown.points(0, "000000007") == expected.points


@pytest.mark.parametrize(
    "part, key, column",
    [(9, "000000007", "overlaid"), (-1, "000000007", "overlaid"), (0, "../secret", "overlaid"),
     (0, "000000007", "provenance"), (0, "000000007", "../../x"), (1, "000000007", "overlaid")],
)  # fmt: skip
def test_what_is_not_there_is_refused(library, part, key, column):
    (library / "shards" / "secret").write_text("secret")
    with pytest.raises(UserError):
        Shown(library).picture(part, key, column)


def test_a_damaged_shard_is_told_by_name_alone(library):
    path = library / "shards" / "000003.tar"
    path.write_bytes(b"no tar at all" * 100)
    with pytest.raises(UserError, match="000003.tar: not a whole tar file") as error:
        Shown(library).page(1, 0)
    assert str(library) not in str(error.value)


def test_members_that_are_links_or_lack_parts_are_left_out(tmp_path):
    path = tmp_path / "000000.tar"
    with tarfile.open(path, "w") as tar:
        for name in COLUMNS:
            link = tarfile.TarInfo(f"evil.{name}.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        half = tarfile.TarInfo("half.original_image.jpg")
        half.size = 3
        tar.addfile(half, io.BytesIO(b"abc"))
    assert Shown(tmp_path).page(0, 0)["rows"] == []


def test_parquet_shows_the_same(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    some = [triplet(i, f"dog {i}") for i in range(5)]
    rows = [
        {
            "original_image": {"bytes": one.original_image, "path": "x.jpg"},
            "conditioning_image": {"bytes": one.conditioning_image, "path": "x.png"},
            "overlaid": {"bytes": one.overlaid, "path": "x.jpg"},
            "caption": one.caption,
            "points": json.dumps(one.points),
            "provenance": json.dumps(one.provenance),
        }
        for one in some
    ]
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "train-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=2)
    shown = Shown(tmp_path)
    page = shown.page(0, 0)
    assert [row["caption"] for row in page["rows"]] == [one.caption for one in some]
    key = page["rows"][3]["key"]
    assert shown.picture(0, key, "overlaid")[0] == some[3].overlaid
    assert shown.points(0, key) == some[3].points
    pq.write_table(pa.table({"caption": ["x"]}), file)
    with pytest.raises(UserError, match="lacks the columns original_image"):
        Shown(tmp_path).page(0, 0)


def test_folders_without_triplets_are_told(tmp_path):
    with pytest.raises(UserError, match="no triplets here"):
        open_all([str(tmp_path)])
    with pytest.raises(UserError, match="no such folder"):
        open_all([str(tmp_path / "nowhere")])


def test_two_folders_of_one_name_are_told_apart(library, tmp_path):
    other = tmp_path / "elsewhere" / "dogs"
    (other / "shards").mkdir(parents=True)
    shards.write(other / "shards" / "000000.tar", [triplet(1)])
    assert list(open_all([str(library), str(other)])) == ["dogs", "dogs (2)"]


def test_a_triplet_opens_as_a_picture_with_its_points(library, tmp_path):
    one = studio(tmp_path / "studio", triplets=open_all([str(library)]))
    opened = one.open_triplet("dogs", 0, "000000007")
    assert (opened["width"], opened["height"]) == (64, 64)
    posed = poses.read(opened["pose"])
    assert posed.skeleton.name == "ap10k"
    assert posed.labels == ("dog",)
    truth = triplet(7).points["animals"][0]["keypoints"]
    for k, (x, y, v) in enumerate(truth):
        assert posed.instances.visibility[0, k] == v
        if v:
            np.testing.assert_array_equal(posed.instances.keypoints[0, k], [x, y])
    with pytest.raises(UserError, match="no such library"):
        one.open_triplet("cats", 0, "000000007")
    one.sight.close()
