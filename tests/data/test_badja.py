"""BADJA's layout: rows before columns, frames of another size than the labels', masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from miniatures import edit, paint
from PIL import Image

from tetrapose.data import badja, open_set
from tetrapose.errors import UserError

FULL, SMALL = (1920, 1080), (854, 480)


def frame(name: str, seed: int, folder: str = "DAVIS") -> dict:
    """All annotated joints placed within 400..800, every fourth hidden, joint 9 unlabelled."""
    places = np.random.default_rng(seed).integers(400, 800, (37, 2))
    joints, shown = [[0, 0]] * 37, [False] * 37
    for order, joint in enumerate(badja.JOINTS):
        joints[joint] = places[joint].tolist()
        shown[joint] = order % 4 > 0
    joints[9], shown[9] = [0, 0], False
    kind = "JPEGImages", "Annotations"
    if folder == "DAVIS":
        paths = [f"DAVIS/{part}/Full-Resolution/{name}" for part in kind]
    else:
        paths = [f"extra_videos/{part}/{name}" for part in kind]
    return {
        "image_path": f"{paths[0]}.jpg",
        "segmentation_path": f"{paths[1]}.png",
        "joints": joints,
        "visibility": shown,
    }


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Two frames of a DAVIS dog with masks, one that is absent, one of an own video, no mask."""
    root = tmp_path / "badja"
    (root / "joint_annotations").mkdir(parents=True)
    dog = [frame(f"dog/{i:05}", i) for i in (0, 5, 10)]
    own = [frame("rs_dog/0000", 3, "extra_videos")]
    for name, content in (("dog", dog), ("rs_dog", own)):
        (root / "joint_annotations" / f"{name}.json").write_text(json.dumps(content))
    for i in (0, 5):
        paint(root / f"JPEGImages/480p/dog/{i:05}.jpg", SMALL, i)
        mask = np.zeros((480, 854), dtype=np.uint8)
        mask[100:400, 150:400] = 255
        path = root / f"Annotations/480p/dog/{i:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    paint(root / "extra_videos/JPEGImages/rs_dog/0000.jpg", (900, 850), 9)
    return root


def test_rows_come_before_columns_and_are_scaled_to_the_frame(tiny):
    pose_set = badja.read(tiny)
    raw = json.loads((tiny / "joint_annotations/dog.json").read_text())[0]["joints"]
    row, column = raw[33]
    nose = pose_set.keypoints[0, pose_set.skeleton.index("nose")]
    expected = [(column + 0.5) * 854 / 1920 - 0.5, (row + 0.5) * 480 / 1080 - 0.5]
    np.testing.assert_allclose(nose, expected, rtol=1e-5)
    row, column = json.loads((tiny / "joint_annotations/rs_dog.json").read_text())[0]["joints"][33]
    own = pose_set.keypoints[2, pose_set.skeleton.index("nose")]
    np.testing.assert_array_equal(own, [column, row])  # their own videos are at hand as labelled


def test_placed_without_being_visible_is_hidden_and_the_corner_is_unlabelled(tiny):
    flags = badja.read(tiny).visibility[0]
    expected = np.where(np.arange(21) % 4 > 0, 2, 1)
    expected[1] = 0
    np.testing.assert_array_equal(flags, expected)


def test_the_box_is_what_the_mask_covers_and_the_area_its_pixels(tiny):
    pose_set = badja.read(tiny)
    np.testing.assert_array_equal(pose_set.bboxes[0], [149.5, 99.5, 399.5, 399.5])
    assert pose_set.areas[0] == 250 * 300
    told = [str(p) for p in pose_set.problems if not p.left_out]
    assert len(told) == 1
    assert "rs_dog.json: 1 frames without a mask" in told[0]
    low, high = pose_set.bboxes[2, :2], pose_set.bboxes[2, 2:]
    points = pose_set.keypoints[2][pose_set.labelled[2]]
    assert (points > low).all()
    assert (points < high).all()


