"""Sets by their written form; splits, groups and folds."""

from __future__ import annotations

import ast
import inspect
import shutil

import miniatures
import numpy as np
import pytest
from miniatures import edit

from tetrapose import data
from tetrapose.data import about, available, open_set, parse_spec
from tetrapose.data.splits.folds import folds
from tetrapose.errors import UserError


def test_every_reader_tells_what_it_reads():
    assert set(available()) >= {"animal_pose", "akd_cats", "coco", "menagerie"}
    for name in available():
        facts = about(name)
        assert all([facts.title, facts.origin, facts.licence, facts.citation, facts.layout])
        module = data._module(name)
        assert {"Origin:", "Licence:", "Citation:"} <= set(
            module.__doc__.replace("\n", " ").split()
        )
        parameters = inspect.signature(module.read).parameters
        assert list(parameters)[0] == "root"
        assert {"split", "sizes", "pictures"} <= set(parameters)


def test_every_form_is_documented():
    for name in available():
        assert f"``{name}:" in open_set.__doc__


@pytest.mark.parametrize(
    "spec, expected",
    [
        ("coco:a.json", ("coco", "a.json", {})),
        ("coco:a.json:pictures,boxes=xyxy", ("coco", "a.json:pictures", {"boxes": "xyxy"})),
        ("animal_pose:a,b/c", ("animal_pose", "a,b/c", {})),
        ("animal_pose:C:\\data,sizes=true", ("animal_pose", "C:\\data", {"sizes": True})),
        (
            "coco:a.json,boxes=xyxy,sizes=False",
            ("coco", "a.json", {"boxes": "xyxy", "sizes": False}),
        ),
    ],
)
def test_a_spec_is_taken_apart(spec, expected):
    assert parse_spec(spec) == expected


@pytest.mark.parametrize(
    "spec, told",
    [
        ("animal_pose", "a set is written NAME:FOLDER, with NAME one of akd_cats, animal_pose"),
        ("animal_pose:", "a set is written NAME:FOLDER"),
        ("animalpose:x", "no data format 'animalpose'; there is animal_pose"),
        ("animal_pose:x,colour=red", "no option 'colour'; it has sizes, pictures"),
    ],
)
def test_a_spec_that_means_nothing(spec, told):
    with pytest.raises(UserError, match=told):
        open_set(spec)


def test_all_readers_open_by_spec(tiny_animal_pose, tiny_akd_cats, tiny_coco):
    assert len(open_set(f"animal_pose:{tiny_animal_pose}")) == 4
    assert len(open_set(f"akd_cats:{tiny_akd_cats}")) == 3
    assert len(open_set(f"coco:{tiny_coco}")) == 4
    assert len(open_set(f"coco:{tiny_coco}:{tiny_coco.parent / 'images'},sizes=true")) == 4


def test_a_set_of_which_nothing_is_left(tiny_animal_pose):
    edit(tiny_animal_pose / "keypoints.json", lambda c: [a.pop("bbox") for a in c["annotations"]])
    with pytest.raises(UserError, match="no animal left: .*'bbox' is missing.*; and 3 more"):
        open_set(f"animal_pose:{tiny_animal_pose}")


# --- menagerie -------------------------------------------------------------------------------


def test_a_menagerie_opens_by_its_only_skeleton_or_by_name(tmp_path):
    miniatures.coco(tmp_path, "animal_pose").rename(tmp_path / "animal_pose.json")
    pose_set = open_set(f"menagerie:{tmp_path}")
    assert pose_set.source == "menagerie"
    assert pose_set.skeleton.name == "animal_pose"
    miniatures.coco(tmp_path, "ap10k").rename(tmp_path / "ap10k.json")
    with pytest.raises(UserError, match=r"under 2 skeletons; choose .*animal_pose\.json or"):
        open_set(f"menagerie:{tmp_path}")
    assert open_set(f"menagerie:{tmp_path}/ap10k.json").skeleton.name == "ap10k"


def test_no_menagerie(tmp_path):
    with pytest.raises(UserError, match="lacks <skeleton>.json"):
        open_set(f"menagerie:{tmp_path}")
    with pytest.raises(UserError, match="no such folder"):
        open_set(f"menagerie:{tmp_path}/absent")


# --- splits ----------------------------------------------------------------------------------


def test_a_split_by_bare_name_lies_in_the_sets_folder(tiny_animal_pose):
    (tiny_animal_pose / "val.txt").write_text("\ufeff# two\n\na.jpg\r\n./images/c.jpeg\n")
    pose_set = open_set(f"animal_pose:{tiny_animal_pose}", split="val.txt")
    assert pose_set.files == ("images/a.jpg", "images/c.jpeg")
    assert len(pose_set) == 3
    assert pose_set.problems == ()


def test_a_split_by_path_or_several(tiny_coco, tmp_path):
    (tmp_path / "one.txt").write_text("a.jpg\n")
    (tmp_path / "two.txt").write_text("b.jpg\na.jpg\n")
    spec = f"coco:{tiny_coco}"
    assert len(open_set(spec, split=tmp_path / "one.txt")) == 2
    assert len(open_set(spec, split=[tmp_path / "one.txt", str(tmp_path / "two.txt")])) == 3


def test_names_that_the_set_lacks_are_told(tiny_animal_pose):
    split = tiny_animal_pose / "val.txt"
    split.write_text("a.jpg\nzebra.jpg\n")
    pose_set = open_set(f"animal_pose:{tiny_animal_pose}", split="val.txt")
    (problem,) = pose_set.problems
    assert problem.where == f"{split}: zebra.jpg"
    assert problem.left_out


