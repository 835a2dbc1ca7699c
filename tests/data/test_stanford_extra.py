"""StanfordExtra: 24 slots, flags, official parts by place; the repository's own sample."""

from __future__ import annotations

import json

import miniatures_dogs
import numpy as np
import pytest
from miniatures import edit
from miniatures_dogs import BOX, DOGS, SIZE, write

from tetrapose import skeletons
from tetrapose.data import open_set, stanford_extra
from tetrapose.errors import UserError
from tetrapose.skeletons import mapping

FILE = "StanfordExtra_v12.json"


@pytest.fixture
def root(tmp_path):
    return miniatures_dogs.stanford_extra(tmp_path / "extra")


def told(pose_set) -> str:
    return "\n".join(map(str, pose_set.problems))


def test_a_clean_set(root):
    pose_set = open_set(f"stanford_extra:{root}")
    assert pose_set.files == tuple(f"{name}.jpg" for name in DOGS)
    assert pose_set.root == root / "Images"
    assert pose_set.image_index.tolist() == [0, 1, 1]
    assert pose_set.annotation_ids.tolist() == [1, 2, 3]
    assert pose_set.species_names == ("dog",)
    np.testing.assert_array_equal(pose_set.bboxes, [BOX] * 3)
    np.testing.assert_array_equal(pose_set.sizes, [SIZE, SIZE])
    raw = np.array([e["joints"] for e in json.loads((root / FILE).read_text())])
    np.testing.assert_array_equal(pose_set.visibility, raw[..., 2] * 2)
    seen = pose_set.labelled
    np.testing.assert_array_equal(pose_set.keypoints[seen], raw[seen][:, :2])
    assert np.isnan(pose_set.keypoints[~seen]).all()  # placed with flag 0 is not labelled
    assert not seen[:, 20:].any()
    assert pose_set.problems == ()


def test_breeds_parts_and_the_file_by_name(root, tmp_path):
    breeds = open_set(f"stanford_extra:{root / FILE},breeds=true")
    assert breeds.species_names == ("Border terrier", "Rhodesian ridgeback")
    train = stanford_extra.read(root, part="train")
    assert train.annotation_ids.tolist() == [3, 1]
    assert len(stanford_extra.read(root, part="val")) == 1
    with pytest.raises(UserError, match="part=trainval: it is train or val or test"):
        stanford_extra.read(root, part="trainval")
    np.save(root / "val_stanford_StanfordExtra_v12.npy", np.array([3]))
    with pytest.raises(UserError, match="names entry 3, while the label file has 3"):
        stanford_extra.read(root, part="val")
    for odd in (np.array([0.5]), np.array([[1, 2]])):
        np.save(root / "val_stanford_StanfordExtra_v12.npy", odd)
        with pytest.raises(UserError, match="not a list of whole numbers"):
            stanford_extra.read(root, part="val")
    np.save(root / "val_stanford_StanfordExtra_v12.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(UserError, match=r"not a readable \.npy file"):
        stanford_extra.read(root, part="val")
    (root / "val_stanford_StanfordExtra_v12.npy").unlink()
    with pytest.raises(UserError, match=r"no file val_stanford_StanfordExtra_v12\.npy"):
        stanford_extra.read(root, part="val")
    (root / "Images").rename(tmp_path / "dogs")
    with pytest.raises(UserError, match="no folder Images .*images=DIR"):
        stanford_extra.read(root)
    assert len(stanford_extra.read(root, images=tmp_path / "dogs")) == 3
    assert len(stanford_extra.read(root, pictures=False)) == 3
    with pytest.raises(UserError, match="no such folder"):
        stanford_extra.read(root, images=tmp_path / "absent")


def _first(**fields):
    return lambda c: c[0].update(fields)


ODDITIES = {
    "too few joints": (lambda c: c[0]["joints"].pop(), "23 joints, where 24 are due", 2),
    "odd flag": (lambda c: c[0]["joints"][3].__setitem__(2, 2.0), "joint flag 2.0", 2),
    "joint of two": (lambda c: c[0]["joints"].__setitem__(3, [1, 2]), "cannot be read", 2),
    "joint null": (lambda c: c[0]["joints"].__setitem__(3, None), "cannot be read", 2),
    "joint NaN": (
        lambda c: c[0]["joints"].__setitem__(4, [float("nan"), 3, 1]),
        "left_rear_middle: labelled, yet not finite",
        3,
    ),
    "no box": (lambda c: c[0].pop("img_bbox"), "'img_bbox' is missing", 2),
    "box of three": (_first(img_bbox=[1, 2, 3]), "the box has 3 numbers", 2),
    "box empty": (_first(img_bbox=[5, 5, 0, 9]), "is empty", 2),
    "no picture": (lambda c: c[0].pop("img_path"), "'img_path' is missing", 2),
    "picture missing": (_first(img_path="x/gone.jpg"), "picture x/gone.jpg: missing", 2),
    "no size": (lambda c: c[0].pop("img_width"), "'img_width' is missing", 2),
    "entry no object": (lambda c: c.__setitem__(0, 3), "an object with named fields is due", 2),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(root, name):
    spoil, words, left = ODDITIES[name]
    edit(root / FILE, spoil)
    pose_set = stanford_extra.read(root)
    assert words in told(pose_set)
    assert len(pose_set) == left


def test_wrong_layouts(root, tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        stanford_extra.read(tmp_path / "absent")
    with pytest.raises(UserError, match=r"lacks StanfordExtra_v12\.json; due is FOLDER"):
        stanford_extra.read(root / "Images")
    write(root / FILE, "{}")
    with pytest.raises(UserError, match="not StanfordExtra's labels"):
        stanford_extra.read(root)
    (root / FILE).unlink()
    for name in ("StanfordExtra_a.json", "StanfordExtra_b.json"):
        write(root / name, "[]")
    with pytest.raises(UserError, match="holds 2 label files; choose stanford_extra:"):
        stanford_extra.read(root)


def test_its_points_are_animal_poses_by_place():
    """keypoint_definitions.csv gives each point's name in Animal-Pose, or none."""
    ours, theirs = skeletons.load("stanford_extra"), skeletons.load("animal_pose")
    found = mapping.between(ours, theirs)
    assert (found.grade == mapping.EXACT).all()
    assert found.lost == ("tail_end", "chin", "left_ear_tip", "right_ear_tip")
    pairs = dict(zip(theirs.names, (ours.names[i] for i in found.index), strict=True))
    assert pairs["left_front_knee"] == "left_front_middle"
    assert pairs["right_back_elbow"] == "right_rear_top"


def test_the_repositorys_own_sample(shared_data):
    folder = shared_data / "stanford_extra_sample"
    if not folder.is_dir():
        pytest.skip(f"no sample at {folder}")
    pose_set = stanford_extra.read(folder, sizes=True)
    assert len(pose_set) == 25
    assert pose_set.labelled.sum() == 383
    assert not [problem for problem in pose_set.problems if problem.left_out]
    inside = pose_set.keypoints[pose_set.labelled]
    assert (inside >= 0).all()
    breeds = stanford_extra.read(folder, breeds=True)
    assert "golden retriever" in breeds.species_names
    lines = (folder / "keypoint_definitions.csv").read_text().splitlines()[1:]
    names = [line.split(",")[1] for line in lines]
    from tetrapose.data import naming

    order = naming.order_in(pose_set.skeleton, names)
    assert order is not None
    assert order.tolist() == list(range(24))
