"""Whatever frames were labelled with is opened; what stands in the way is said in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import own_frames
import pytest

from tetrapose.data.projects import open_project
from tetrapose.errors import UserError


@pytest.fixture
def root(tmp_path) -> Path:
    return own_frames.deeplabcut(tmp_path / "dlc", count=3)


def opened(where, tmp_path, **options):
    return open_project(str(where), frames=tmp_path / "frames", **options)


def test_a_deeplabcut_project_by_any_of_its_files(root, tmp_path):
    table = root / "labeled-data" / "vid0" / "CollectedData_me.csv"
    for where in (root, root / "config.yaml", table, f"deeplabcut:{root}"):
        project = opened(where, tmp_path)
        assert project.kind == "deeplabcut"
        assert project.alone
        assert project.names == own_frames.PARTS  # as the labels call them
        assert project.pose_set.skeleton.names == ("snout", "left_ear", "right_ear", "tailbase")
        assert (project.pose_set.sizes == (96, 72)).all()


def test_a_table_of_labels(root, tmp_path):
    lines = ["file,keypoint,x,y"]
    for i in range(3):
        lines += [f"labeled-data/vid0/img{i:03d}.png,{n},{20 + i},{30 + k}"
                  for k, n in enumerate(("nose", "tail"))]  # fmt: skip
    file = root / "labels.csv"
    file.write_text("\n".join(lines))
    project = opened(file, tmp_path)
    assert (project.kind, len(project.pose_set)) == ("table", 3)
    assert opened(f"{file}:{root}", tmp_path).names == ("nose", "tail")


def test_a_sleap_file_with_its_pictures_inside(root, tmp_path):
    sio = pytest.importorskip("sleap_io")
    from tetrapose.data import open_set, sleap

    labels = sleap.labels_of(open_set(f"deeplabcut:{root}", sizes=True), sio)
    file = tmp_path / "mice.pkg.slp"
    sio.save_slp(labels, str(file), embed=True, verbose=False)
    project = opened(file, tmp_path)
    assert project.kind == "sleap"
    assert len(project.pose_set) == 3
    assert all((tmp_path / "frames") in project.pose_set.path(i).parents for i in range(3))
    assert opened(tmp_path, tmp_path).kind == "sleap"  # the one file of a folder


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda at: at / "nothing", "no such file or folder; due is a DeepLabCut"),
        (lambda at: at, "a folder with no labeled-data/ in it"),
        (lambda at: _written(at / "notes.txt", "hello"), ".txt is none of: a DeepLabCut"),
        (lambda at: _written(at / "C.csv", "scorer,me\n"), "outside a project"),
        (lambda at: f"martian:{at}", "no data format 'martian'"),
    ],
)
def test_what_is_no_project_is_said_to_be_none(make, told, tmp_path):
    with pytest.raises(UserError, match=told):
        opened(make(tmp_path), tmp_path)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def spoil(root: Path, change) -> None:
    table = root / "labeled-data" / "vid0" / "CollectedData_me.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:3] + [change(line.split(",")) for line in lines[3:]]))


def test_no_label_and_one_label_are_too_few(root, tmp_path):
    spoil(root, lambda cells: ",".join(cells[:1] + [""] * 8))
    with pytest.raises(UserError, match="no animal"):
        opened(root, tmp_path)
    spoil(root, lambda c: ",".join(c if "img001" not in c[0] else [c[0], *map(str, range(8))]))
    with pytest.raises(UserError, match="one labelled frame .*img001.*two are the least"):
        opened(root, tmp_path)


def test_missing_pictures_are_told_and_cost_only_themselves(root, tmp_path):
    (root / "labeled-data" / "vid0" / "img001.png").unlink()
    project = opened(root, tmp_path)
    assert len(project.pose_set.files) == 2
    assert any("img001" in str(p) and p.left_out for p in project.pose_set.problems)
    (root / "labeled-data" / "vid0" / "img000.png").unlink()
    with pytest.raises(UserError, match="one labelled frame"):
        opened(root, tmp_path)


def test_points_that_nobody_labelled_are_left_out_and_told(root, tmp_path):
    spoil(root, lambda cells: ",".join(cells[:7] + ["", ""]))
    project = opened(root, tmp_path)
    assert project.pose_set.skeleton.names == ("snout", "left_ear", "right_ear")
    assert project.names == ("snout", "leftear", "rightear")
    assert project.pose_set.keypoints.shape == (3, 3, 2)
    assert any("never labelled: tailbase" in p.what for p in project.pose_set.problems)


def test_a_side_that_was_never_labelled_stays_beside_its_partner(root, tmp_path):
    spoil(root, lambda cells: ",".join([*cells[:5], "", "", *cells[7:]]))
    project = opened(root, tmp_path)
    assert project.pose_set.skeleton.names == ("snout", "left_ear", "right_ear", "tailbase")
    doubt = next(p for p in project.pose_set.problems if "right_ear" in p.what and not p.left_out
                 and "never" in p.what)  # fmt: skip
    assert "do not trust" in doubt.fix


def test_frames_of_several_sizes_are_a_doubt(root, tmp_path):
    points = own_frames.places(1, (60, 60))[0]
    own_frames.draw(root / "labeled-data" / "vid0" / "img002.png", points, (128, 96))
    project = opened(root, tmp_path)
    told = [p for p in project.pose_set.problems if "2 sizes (96x72, 128x96)" in p.what]
    assert len(told) == 1
    assert not told[0].left_out


def test_several_animals_are_an_instance_each(tmp_path):
    root = own_frames.deeplabcut(tmp_path / "dlc", count=2)
    table = root / "labeled-data" / "vid0" / "CollectedData_me.csv"
    rows = [
        ["scorer", *["me"] * 8],
        ["individuals", *["one"] * 4, *["two"] * 4],
        ["bodyparts", *["snout", "snout", "tail", "tail"] * 2],
        ["coords", *"xyxyxyxy"],
        ["labeled-data/vid0/img000.png", *map(str, range(10, 18))],
        ["labeled-data/vid0/img001.png", *map(str, range(10, 14)), "", "", "", ""],
    ]
    table.write_text("\n".join(",".join(row) for row in rows))
    project = opened(root, tmp_path)
    assert not project.alone
    assert np.bincount(project.pose_set.image_index).tolist() == [2, 1]