def test_a_name_that_fits_two_pictures_chooses_neither(tiny_coco):
    def into_folders(content):
        content["images"][0]["file_name"] = "x/one.jpg"
        content["images"][1]["file_name"] = "y/one.jpg"

    edit(tiny_coco, into_folders)
    images = tiny_coco.parent / "images"
    for folder, name in (("x", "a.jpg"), ("y", "b.jpg")):
        (images / folder).mkdir()
        shutil.move(images / name, images / folder / "one.jpg")
    (tiny_coco.parent / "val.txt").write_text("one.jpg\nc.jpeg\n")
    pose_set = open_set(f"coco:{tiny_coco}", split="val.txt")
    assert pose_set.files == ("c.jpeg",)
    assert "2 pictures end in this name (write more of the path)" in str(pose_set.problems[0])
    (tiny_coco.parent / "val.txt").write_text("y/one.jpg\n")
    assert open_set(f"coco:{tiny_coco}", split="val.txt").files == ("y/one.jpg",)


def test_a_split_that_matches_nothing(tiny_animal_pose):
    spec = f"animal_pose:{tiny_animal_pose}"
    (tiny_animal_pose / "val.txt").write_text("zebra.jpg\n")
    with pytest.raises(UserError, match=r"none of its 1 names is a picture.*like images/a\.jpg"):
        open_set(spec, split="val.txt")
    (tiny_animal_pose / "val.txt").write_text("# nothing\n")
    with pytest.raises(UserError, match="names no picture"):
        open_set(spec, split="val.txt")
    with pytest.raises(UserError, match=r"split vall\.txt: no such file.*has val\.txt"):
        open_set(spec, split="vall.txt")
    (tiny_animal_pose / "val.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="cannot be read as text"):
        open_set(spec, split="val.txt")


def test_a_split_tells_nothing_of_what_it_leaves_aside(tiny_animal_pose):
    edit(
        tiny_animal_pose / "keypoints.json",
        lambda c: c["annotations"][2].update(bbox=[10, 10, 10, 10]),
    )
    (tiny_animal_pose / "images" / "d.jpg").unlink()
    (tiny_animal_pose / "val.txt").write_text("a.jpg\n")
    assert open_set(f"animal_pose:{tiny_animal_pose}", split="val.txt").problems == ()
    assert len(open_set(f"animal_pose:{tiny_animal_pose}").problems) == 2


# --- groups and folds ------------------------------------------------------------------------


def test_copies_of_a_picture_share_a_group(tiny_animal_pose):
    images = tiny_animal_pose / "images"
    shutil.copy(images / "a.jpg", images / "d.jpg")
    pose_set = open_set(f"animal_pose:{tiny_animal_pose}")
    assert pose_set.groups.tolist() == [0, 1, 2, 0]
    (images / "d.jpg").write_bytes(bytes(reversed((images / "a.jpg").read_bytes())))
    pose_set = open_set(f"animal_pose:{tiny_animal_pose}")
    assert pose_set.groups.tolist() == [0, 1, 2, 3]  # as long, yet not the same


def many(tmp_path, pictures: int):
    file = miniatures.coco(tmp_path)

    def multiply(content):
        one = content["annotations"][0]
        content["images"] = [{"id": i, "file_name": f"{i}.jpg"} for i in range(pictures)]
        content["annotations"] = [{**one, "id": i, "image_id": i} for i in range(pictures - 1)]

    edit(file, multiply)
    pose_set = open_set(f"coco:{file}", pictures=False)
    groups = np.arange(pictures)
    groups[:9] = 0  # one video of nine frames
    groups[20:22] = 20
    return pose_set.__class__(**{**vars(pose_set), "groups": groups})


def test_folds_share_no_group_and_cover_every_animal(tmp_path):
    pose_set = many(tmp_path, 41)
    fold = folds(pose_set, 5, seed=1)
    assert fold[-1] == -1  # the picture without an animal
    assert sorted(set(fold[:-1])) == [0, 1, 2, 3, 4]
    assert len(set(fold[:9])) == 1
    assert fold[20] == fold[21]
    sizes = np.bincount(fold[:-1])
    assert sizes.max() - sizes.min() <= 1 + 1  # even, but for the video
    assert sizes.max() == 9


def test_folds_are_the_same_for_a_seed_and_others_for_another(tmp_path):
    pose_set = many(tmp_path, 41)
    np.testing.assert_array_equal(folds(pose_set, 4, seed=7), folds(pose_set, 4, seed=7))
    assert (folds(pose_set, 4, seed=7) != folds(pose_set, 4, seed=8)).any()


def test_folds_that_cannot_be(tiny_coco):
    pose_set = open_set(f"coco:{tiny_coco}")
    with pytest.raises(UserError, match="at least 2"):
        folds(pose_set, 1)
    with pytest.raises(UserError, match="only 3 groups"):
        folds(pose_set, 4)


def test_opening_a_set_needs_no_torch():
    """Readers are numpy: `tetrapose datasets` answers without loading a framework."""
    for name in ("__init__", "reading", "checks", "naming", "splits.folds", *available()):
        source = inspect.getsource(data) if name == "__init__" else _source(name)
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "torch" not in imported


def _source(name: str) -> str:
    from importlib import import_module

    return inspect.getsource(import_module(f"tetrapose.data.{name}"))
