"""TigDog: the nesting of its MATLAB files, two raw orders, videos as groups, FreeNet's form."""

from __future__ import annotations

import builtins
import json

import miniatures_dogs
import numpy as np
import pytest
from miniatures_dogs import save_mat, save_shot, tigdog_landmarks

from tetrapose.data import open_set, tigdog, tigdog_coco
from tetrapose.errors import UserError
from tetrapose.geometry import points_box


@pytest.fixture
def root(tmp_path):
    return miniatures_dogs.tigdog(tmp_path / "behaviorDiscovery2.0")


def told(pose_set, *, left_out: bool = True) -> str:
    return "\n".join(str(p) for p in pose_set.problems if p.left_out == left_out)


def test_the_miniature_has_the_nesting_that_readers_of_the_release_rely_on(root):
    """landmarks[frame][0][0][0][0] and [1], as CC-SSL and FreeNet take the release apart."""
    from scipy.io import loadmat

    cells = loadmat(root / "landmarks" / "horse" / "3.mat")["landmarks"]
    frame = cells[1][0][0][0]
    np.testing.assert_array_equal(frame[0], tigdog_landmarks(8)["positions"])
    np.testing.assert_array_equal(frame[1], tigdog_landmarks(8)["visibility"])


def test_a_clean_set(root):
    pose_set = tigdog.read(root, animal="horse")
    assert pose_set.skeleton.name == "tigdog_horse"
    assert pose_set.species_names == ("horse",)
    assert pose_set.files[0] == "horse/00000007.jpg"
    assert len(pose_set.files) == 5
    assert pose_set.image_index.tolist() == [0, 1, 2, 3]  # the last frame has no labelled point
    first = tigdog_landmarks(7)
    seen = first["visibility"][:, 0] > 0
    np.testing.assert_array_equal(pose_set.visibility[0], np.where(seen, 2, 0))
    np.testing.assert_array_equal(pose_set.keypoints[0][seen], first["positions"][seen])
    assert np.isnan(pose_set.keypoints[0][~seen]).all()
    assert told(pose_set) == ""
    assert "1 of 3 shots have no landmarks, first 40.mat" in told(pose_set, left_out=False)


def test_horse_and_tiger_have_two_raw_orders(root):
    """FreeNet and CC-SSL exchange raw 8-11 with 14-17 of tigers: places and flags alike."""
    from scipy.io import loadmat

    for animal in ("horse", "tiger"):
        pose_set = tigdog.read(root, animal=animal)
        cells = loadmat(root / "landmarks" / animal / "3.mat")["landmarks"]
        places, flags = (cells[0][0][0][0][i].copy() for i in (0, 1))
        if animal == "tiger":
            ccssl = [*range(1, 9), *range(15, 19), 13, 14, *range(9, 13), 19]  # from 1
            places, flags = places[np.array(ccssl) - 1], flags[np.array(ccssl) - 1]
        seen = flags[:, 0] > 0
        np.testing.assert_array_equal(pose_set.visibility[0] > 0, seen)
        np.testing.assert_array_equal(pose_set.keypoints[0][seen], places[seen])
    raw = loadmat(root / "landmarks" / "tiger" / "3.mat")["landmarks"][0][0][0][0][0]
    tiger = tigdog.read(root, animal="tiger")
    names = tiger.skeleton.names
    assert names[8:10] == ("left_front_ankle", "right_front_ankle")
    place = tiger.keypoints[0, names.index("left_front_ankle")]
    np.testing.assert_array_equal(place, raw[14])


def test_a_box_is_the_tight_one_grown_by_half_and_cut_at_the_picture(root):
    pose_set = tigdog.read(root, animal="horse")
    tight = points_box(pose_set.keypoints)
    low, high = tight[:, :2], tight[:, 2:]
    grown = np.concatenate([low - (high - low) / 4, high + (high - low) / 4], axis=1)
    border = np.array([-0.5, -0.5, 63.5, 47.5])
    expected = np.concatenate(
        [np.maximum(grown[:, :2], border[:2]), np.minimum(grown[:, 2:], border[2:])], axis=1
    )
    np.testing.assert_allclose(pose_set.bboxes, expected, atol=1e-4)
    assert (pose_set.bboxes[:, 3] == 47.5).any()  # the cut is put to the test
    uncut = tigdog.read(root, animal="horse", pictures=False)
    assert (uncut.bboxes[:, 3] > 47.5).any()
    assert (uncut.bboxes[:, :2] >= -0.5).all()
    np.testing.assert_array_equal(pose_set.sizes, [miniatures_dogs.SIZE] * 5)


def test_a_video_is_a_group_that_no_split_cuts(root):
    pose_set = tigdog.read(root, animal="horse")
    assert len(set(pose_set.groups[:3])) == 1
    assert len(set(pose_set.groups[3:])) == 1
    assert len(set(pose_set.groups)) == 2
    same = (root / "horse" / "00000007.jpg").read_bytes()
    (root / "horse" / "00000017.jpg").write_bytes(same)
    assert len(set(tigdog.read(root, animal="horse").groups)) == 1  # two videos share a picture


