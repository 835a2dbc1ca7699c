"""DeepLabCut projects: headers of one animal and of several, h5 without pickles, way out."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml
from miniatures import paint

from tetrapose.data import deeplabcut, deeplabcut_out, open_set
from tetrapose.errors import UserError

PARTS = ("snout", "leftear", "rightear", "tailbase")
ONE = """\
scorer,me,me,me,me,me,me,me,me
bodyparts,snout,snout,leftear,leftear,rightear,rightear,tailbase,tailbase
coords,x,y,x,y,x,y,x,y
labeled-data/vid1/img1.png,10.5,20.25,15,18,,,40,44
labeled-data/vid1/img2.png,,,,,,,,
labeled-data/vid1/img3.png,12,22,17,20,14,25,42,46
"""
SEVERAL = """\
scorer,,,me,me,me,me,me,me,me,me,me,me
individuals,,,mouse1,mouse1,mouse1,mouse1,mouse2,mouse2,mouse2,mouse2,single,single
bodyparts,,,snout,snout,tailbase,tailbase,snout,snout,tailbase,tailbase,corner,corner
coords,,,x,y,x,y,x,y,x,y,x,y
labeled-data,vid2,img1.png,1,2,3,4,11,12,13,14,60,60
labeled-data,vid2,img2.png,1,2,,,,,,,60,60
"""


def project(root: Path, tables: dict[str, str], **config) -> Path:
    for video, text in tables.items():
        folder = root / "labeled-data" / video
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "CollectedData_me.csv").write_text(text)
        for i in (1, 2, 3):
            paint(folder / f"img{i}.png", (64, 64), i)
    told = {"Task": "t", "scorer": "me", "bodyparts": list(PARTS), "skeleton": [], **config}
    (root / "config.yaml").write_text(yaml.safe_dump(told))
    return root


@pytest.fixture
def tiny(tmp_path) -> Path:
    return project(tmp_path / "dlc", {"vid1": ONE}, skeleton=[["snout", "leftear", "tailbase"]])


def test_one_animal_in_columns(tiny):
    pose_set = deeplabcut.read(tiny, sizes=True)
    assert pose_set.skeleton.names == ("snout", "left_ear", "right_ear", "tailbase")
    assert pose_set.skeleton.edges == (("snout", "left_ear"), ("left_ear", "tailbase"))
    assert pose_set.files == tuple(f"labeled-data/vid1/img{i}.png" for i in (1, 2, 3))
    assert pose_set.image_index.tolist() == [0, 2]  # a row of nothing is a picture without animal
    np.testing.assert_array_equal(pose_set.visibility, [[2, 2, 0, 2], [2, 2, 2, 2]])
    np.testing.assert_array_equal(pose_set.keypoints[0, 0], [10.5, 20.25])
    # a tenth of the longer side around, or 5 px: the points span 29.5 x 26
    np.testing.assert_array_equal(pose_set.bboxes[0], [5.5, 13, 45, 49])
    assert len(set(pose_set.groups.tolist())) == 1
    assert len(set(deeplabcut.read(tiny, groups="picture").groups.tolist())) == 3
    assert not any(problem.left_out for problem in pose_set.problems)


def test_several_animals_and_what_belongs_to_none(tmp_path):
    root = project(
        tmp_path / "dlc", {"vid2": SEVERAL}, multianimalproject=True, bodyparts="MULTI!",
        individuals=["mouse1", "mouse2"], multianimalbodyparts=["tailbase", "snout"],
        uniquebodyparts=["corner"],
    )  # fmt: skip
    pose_set = deeplabcut.read(root)
    assert pose_set.skeleton.names == ("tailbase", "snout")
    assert pose_set.image_index.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(pose_set.keypoints[1], [[13, 14], [11, 12]])
    (problem,) = pose_set.problems
    assert "corner belong to no animal" in problem.what


def test_pictures_are_where_the_table_is_whatever_the_rows_say(tmp_path):
    moved = ONE.replace("labeled-data/vid1/", "C:\\project\\labeled-data\\old\\")
    pose_set = deeplabcut.read(project(tmp_path / "dlc", {"vid1": moved}))
    assert pose_set.files[0] == "labeled-data/vid1/img1.png"


def test_a_project_is_opened_by_its_config_or_without_one(tiny):
    assert len(open_set(f"deeplabcut:{tiny / 'config.yaml'}")) == 2
    (tiny / "config.yaml").unlink()
    assert len(open_set(f"deeplabcut:{tiny}")) == 2  # the tables name everything


ODDITIES = {
    "words": (("12,22", "a,22"), "line 6: could not convert string to float: 'a'", 1),
    "a cell short": ((",42,46", ",42"), "line 6: 8 cells, where 9 are due", 1),
    "x alone": (("12,22", "12,"), "a point with x or y alone", 2),
    "a frame twice": (("img3.png", "img1.png"), "img1.png: this frame stood before", 1),
    "a missing picture": (("img3.png", "img9.png"), "picture labeled-data/vid1/img9.png", 1),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(tmp_path, name):
    (old, new), told, left = ODDITIES[name]
    assert old in ONE
    pose_set = deeplabcut.read(project(tmp_path / "dlc", {"vid1": ONE.replace(old, new)}))
    assert len(pose_set) == left
    assert sum(told in str(problem) for problem in pose_set.problems) == 1


def test_a_video_with_another_header_is_left_out_the_others_are_read(tiny):
    project(tiny, {"vid1": ONE, "vid0": "a,b\n1,2\n"})
    pose_set = deeplabcut.read(tiny)
    assert len(pose_set) == 2
    assert any("vid0" in p.where and "its first lines are not" in p.what for p in pose_set.problems)
    project(tiny, {"vid1": "a,b\n1,2\n"})
    with pytest.raises(UserError, match="its first lines are not"):
        deeplabcut.read(tiny)


def test_another_layout_is_refused_as_such(tiny, tmp_path):
    with pytest.raises(UserError, match="lacks labeled-data"):
        deeplabcut.read(tmp_path)
    with pytest.raises(UserError, match="groups=x"):
        deeplabcut.read(tiny, groups="x")
    (tiny / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        deeplabcut.read(tiny)
    (tiny / "config.yaml").write_text("- a")
    with pytest.raises(UserError, match="not a DeepLabCut configuration"):
        deeplabcut.read(tiny)
    (tiny / "labeled-data/vid1/CollectedData_me.csv").unlink()
    (tiny / "config.yaml").unlink()
    with pytest.raises(UserError, match="no CollectedData"):
        deeplabcut.read(tiny)


def as_h5(csv_file: Path, layout: str) -> Path:
    """What DeepLabCut does: pandas' frame of the csv, in the layout of old or new versions."""
    pd = pytest.importorskip("pandas", reason="extra deeplabcut is not installed")
    pytest.importorskip("tables", reason="extra deeplabcut is not installed")
    lines = csv_file.read_text().splitlines()
    header = 4 if "individuals" in lines[1] else 3
    index = [0, 1, 2] if lines[-1].startswith("labeled-data,") else 0
    frame = pd.read_csv(csv_file, header=list(range(header)), index_col=index)
    out = csv_file.with_suffix(".h5")
    frame.to_hdf(out, key="df_with_missing", mode="w", format=layout)
    csv_file.unlink()
    return out