def test_of_several_objects_the_one_under_the_points_is_taken(tiny):
    mask = np.zeros((480, 854), dtype=np.uint8)
    mask[10:470, 500:850] = 1  # a larger rider elsewhere
    mask[150:380, 160:380] = 2
    Image.fromarray(mask).save(tiny / "Annotations/480p/dog/00000.png")
    np.testing.assert_array_equal(badja.read(tiny).bboxes[0], [159.5, 149.5, 379.5, 379.5])


def test_a_sequence_is_one_group_and_its_name_tells_the_species(tiny):
    pose_set = badja.read(tiny)
    assert len(set(pose_set.groups.tolist())) == 2
    assert pose_set.groups[0] == pose_set.groups[1] != pose_set.groups[2]
    assert {pose_set.species_names[i] for i in pose_set.species} == {"dog"}
    (tiny / "joint_annotations/dog.json").rename(tiny / "joint_annotations/red_fox2.json")
    renamed = badja.read(tiny)
    assert renamed.species_names[renamed.species[0]] == "red fox"
    assert any("species of this sequence is not known" in p.what for p in renamed.problems)


def test_frames_that_are_not_at_hand_are_told(tiny):
    pose_set = badja.read(tiny)
    assert len(pose_set) == 3
    left_out = [p for p in pose_set.problems if p.left_out]
    assert len(left_out) == 1
    assert "dog/00010.jpg" in left_out[0].where
    labels = badja.read(tiny, pictures=False)
    assert len(labels) == 4
    row, column = json.loads((tiny / "joint_annotations/dog.json").read_text())[0]["joints"][33]
    nose = labels.keypoints[0, labels.skeleton.index("nose")]
    np.testing.assert_array_equal(nose, [column, row])


ODDITIES = {
    "a joint short": (lambda e: e["joints"].pop(), "36 values for joints, where 37 are due"),
    "no visibility": (lambda e: e.pop("visibility"), "the field 'visibility' is missing"),
    "words": (lambda e: e["joints"].__setitem__(8, ["a", "b"]), "cannot be read"),
    "a flag of 3": (lambda e: e["visibility"].__setitem__(8, 3), "visibility 3"),
    "out of the folder": (lambda e: e.update(image_path="../../x.jpg"), "leads out of the folder"),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(tiny, name):
    spoil, told = ODDITIES[name]
    edit(tiny / "joint_annotations/dog.json", lambda content: spoil(content[0]))
    pose_set = badja.read(tiny)
    assert len(pose_set) == 2
    (problem,) = [p for p in pose_set.problems if "frame number 1" in p.where]
    assert told in problem.what


def test_a_broken_picture_and_a_broken_mask_are_told(tiny):
    (tiny / "JPEGImages/480p/dog/00000.jpg").write_bytes(b"no picture")
    (tiny / "Annotations/480p/dog/00005.png").write_bytes(b"no picture")
    pose_set = badja.read(tiny)
    assert len(pose_set) == 2
    told = " ".join(map(str, pose_set.problems))
    assert "00000.jpg" in told
    assert "dog.json: 1 frames without a mask" in told


def test_another_layout_is_refused_as_such(tiny, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        badja.read(tmp_path / "absent")
    for file in (tiny / "joint_annotations").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"holds no \.json file"):
        badja.read(tiny)
    (tiny / "joint_annotations/dog.json").write_text("{}")
    with pytest.raises(UserError, match="a list of frames is due"):
        open_set(f"badja:{tiny}")


def test_the_real_set(shared_data):
    folder = shared_data / "badja"
    if not folder.is_dir():
        pytest.skip(f"no BADJA at {folder}")
    pose_set = badja.read(folder)
    assert (len(pose_set), len(pose_set.files)) == (12, 12)
    assert (pose_set.sizes == SMALL).all()
    points = np.where(pose_set.labelled[..., None], pose_set.keypoints, np.nan)
    low, high = pose_set.bboxes[:, None, :2] - 8, pose_set.bboxes[:, None, 2:] + 8
    inside = ((points >= low) & (points <= high)).all(axis=-1)
    assert inside[pose_set.labelled].mean() > 0.98  # masks and scaled joints are of one picture
    labels = badja.read(folder, pictures=False)
    assert len(labels) == 304
    assert labels.labelled.sum(axis=0)[labels.skeleton.index("chin")] == 270