def test_the_folder_above_and_a_release_of_one_animal(root):
    assert len(open_set(f"tigdog:{root.parent},animal=tiger")) == 4
    with pytest.raises(UserError, match="holds horse and tiger, whose points differ; add animal="):
        tigdog.read(root)
    (root / "ranges" / "horse" / "ranges.mat").unlink()
    (root / "ranges" / "horse").rmdir()
    assert tigdog.read(root).species_names == ("tiger",)
    with pytest.raises(UserError, match="animal=cow: it is horse or tiger"):
        tigdog.read(root, animal="cow")
    with pytest.raises(UserError, match=r"lacks ranges/horse/ranges\.mat; due is"):
        tigdog.read(root, animal="horse")


def test_wrong_layouts_are_told_from_missing_ones(root, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        tigdog.read(tmp_path / "absent", animal="horse")
    with pytest.raises(UserError, match="lacks ranges and landmarks; due is FOLDER/ranges"):
        tigdog.read(root / "horse", animal="horse")
    for picture in (root / "horse").iterdir():
        picture.unlink()
    with pytest.raises(UserError, match="none of its 5 pictures is there"):
        tigdog.read(root, animal="horse")
    (root / "horse").rmdir()
    with pytest.raises(UserError, match="lacks horse; due is"):
        tigdog.read(root, animal="horse")
    assert len(tigdog.read(root, animal="horse", pictures=False)) == 4


@pytest.mark.parametrize(
    "spoil, words, left",
    [
        (lambda f: f.write_bytes(b""), "3.mat: the file is empty", 1),
        (lambda f: f.write_bytes(f.read_bytes()[:300]), "3.mat: not a readable MATLAB file", 1),
        (lambda f: f.write_text("MATLAB, it says here" * 20), "3.mat: not a readable MATLAB", 1),
        (lambda f: save_mat(f, {"other": 1}), "3.mat: holds no cells landmarks", 1),
        (lambda f: save_mat(f, {"landmarks": np.zeros(3)}), "holds no cells landmarks", 1),
        (
            lambda f: save_shot(f, [tigdog_landmarks(1)] * 2),
            "3.mat: 2 frames, where the shot's range has 3",
            1,
        ),
        (
            lambda f: save_shot(f, [tigdog_landmarks(1), np.zeros((0, 0)), tigdog_landmarks(2)]),
            "3.mat: frame 8: a structure of places and flags is due",
            3,
        ),
        (
            lambda f: save_shot(
                f,
                [
                    tigdog_landmarks(1),
                    tigdog_landmarks(2),
                    {"a": np.zeros((18, 2)), "b": np.zeros((18, 1))},
                ],
            ),
            "frame 9: places (18, 2) and 18 flags, where (19, 2) and 19 are due",
            3,
        ),
    ],
)
def test_a_bad_file_or_frame_is_told_and_the_rest_is_read(root, spoil, words, left):
    spoil(root / "landmarks" / "horse" / "3.mat")
    pose_set = tigdog.read(root, animal="horse")
    assert words in told(pose_set)
    assert len(pose_set) == left


def test_points_that_are_no_place(root):
    frames = [tigdog_landmarks(i) for i in (7, 8, 9)]
    frames[0]["positions"][2] = np.nan
    frames[1]["visibility"][:] = 0
    frames[1]["visibility"][5] = 1
    save_shot(root / "landmarks" / "horse" / "3.mat", frames)
    pose_set = tigdog.read(root, animal="horse")
    assert "chin: labelled, yet not finite" in told(pose_set)
    assert "is empty" in told(pose_set)  # one point makes no box
    assert len(pose_set) == 3
    assert np.isfinite(pose_set.bboxes).all()


def test_a_broken_table_of_shots(root):
    path = root / "ranges" / "horse" / "ranges.mat"
    for content, words in (
        ({"ranges": np.zeros((3, 2))}, "no table ranges"),
        ({"x": 1}, "no table ranges"),
        ({"ranges": np.array([[3, 9, 7]])}, "ends before it begins"),
        ({"ranges": np.array([[77, 1, 2]])}, "holds no landmarks of the 1 shots"),
    ):
        save_mat(path, content)
        with pytest.raises(UserError, match=words):
            tigdog.read(root, animal="horse")
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(UserError, match=r"ranges\.mat: "):
        tigdog.read(root, animal="horse")


def test_without_scipy_the_extra_is_named(root, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"needs SciPy: pip install 'tetrapose\[readers\]'"):
        tigdog.read(root, animal="horse")


def test_missing_frames_are_told(root):
    (root / "horse" / "00000008.jpg").unlink()
    pose_set = tigdog.read(root, animal="horse")
    assert len(pose_set) == 3
    assert "picture horse/00000008.jpg: missing" in told(pose_set)


# --- corrections ------------------------------------------------------------------------------

EXCHANGED = {
    1: {12: 13, 13: 12},
    2: {16: 17, 17: 16},
    3: {12: 13, 13: 12, 16: 17, 17: 16},
}


@pytest.mark.parametrize("kind", EXCHANGED)
def test_a_correction_exchanges_left_and_right(root, tmp_path, kind):
    plain = tigdog.read(root, animal="tiger")
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps([{"file_name": "tiger/00127339.jpg", "error_type": kind}]))
    mended = tigdog.read(root, animal="tiger", corrections=file)
    order = [EXCHANGED[kind].get(i, i) for i in range(19)]
    np.testing.assert_array_equal(mended.keypoints[1], plain.keypoints[1][order])
    np.testing.assert_array_equal(mended.visibility[1], plain.visibility[1][order])
    for row in (0, 2, 3):
        np.testing.assert_array_equal(mended.keypoints[row], plain.keypoints[row])


