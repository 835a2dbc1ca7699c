"""COCO keypoints on any skeleton: by name, there and back, each oddity told."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import miniatures
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from miniatures import ANIMALS, SIZES, edit

from tetrapose import skeletons
from tetrapose.data import coco, naming
from tetrapose.errors import UserError
from tetrapose.skeletons import mapping

COLUMNS = (
    "image_ids", "sizes", "groups", "image_index", "visibility", "crowd", "annotation_ids",
)  # fmt: skip


@pytest.mark.parametrize("skeleton", skeletons.available())
def test_a_clean_set_of_any_skeleton(tmp_path, skeleton):
    pose_set = coco.read(miniatures.coco(tmp_path, skeleton))
    assert pose_set.skeleton.name == skeleton
    assert pose_set.root == tmp_path / "images"
    assert len(pose_set) == 4
    np.testing.assert_array_equal(pose_set.bboxes, [a[1] for a in ANIMALS])
    np.testing.assert_array_equal(pose_set.sizes, list(SIZES.values()))
    assert pose_set.areas[0] == 0.5 * 32 * 38  # as the file says, not the box's
    flags = [0 if i % 3 == 0 else 1 if i % 4 == 0 else 2 for i in range(len(pose_set.skeleton))]
    np.testing.assert_array_equal(pose_set.visibility, [flags] * 4)
    assert np.isnan(pose_set.keypoints[~pose_set.labelled]).all()
    assert pose_set.problems == ()


def test_points_are_taken_by_name_whatever_their_order(tiny_coco):
    plain = coco.read(tiny_coco)
    order = np.random.default_rng(3).permutation(17)

    def shuffle(content):
        for category in content["categories"]:
            category["keypoints"] = [category["keypoints"][i] for i in order]
        for entry in content["annotations"]:
            rows = np.array(entry["keypoints"]).reshape(17, 3)[order]
            entry["keypoints"] = rows.ravel().tolist()

    edit(tiny_coco, shuffle)
    shuffled = coco.read(tiny_coco)
    np.testing.assert_array_equal(shuffled.keypoints, plain.keypoints)
    np.testing.assert_array_equal(shuffled.visibility, plain.visibility)


def test_each_category_has_its_own_order(tiny_coco):
    plain = coco.read(tiny_coco)

    def turn_cats(content):
        cat = content["categories"][1]
        cat["keypoints"].reverse()
        for entry in content["annotations"]:
            if entry["category_id"] == cat["id"]:
                rows = np.array(entry["keypoints"]).reshape(17, 3)[::-1]
                entry["keypoints"] = rows.ravel().tolist()

    edit(tiny_coco, turn_cats)
    np.testing.assert_array_equal(coco.read(tiny_coco).keypoints, plain.keypoints)


def test_aliases_are_names_of_their_skeleton_and_pair_left_with_left():
    for name, table in naming.aliases().items():
        skeleton = skeletons.load(name)
        assert set(table.values()) <= set(skeleton.names)
        for alias, meant in table.items():
            side = {"L": "left", "R": "right"}.get(alias.split("_")[0])
            assert side is None or meant.startswith(side)


# each in the order of its source, beside the official one: three orders of the same points
MMPOSE = [
    "L_Eye",
    "R_Eye",
    "L_EarBase",
    "R_EarBase",
    "Nose",
    "Throat",
    "TailBase",
    "Withers",
    "L_F_Elbow",
    "R_F_Elbow",
    "L_B_Elbow",
    "R_B_Elbow",
    "L_F_Knee",
    "R_F_Knee",
    "L_B_Knee",
    "R_B_Knee",
    "L_F_Paw",
    "R_F_Paw",
    "L_B_Paw",
    "R_B_Paw",
]
OPENPIFPAF = [
    "Nose",
    "L_eye",
    "R_eye",
    "L_ear",
    "R_ear",
    "Throat",
    "Tail",
    "withers",
    "L_F_elbow",
    "R_F_elbow",
    "L_B_elbow",
    "R_B_elbow",
    "L_F_knee",
    "R_F_knee",
    "L_B_knee",
    "R_B_knee",
    "L_F_paw",
    "R_F_paw",
    "L_B_paw",
    "R_B_paw",
]


@pytest.mark.parametrize("spelled", [MMPOSE, OPENPIFPAF], ids=["mmpose", "openpifpaf"])
def test_other_spellings_and_orders_of_animal_pose(tmp_path, spelled):
    file = miniatures.coco(tmp_path, "animal_pose")
    plain = coco.read(file)
    known = naming.aliases()["animal_pose"]
    order = [plain.skeleton.index(known.get(name, name)) for name in spelled]
    assert sorted(order) == list(range(20))

    def respell(content):
        for category in content["categories"]:
            category["keypoints"] = spelled
        for entry in content["annotations"]:
            rows = np.array(entry["keypoints"]).reshape(20, 3)[order]
            entry["keypoints"] = rows.ravel().tolist()

    edit(file, respell)
    read = coco.read(file)
    assert read.skeleton.name == "animal_pose"
    np.testing.assert_array_equal(read.keypoints, plain.keypoints)


def test_openpifpafs_files_name_no_points_and_have_an_order_of_their_own(tmp_path):
    """Read as the official order they would be wrong without a sign; their skeleton tells."""
    file = miniatures.coco(tmp_path, "animal_pose")
    plain = coco.read(file)
    known = naming.aliases()["animal_pose"]
    order = [plain.skeleton.index(known.get(name, name)) for name in OPENPIFPAF]

    def convert(content):
        for category in content["categories"]:
            category["keypoints"] = []
        for entry in content["annotations"]:
            rows = np.array(entry["keypoints"]).reshape(20, 3)[order]
            entry["keypoints"] = rows.ravel().tolist()

    edit(file, convert)
    with pytest.raises(UserError, match="animal_pose_openpifpaf"):
        coco.read(file)
    read = coco.read(file, skeleton="animal_pose_openpifpaf")
    to_official = mapping.between(read.skeleton, plain.skeleton)
    assert (to_official.grade == mapping.EXACT).all()
    np.testing.assert_array_equal(read.keypoints[:, to_official.index], plain.keypoints)


def test_mmposes_own_sample_of_animal_pose(shared_data):
    file = shared_data / "format_samples" / "animalpose" / "test_animalpose.json"
    if not file.exists():
        pytest.skip(f"no sample at {file}")
    pose_set = coco.read(file)
    assert pose_set.skeleton.name == "animal_pose"
    raw = json.loads(file.read_text())
    for row, entry in enumerate(raw["annotations"]):
        names = raw["categories"][0]["keypoints"]
        nose = entry["keypoints"][3 * names.index("Nose") :][:3]
        place = pose_set.keypoints[row, pose_set.skeleton.index("nose")]
        assert nose[2] == 2
        np.testing.assert_allclose(place, nose[:2])


def test_some_categories_alone(tiny_coco):
    pose_set = coco.read(tiny_coco, only="dog,horse")
    assert pose_set.species_names == ("dog", "horse")
    assert [pose_set.species_names[i] for i in pose_set.species] == ["dog", "horse", "dog"]
    assert pose_set.files == ("a.jpg", "b.jpg", "c.jpeg")  # d.jpg shows neither
    assert pose_set.problems == ()
    edit(tiny_coco, lambda c: c["annotations"][1].update(bbox=[5, 5, 0, 9]))
    assert coco.read(tiny_coco, only="dog").problems == ()  # the cat's fault is not told
    with pytest.raises(UserError, match="only=wolf: it has no category 'wolf'; it has dog, cat"):
        coco.read(tiny_coco, only="wolf")


def test_a_skeleton_of_ones_own(tiny_coco, tmp_path):
    def rename(content):
        for category in content["categories"]:
            category["keypoints"] = [f"mark_{i}" for i in range(17)]

    edit(tiny_coco, rename)
    with pytest.raises(UserError, match=r"17 keypoints \(mark_0.* no skeleton at hand.*skeleton="):
        coco.read(tiny_coco)
    own = {
        "name": "marks",
        "source": {"keypoints": "a test"},
        "keypoints": [
            {"name": f"mark_{i}", "part": "trunk", "sigma": 0.05, "site": "a mark"}
            for i in range(17)
        ],
        "edges": [],
    }
    (tmp_path / "marks.yaml").write_text(yaml.safe_dump(own))
    assert coco.read(tiny_coco, skeleton=str(tmp_path / "marks.yaml")).skeleton.name == "marks"
    with pytest.raises(UserError, match="are not ap10k's"):
        coco.read(tiny_coco, skeleton="ap10k")
    with pytest.raises(UserError, match="no skeleton 'ap10'"):
        coco.read(tiny_coco, skeleton="ap10")


def test_categories_without_names_need_the_skeleton_named(tiny_coco):
    plain = coco.read(tiny_coco)
    edit(tiny_coco, lambda c: [category.pop("keypoints") for category in c["categories"]])
    with pytest.raises(UserError, match=r"name no keypoints; add skeleton=NAME \(.*ap10k"):
        coco.read(tiny_coco)
    np.testing.assert_array_equal(coco.read(tiny_coco, skeleton="ap10k").keypoints, plain.keypoints)


def test_categories_on_other_points_are_left_out_once(tiny_coco):
    edit(tiny_coco, lambda c: c["categories"][0].update(keypoints=["tip", "end"]))
    edit(tiny_coco, lambda c: c["categories"].sort(key=lambda category: -category["id"]))
    pose_set = coco.read(tiny_coco)
    assert len(pose_set) == 2
    (problem,) = pose_set.problems
    assert "category dog: its 2 annotations have no keypoints of this skeleton" in str(problem)


# --- there and back --------------------------------------------------------------------------


def test_written_and_read_again_is_the_same(tiny_coco, tmp_path):
    first = coco.read(tiny_coco)
    coco.write(first, tmp_path / "made" / "again.json")
    again = coco.read(tmp_path / "made" / "again.json", images=first.root)
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(again, column), getattr(first, column))
    np.testing.assert_array_equal(again.keypoints, first.keypoints)
    np.testing.assert_array_equal(again.bboxes, first.bboxes)
    np.testing.assert_array_equal(again.areas, first.areas)
    assert again.files == first.files
    assert again.species_names == first.species_names
    assert again.licence == first.licence == "CC0"
    assert again.problems == ()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_places_survive_writing(tiny_coco, tmp_path, data):
    first = coco.read(tiny_coco)
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    keypoints = np.where(
        first.labelled[..., None], draw.uniform(-2000, 8000, first.keypoints.shape), np.nan
    ).astype(np.float32)
    low = draw.uniform(0, 20, (4, 2))
    boxes = np.concatenate([low, low + draw.uniform(1, 15, (4, 2))], axis=1).astype(np.float32)
    coco.write(replace(first, keypoints=keypoints, bboxes=boxes), tmp_path / "again.json")
    again = coco.read(tmp_path / "again.json", images=first.root)
    np.testing.assert_allclose(again.keypoints, keypoints, atol=2e-3)
    np.testing.assert_allclose(again.bboxes, boxes, atol=2e-4)


def test_what_is_written_is_plain_coco(tiny_coco, tmp_path):
    coco.write(coco.read(tiny_coco), tmp_path / "again.json")
    content = json.loads((tmp_path / "again.json").read_text())
    entry, category = content["annotations"][0], content["categories"][0]
    assert set(entry) >= {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "keypoints"}
    assert len(entry["keypoints"]) == 51
    assert entry["keypoints"][:3] == [0, 0, 0]
    assert entry["num_keypoints"] == 11
    assert min(min(edge) for edge in category["skeleton"]) == 1  # edges count from 1
    assert max(max(edge) for edge in category["skeleton"]) == 17


def test_nothing_half_written_is_left(tiny_coco, tmp_path):
    pose_set = coco.read(tiny_coco)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        coco.write(pose_set, tmp_path / "taken" / "out.json")
    bad = replace(pose_set, areas=np.full(4, np.nan))
    with pytest.raises(ValueError):
        coco.write(bad, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


# --- where the pictures are ------------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "images", "data", "..", "../images", "../data"])
def test_pictures_are_found_beside_the_file(tiny_coco, tmp_path, place):
    file = tmp_path / "elsewhere" / "annotations" / "train.json"
    file.parent.mkdir(parents=True)
    file.write_text(tiny_coco.read_text())
    folder = file.parent / place
    folder.mkdir(exist_ok=True, parents=True)
    for picture in (tiny_coco.parent / "images").iterdir():
        (folder / picture.name).write_bytes(picture.read_bytes())
    pose_set = coco.read(file)
    assert pose_set.root == folder.resolve()


def test_pictures_elsewhere_are_named(tiny_coco, tmp_path):
    (tiny_coco.parent / "images").rename(tmp_path / "far")
    with pytest.raises(UserError, match=r"\(such as a\.jpg\) are not beside it.*json:FOLDER"):
        coco.read(tiny_coco)
    assert len(coco.read(f"{tiny_coco}:{tmp_path / 'far'}")) == 4
    assert len(coco.read(tiny_coco, images=tmp_path / "far")) == 4
    assert len(coco.read(tiny_coco, pictures=False)) == 4
    with pytest.raises(UserError, match="nowhere: no such folder; the pictures of"):
        coco.read(tiny_coco, images=tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="none of its 4 pictures is there"):
        coco.read(tiny_coco, images=tmp_path / "bare")


def test_a_folder_for_a_file_is_told(tiny_coco):
    with pytest.raises(UserError, match=r"a folder; name the label file in it \(labels\.json\)"):
        coco.read(tiny_coco.parent)
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        coco.read(tiny_coco.parent / "absent.json")


# --- in bulk and in truth --------------------------------------------------------------------


def test_ten_thousand_animals_open_in_half_a_second(tmp_path):
    """Of processor time, which other work on the machine stretches less; most of it is the JSON."""
    file = miniatures.coco(tmp_path)

    def multiply(content):
        one = content["annotations"][0]
        one["keypoints"] = [int(value) for value in one["keypoints"]]  # as AP-10K's are
        content["annotations"] = [{**one, "id": i} for i in range(10_000)]

    edit(file, multiply)

    def once() -> float:
        start = time.process_time()
        assert len(coco.read(file)) == 10_000
        return time.process_time() - start

    assert min(once() for _ in range(3)) < 0.5


def test_the_real_ap10k_labels(shared_data):
    file = shared_data / "annotations_only" / "ap10k_train.json"
    if not file.exists():
        pytest.skip(f"no AP-10K labels at {file}")
    pose_set = coco.read(file, pictures=False)
    assert (len(pose_set), len(pose_set.files)) == (9122, 7023)
    assert pose_set.skeleton.name == "ap10k"
    assert pose_set.problems == ()


def test_freenets_boxes_are_corners(shared_data):
    file = shared_data / "annotations_only" / "freenet" / "animal_pose_val.json"
    if not file.exists():
        pytest.skip(f"no FreeNet labels at {file}")
    refused = coco.read(file, pictures=False)
    assert len(refused) == 0
    assert "469 of 614 boxes leave their picture" in str(refused.problems[0])
    assert len(coco.read(file, pictures=False, boxes="xyxy")) == 614


@pytest.mark.parametrize(
    "name, skeleton", [("animalpose", "animal_pose"), ("ap10k", "ap10k"), ("zebra", None)]
)
def test_samples_of_other_converters(shared_data, name, skeleton):
    file = shared_data / "format_samples" / name / f"test_{name}.json"
    if not file.exists():
        pytest.skip(f"no sample at {file}")
    if skeleton is None:
        with pytest.raises(UserError, match="no skeleton at hand"):
            coco.read(file)
        return
    pose_set = coco.read(file, sizes=True)
    assert pose_set.skeleton.name == skeleton
    assert len(pose_set) == 2
    assert pose_set.problems == ()
