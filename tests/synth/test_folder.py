"""Written folders: what stands in them, and that nothing but the recipe decides it."""

import json
import shutil

import cv2
import numpy as np
import pytest

from tetrapose import data, skeletons, synth
from tetrapose.errors import UserError
from tetrapose.synth import folder as writing
from tetrapose.synth.points import NAMES, mapping

RECIPE = synth.Recipe(
    count=4,
    seed=3,
    size=(96, 80),
    skeletons=("animal_pose", "akd_cats"),
    hide={"animal_pose": ("withers", "throat")},
    suffix=".png",
)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of four small pictures under two skeletons; not to be changed."""
    folder = tmp_path_factory.mktemp("menagerie") / "made"
    done = synth.carry_out(folder, RECIPE)
    assert (done.pictures, done.rendered) == (4, 4)
    return folder


@pytest.fixture
def copy(written, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(written, tmp_path / "copy")


def test_the_folder_holds_pictures_labels_and_truth(written):
    assert set(contents(written)) == {
        "akd_cats.json", "animal_pose.json", "truth.json",
        *(f"images/{i:06d}.png" for i in range(4)),
    }  # fmt: skip


def test_pictures_and_truth_are_the_renders(written):
    truth = json.loads((written / "truth.json").read_text())
    assert truth["points"] == list(NAMES)
    for index, entry in enumerate(truth["images"]):
        made = synth.render(index, seed=3, size=(96, 80), animals=(1, 3))
        pixels = cv2.imread(str(written / "images" / entry["file_name"]))[..., ::-1]
        np.testing.assert_array_equal(pixels, made.image)
        assert [a["build"] for a in entry["animals"]] == [a.build for a in made.animals]
        for kept, animal in zip(entry["animals"], made.animals, strict=True):
            assert kept["area"] == animal.area
            np.testing.assert_allclose(
                kept["points"], [animal.points[name] for name in NAMES], atol=5e-4
            )
            assert kept["visible"] == [int(animal.visible[name]) for name in NAMES]


def test_label_files_are_coco_and_equal_the_instances(written):
    for name in RECIPE.skeletons:
        skeleton = skeletons.load(name)
        content = json.loads((written / f"{name}.json").read_text())
        assert [c["name"] for c in content["categories"]] == list(synth.builds.names())
        assert all(c["keypoints"] == list(skeleton.names) for c in content["categories"])
        assert np.min([c["skeleton"] for c in content["categories"]]) == 1
        species = {c["id"]: c["name"] for c in content["categories"]}
        rows = iter(content["annotations"])
        hidden = [skeleton.index(point) for point in RECIPE.hide.get(name, ())]
        for index in range(RECIPE.count):
            made = synth.render(index, seed=3, size=(96, 80), animals=(1, 3))
            labels = synth.instances(made, skeleton)
            for n, animal in enumerate(made.animals):
                row = next(rows)
                assert (row["image_id"], row["area"]) == (index + 1, animal.area)
                assert species[row["category_id"]] == animal.build
                x, y, width, height = row["bbox"]
                np.testing.assert_array_equal((x, y, x + width, y + height), labels.bboxes[n])
                points = np.array(row["keypoints"], dtype=float).reshape(-1, 3)
                want = labels.visibility[n].copy()
                want[hidden] = 0
                np.testing.assert_array_equal(points[:, 2], want)
                assert row["num_keypoints"] == (want > 0).sum()
                np.testing.assert_allclose(
                    points[want > 0, :2], labels.keypoints[n][want > 0], atol=5e-4
                )
                assert (points[want == 0] == 0).all()
        assert next(rows, None) is None


def test_hidden_points_stay_in_the_truth(written):
    labels = json.loads((written / "animal_pose.json").read_text())["annotations"]
    withers = skeletons.load("animal_pose").index("withers")
    assert all(entry["keypoints"][3 * withers + 2] == 0 for entry in labels)
    truth = json.loads((written / "truth.json").read_text())
    row = NAMES.index(mapping("animal_pose")["withers"])
    seen = [a["visible"][row] for image in truth["images"] for a in image["animals"]]
    assert sum(seen) > 0
    assert truth["recipe"]["hide"] == {"animal_pose": ["withers", "throat"]}


def test_the_reader_opens_it_without_a_doubt(written):
    pose_set = data.open_set(f"menagerie:{written}/animal_pose.json", sizes=True)
    assert pose_set.problems == ()
    assert pose_set.skeleton.name == "animal_pose"
    assert set(pose_set.species_names) == set(synth.builds.names())
    with pytest.raises(UserError, match=r"choose menagerie:.*akd_cats\.json or .*animal_pose"):
        data.open_set(f"menagerie:{written}")


def test_one_skeleton_opens_by_its_folder(tmp_path):
    synth.write(tmp_path / "made", 1, seed=1, size=64, animals=1, skeletons=["ap10k"])
    assert data.open_set(f"menagerie:{tmp_path / 'made'}").skeleton.name == "ap10k"


def test_again_changes_nothing(copy):
    before = contents(copy)
    assert synth.carry_out(copy, RECIPE).rendered == 0
    assert contents(copy) == before


def test_workers_and_order_change_nothing(written, tmp_path):
    synth.carry_out(tmp_path / "two", RECIPE, workers=2)
    assert contents(tmp_path / "two") == contents(written)


def test_a_lost_picture_is_drawn_again(copy, written):
    (copy / "images" / "000002.png").unlink()
    assert synth.carry_out(copy, RECIPE).rendered == 1
    assert contents(copy) == contents(written)


def test_a_stopped_run_goes_on_and_does_not_show(written, tmp_path, monkeypatch):
    folder = tmp_path / "stopped"
    render, done = writing.render, []

    def stopping(index, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(index)
        return render(index, **options)

    monkeypatch.setattr(writing, "render", stopping)
    with pytest.raises(KeyboardInterrupt):
        synth.carry_out(folder, RECIPE)
    assert not (folder / "truth.json").exists()
    assert not (folder / "animal_pose.json").exists()
    monkeypatch.setattr(writing, "render", render)
    other = synth.Recipe(count=4, seed=4, size=(96, 80))
    with pytest.raises(UserError, match="written with another seed"):
        synth.carry_out(folder, other)
    assert synth.carry_out(folder, RECIPE).rendered == 2
    assert contents(folder) == contents(written)


def test_a_full_disk_leaves_no_half_file(written, tmp_path, monkeypatch):
    folder, replace = tmp_path / "full", writing.os.replace

    def full(source, target):
        if str(target).endswith("000001.png"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(writing.os, "replace", full)
    with pytest.raises(OSError):
        synth.carry_out(folder, RECIPE)
    assert [p.name for p in (folder / "images").glob("*.png")] == ["000000.png"]
    monkeypatch.setattr(writing.os, "replace", replace)
    synth.carry_out(folder, RECIPE)
    assert {p.name for p in (folder / "images").glob("*.png")} == {f"{i:06d}.png" for i in range(4)}


@pytest.mark.parametrize(
    "change, told",
    [
        ({"seed": 4}, "another seed"),
        ({"count": 5}, "another count"),
        ({"hide": {}, "suffix": ".jpg"}, "another hide, suffix"),
    ],
)
def test_other_arguments_are_refused_and_nothing_is_touched(copy, change, told):
    before = contents(copy)
    plain = {key: getattr(RECIPE, key) for key in RECIPE.__dataclass_fields__}
    with pytest.raises(UserError, match=told):
        synth.carry_out(copy, synth.Recipe(**{**plain, **change}))
    assert contents(copy) == before


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        synth.write(tmp_path, 1)
    assert contents(tmp_path) == {"note.txt": b"mine"}
    with pytest.raises(UserError, match="is a file"):
        synth.write(tmp_path / "note.txt", 1)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "truth.json").write_text("[1, 2")
    with pytest.raises(UserError, match="cannot be read"):
        synth.write(tmp_path / "odd", 1)


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"count": 0}, "count 0"),
        ({"count": 1, "size": (8, 8)}, "size 8x8"),
        ({"count": 1, "animals": (3, 1)}, r"animals 3\.\.1"),
        ({"count": 1, "builds": ("yak",)}, "no build yak"),
        ({"count": 1, "poses": ("fly",)}, "no pose fly"),
        ({"count": 1, "skeletons": ("centaur",)}, "no skeleton 'centaur'"),
        ({"count": 1, "hide": {"ap10k": ("neck",)}}, "ap10k are to be hidden"),
        ({"count": 1, "hide": {"animal_pose": ("wither",)}}, "nearest: withers"),
        ({"count": 1, "suffix": ".gif"}, "not .gif"),
    ],
)
def test_wrong_recipes_are_told_in_one_line(wrong, told):
    with pytest.raises(UserError, match=told) as error:
        synth.Recipe(**wrong)
    assert "\n" not in str(error.value)


def test_a_sheet_shows_the_pictures_with_their_points(written):
    sheet = synth.sheet(written, "animal_pose", columns=2)
    assert sheet.shape == (640, 640, 3)
    picture = cv2.imread(str(written / "images" / "000000.png"))[..., ::-1]
    plain = cv2.resize(picture, None, fx=320 / 96, fy=320 / 96, interpolation=cv2.INTER_AREA)
    changed = (sheet[: plain.shape[0], :320] != plain).any(axis=-1)
    assert 0.002 < changed.mean() < 0.5
