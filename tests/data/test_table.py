"""The long table: the least it needs, and each thing that can be wrong in a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from miniatures import paint

from tetrapose.data import open_set, table
from tetrapose.errors import UserError

LEAST = """\
file,keypoint,x,y
a.png,nose,10,12
a.png,left_ear,,
a.png,right_ear,30,20
b.png,nose,5,6
b.png,left_ear,7,8
"""
FULL = """\
file,instance,species,keypoint,x,y,visibility,x1,y1,x2,y2,area,crowd,group,width,height
a.png,1,dog,nose,10,12,2,1,2,40,30,900,0,7,64,48
a.png,1,dog,tail,20,22,1,1,2,40,30,900,0,7,64,48
a.png,2,cat,nose,,,0,3,3,33,33,,1,7,64,48
a.png,2,cat,tail,50,40,2,3,3,33,33,,1,7,64,48
b.png,,,,,,,,,,,,,7,64,48
"""


def write(folder: Path, text: str) -> Path:
    for i, name in enumerate("ab"):
        paint(folder / f"{name}.png", (64, 48), i)
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


def test_the_least_that_a_table_needs(tmp_path):
    pose_set = table.read(write(tmp_path, LEAST))
    assert pose_set.files == ("a.png", "b.png")
    assert pose_set.skeleton.names == ("nose", "left_ear", "right_ear")
    np.testing.assert_array_equal(pose_set.visibility, [[2, 0, 2], [2, 2, 0]])
    np.testing.assert_array_equal(pose_set.bboxes[0], [5, 7, 35, 25])
    assert pose_set.problems == ()


def test_all_columns(tmp_path):
    pose_set = table.read(write(tmp_path, FULL))
    assert pose_set.image_index.tolist() == [0, 0]
    np.testing.assert_array_equal(pose_set.visibility, [[2, 1], [0, 2]])
    np.testing.assert_array_equal(pose_set.bboxes, [[1, 2, 40, 30], [3, 3, 33, 33]])
    np.testing.assert_array_equal(pose_set.areas, [900, 900])
    np.testing.assert_array_equal(pose_set.crowd, [False, True])
    np.testing.assert_array_equal(pose_set.sizes, [[64, 48]] * 2)
    assert len(set(pose_set.groups.tolist())) == 1
    assert [pose_set.species_names[i] for i in pose_set.species] == ["dog", "cat"]


def test_pictures_in_a_folder_of_their_own(tmp_path):
    file = write(tmp_path / "pictures", LEAST).rename(tmp_path / "t.csv")
    with pytest.raises(UserError, match="none of its 2 pictures is there"):
        table.read(file)
    assert len(open_set(f"table:{file}:{tmp_path / 'pictures'}")) == 2
    with pytest.raises(UserError, match="no such folder; the pictures of"):
        open_set(f"table:{file}:{tmp_path / 'nowhere'}")


ODDITIES = {
    "words": (("10,12", "ten,12"), "line 2", "could not convert", 2),
    "a point twice": (("left_ear,,", "nose,1,2"), "line 3", "nose of this animal stood before", 2),
    "no file": (("b.png,left_ear", ",left_ear"), "line 6", "names no file", 2),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(tmp_path, name):
    (old, new), where, told, left = ODDITIES[name]
    assert old in LEAST
    pose_set = table.read(write(tmp_path, LEAST.replace(old, new)))
    assert len(pose_set) == left
    (problem,) = pose_set.problems
    assert where in problem.where
    assert told in problem.what


def test_an_odd_flag_and_an_odd_crowd_are_told(tmp_path):
    pose_set = table.read(write(tmp_path, FULL.replace("10,12,2", "10,12,5")))
    assert "visibility '5', where 0, 1 or 2 is due" in pose_set.problems[0].what
    np.testing.assert_array_equal(pose_set.visibility[0], [0, 1])
    pose_set = table.read(write(tmp_path, FULL.replace("900,0,7", "900,x,7")))
    (problem,) = pose_set.problems
    assert not problem.left_out
    assert len(pose_set) == 2


def test_an_animal_of_nothing_is_left_out(tmp_path):
    text = LEAST.replace("5,6", ",").replace("7,8", ",")
    pose_set = table.read(write(tmp_path, text))
    assert len(pose_set) == 1
    assert "without a point and without a box" in pose_set.problems[0].what


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        table.read(tmp_path / "absent.csv")
    with pytest.raises(UserError, match="a folder; name the table in it"):
        table.read(tmp_path)
    with pytest.raises(UserError, match="lacks the columns x, y"):
        table.read(write(tmp_path, "file,keypoint\na.png,nose\n"))
    with pytest.raises(UserError, match="names no keypoint"):
        table.read(write(tmp_path, "file,keypoint,x,y\n"))
    other = tmp_path / "t.txt"
    other.write_text(LEAST)
    with pytest.raises(UserError, match=r"a \.csv or \.parquet file"):
        table.read(other)
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as csv|lacks"):
        table.read(tmp_path / "t.csv")
    pytest.importorskip("pyarrow", reason="extra parquet is not installed")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 but nothing else")
    with pytest.raises(UserError, match="cannot be read as parquet"):
        table.read(tmp_path / "t.parquet")