@pytest.mark.parametrize("layout", ["fixed", "table"])
def test_h5_reads_as_the_csv_does(tiny, layout):
    before = deeplabcut.read(tiny)
    as_h5(tiny / "labeled-data/vid1/CollectedData_me.csv", layout)
    after = deeplabcut.read(tiny)
    np.testing.assert_array_equal(after.keypoints, before.keypoints)
    assert after.files == before.files


def test_h5_of_several_animals(tmp_path):
    root = project(tmp_path / "dlc", {"vid2": SEVERAL})
    before = deeplabcut.read(root)
    as_h5(root / "labeled-data/vid2/CollectedData_me.csv", "fixed")
    np.testing.assert_array_equal(deeplabcut.read(root).keypoints, before.keypoints)


def test_a_pickle_in_an_h5_is_never_run(tiny, tmp_path):
    h5py = pytest.importorskip("h5py", reason="extra deeplabcut is not installed")
    file = as_h5(tiny / "labeled-data/vid1/CollectedData_me.csv", "table")
    trace = tmp_path / "fired"

    class Fires:
        def __reduce__(self):
            return open, (str(trace), "w")

    with h5py.File(file, "a") as content:
        attributes = content["df_with_missing/table"].attrs
        attributes["values_block_0_kind"] = np.bytes_(pickle.dumps([Fires()], protocol=0))
    with pytest.raises(UserError, match="which plain labels never do"):
        deeplabcut.read(tiny)
    assert not trace.exists()