@pytest.mark.parametrize(
    "content, words",
    [
        ({}, "a list of corrections is due"),
        ([{"id": 3, "error_type": 4}], "entry 1 is no correction"),
        ([{"error_type": 1}], "entry 1 is no correction"),
        ([3], "entry 1 is no correction"),
        ([{"id": 3, "error_type": 1}], "by id, which the MATLAB files do not have"),
    ],
)
def test_a_list_that_is_none(root, tmp_path, content, words):
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        tigdog.read(root, animal="tiger", corrections=file)


def test_a_correction_of_another_part_is_a_doubt(root, tmp_path):
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps([{"file_name": "00000001.jpg", "error_type": 1}]))
    pose_set = tigdog.read(root, animal="tiger", corrections=file)
    assert "00000001.jpg: the set has no such annotation" in told(pose_set, left_out=False)


# --- FreeNet's COCO form ----------------------------------------------------------------------


def freenet(root, folder):
    """A file as tools/json_convert.py writes it: both animals, one order, no keypoint names."""
    images, annotations = [], []
    for category, animal in ((1, "horse"), (2, "tiger")):
        pose_set = tigdog.read(root, animal=animal)
        for row in range(len(pose_set)):
            number = len(images) + 1
            points = np.nan_to_num(pose_set.keypoints[row]).astype(int)
            flags = (pose_set.visibility[row] > 0).astype(int)
            x1, y1, x2, y2 = (int(v) for v in pose_set.bboxes[row])
            name = pose_set.files[pose_set.image_index[row]]
            images.append({"id": number, "file_name": name, "width": 64, "height": 48})
            annotations.append(
                {
                    "id": 100 + number,
                    "image_id": number,
                    "category_id": category,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "keypoints": np.column_stack([points, flags]).ravel().tolist(),
                    "visible": flags.tolist(),
                    "num_keypoints": int(flags.sum()),
                }
            )
    categories = [{"id": 1, "name": "horse"}, {"id": 2, "name": "tiger"}]
    file = folder / "tigdog_val.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize("animal", tigdog.ANIMALS)
def test_freenets_form_is_the_release_in_whole_pixels(root, animal):
    file = freenet(root, root)
    plain = tigdog.read(root, animal=animal)
    read = open_set(f"tigdog_coco:{file},animal={animal}")
    assert read.skeleton.name == f"tigdog_{animal}"
    assert read.species_names == (animal,)
    assert read.source == "tigdog_coco"
    np.testing.assert_array_equal(read.visibility, plain.visibility)
    np.testing.assert_array_equal(read.keypoints, np.floor(plain.keypoints))
    assert [read.files[i] for i in read.image_index] == [plain.files[i] for i in plain.image_index]
    assert read.problems == ()


def test_freenets_corrections_go_by_id(root, tmp_path):
    file = freenet(root, root)
    plain = tigdog_coco.read(file, animal="tiger")
    number = int(plain.annotation_ids[2])
    listed = tmp_path / "errorLandmarks_val_error_type.json"
    listed.write_text(json.dumps([{"id": number, "error_type": 3}, {"id": 5, "error_type": 1}]))
    mended = tigdog_coco.read(file, animal="tiger", corrections=listed)
    order = [EXCHANGED[3].get(i, i) for i in range(19)]
    np.testing.assert_array_equal(mended.keypoints[2], plain.keypoints[2][order])
    np.testing.assert_array_equal(mended.keypoints[0], plain.keypoints[0])
    assert ": 5: the set has no such annotation" in told(mended, left_out=False)


def test_freenets_form_wants_an_animal(root):
    file = freenet(root, root)
    with pytest.raises(UserError, match="it is missing; add animal=horse or animal=tiger"):
        tigdog_coco.read(file)
    with pytest.raises(UserError, match="animal=cow: there is no such animal"):
        tigdog_coco.read(file, animal="cow")