@pytest.mark.parametrize("data", [b"", b"no h5 at all"])
def test_a_broken_h5_is_told(tiny, data):
    pytest.importorskip("h5py", reason="extra deeplabcut is not installed")
    file = tiny / "labeled-data/vid1/CollectedData_me.csv"
    file.unlink()
    file.with_suffix(".h5").write_bytes(data)
    with pytest.raises(UserError, match="not a table of labels"):
        deeplabcut.read(tiny)


def test_the_way_out_has_deeplabcuts_header(tiny_coco, tmp_path):
    """Read the csv as DeepLabCut does: with pandas, four header lines and three index cells."""
    pose_set = open_set(f"coco:{tiny_coco}", sizes=True)
    deeplabcut_out.write(pose_set, tmp_path / "out")
    file = tmp_path / "out/labeled-data/pictures/CollectedData_tetrapose.csv"
    with file.open() as stream:
        rows = list(csv.reader(stream))
    assert [row[0] for row in rows[:4]] == ["scorer", "individuals", "bodyparts", "coords"]
    assert all(row[1:3] == ["", ""] for row in rows[:4])
    assert rows[4][:3] == ["labeled-data", "pictures", "a.jpg"]
    pd = pytest.importorskip("pandas", reason="extra deeplabcut is not installed")
    pytest.importorskip("tables", reason="extra deeplabcut is not installed")
    frame = pd.read_csv(file, index_col=[0, 1, 2], header=[0, 1, 2, 3])
    assert frame.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    stored = pd.read_hdf(file.with_suffix(".h5"))
    np.testing.assert_allclose(stored.to_numpy(), frame.to_numpy(), rtol=1e-6)
    assert list(stored.columns) == list(frame.columns)
    assert list(stored.index) == list(frame.index)
    config = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    assert config["multianimalproject"] is True
    assert config["individuals"] == ["animal1", "animal2"]
    assert config["bodyparts"] == "MULTI!"


def test_one_animal_a_picture_is_written_without_individuals(tiny_akd_cats, tmp_path):
    pose_set = open_set(f"akd_cats:{tiny_akd_cats}")
    deeplabcut_out.write(pose_set, tmp_path / "out", pictures="link")
    file = tmp_path / "out/labeled-data/images/CollectedData_tetrapose.csv"
    assert [line.split(",")[0] for line in file.read_text().splitlines()[:3]] == [
        "scorer", "bodyparts", "coords"
    ]  # fmt: skip
    back = deeplabcut.read(tmp_path / "out")
    np.testing.assert_array_equal(back.keypoints, pose_set.keypoints)
    assert back.skeleton is pose_set.skeleton


def test_pictures_of_one_name_in_folders_that_fall_together(tiny_coco, tmp_path):
    pose_set = open_set(f"coco:{tiny_coco}")
    from dataclasses import replace

    files = ("x/y/1.png", "x_y/1.png", "x y/1.PNG", "top.png")
    places = deeplabcut_out.frames(replace(pose_set, files=files))
    assert len({(folder.lower(), name.lower()) for folder, name in places}) == 4
    assert places[3] == ("pictures", "top.png")


def test_the_real_project(shared_data, tmp_path):
    folder = shared_data / "openfield_mouse"
    if not folder.is_dir():
        pytest.skip(f"no open-field project at {folder}")
    pose_set = deeplabcut.read(folder, sizes=True)
    assert (len(pose_set), len(pose_set.files)) == (116, 116)
    assert not any(problem.left_out for problem in pose_set.problems)
    # the h5 of the same project, in the layout that DeepLabCut wrote in 2018
    pytest.importorskip("h5py", reason="extra deeplabcut is not installed")
    from tetrapose.data import frames_h5

    _, frames, values = frames_h5.load(folder / "labeled-data/m4s1/CollectedData_Pranav.h5")
    np.testing.assert_allclose(values.reshape(116, 4, 2), pose_set.keypoints, rtol=1e-6)
    assert frames == pose_set.files
