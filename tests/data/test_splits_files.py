"""Split files: written, read, asked for by part, and refused for other labels."""

from __future__ import annotations

import json
from dataclasses import replace

import miniatures
import numpy as np
import pytest
from drawn_sets import drawn_set, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import edit

from tetrapose.data import open_set
from tetrapose.data.splits import files, recipes
from tetrapose.data.splits.digest import digest
from tetrapose.data.splits.files import Part, Shown, SplitFile
from tetrapose.errors import UserError

names = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=4).map(tuple)
ids = st.lists(st.integers(-(2**53), 2**53), max_size=4).map(tuple)
blocks = st.builds(Shown, st.text(max_size=5), names, ids)
parts = st.builds(
    Part, st.none() | names, st.none() | ids, st.none() | st.lists(blocks, max_size=3).map(tuple)
)


@pytest.fixture
def spec(tiny_coco) -> str:
    return f"coco:{tiny_coco}"


@pytest.fixture
def split(spec, tmp_path):
    """A split of the small COCO set: a.jpg with its first animal, b.jpg; only some points shown."""
    made = recipes.make(open_set(spec), "fraction", spec=spec)
    shown = (
        Shown("front", ("neck", "left_shoulder"), (100,)),
        Shown("more", ("right_eye",), (102,)),
    )
    contents = {
        "one": Part(("a.jpg", "b.jpg"), (100, 102), shown),
        "two": Part(("c.jpeg",)),
        "pool": Part(),
        "blind": Part(None, None, ()),
    }
    path = tmp_path / "split.json"
    files.write(SplitFile("own", {}, 0, made.source, contents), path)
    return path


@settings(max_examples=30)
@given(st.dictionaries(st.text(min_size=1, max_size=5), parts, min_size=1, max_size=3))
def test_what_is_written_is_read(tmp_path_factory, contents):
    path = tmp_path_factory.mktemp("split") / "s.json"
    made = SplitFile("ratio", {"shares": "9:1"}, 3, {"digest": "ab"}, contents, {"reached": [1]})
    files.write(made, path)
    assert files.load(path) == made


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_every_recipe_survives_its_file(recipe, tmp_path):
    options = {"25-to-5": {"many": 5, "few": 2}}.get(recipe, {})
    made = recipes.make(drawn_set(4), recipe, seed=2, options=options, spec="drawn")
    files.write(made, tmp_path / "s.json")
    read = files.load(tmp_path / "s.json")
    assert read.parts == made.parts
    assert (read.recipe, read.seed, read.source) == (recipe, 2, made.source)
    assert set(read.options) == set(recipes.options_of(recipe))


def test_a_file_is_the_same_to_the_byte(tmp_path):
    for name, pose_set in (("a", drawn_set(4)), ("b", shuffled(drawn_set(4), 9))):
        files.write(recipes.make(pose_set, "front-back", seed=2), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# --- opening a set through one ---------------------------------------------------------------


def test_a_part_keeps_pictures_animals_and_points(spec, split):
    whole, part = open_set(spec), open_set(spec, split=f"{split}:one")
    assert part.files == ("a.jpg", "b.jpg")
    assert part.annotation_ids.tolist() == [100, 102]
    known = whole.skeleton
    for i, shows in enumerate((("neck", "left_shoulder"), ("right_eye",))):
        row = int(np.flatnonzero(whole.annotation_ids == part.annotation_ids[i])[0])
        wanted = whole.labelled[row] & np.isin(known.names, shows)
        assert wanted.any()
        assert (part.labelled[i] == wanted).all()
        np.testing.assert_array_equal(part.keypoints[i, wanted], whole.keypoints[row, wanted])
        assert np.isnan(part.keypoints[i, ~wanted]).all()
        np.testing.assert_array_equal(part.bboxes[i], whole.bboxes[row])
    assert part.problems == ()
    assert part.digest == whole.digest


def test_parts_and_lists_come_together(spec, split, tmp_path):
    assert open_set(spec, split=f"{split}:one+two").files == ("a.jpg", "b.jpg", "c.jpeg")
    assert open_set(spec, split=[f"{split}:two", f"{split}:one"]).annotation_ids.tolist() == [
        100, 102, 103,
    ]  # fmt: skip
    (tmp_path / "list.txt").write_text("a.jpg\n")
    both = open_set(spec, split=[f"{split}:one", tmp_path / "list.txt"])
    assert both.annotation_ids.tolist() == [100, 101, 102]
    whole = open_set(spec)
    assert (both.labelled[:2] == whole.labelled[:2]).all()  # the list hides nothing of a.jpg
    assert both.labelled[2].sum() == 1


def test_all_and_nothing_shown(spec, split):
    assert len(open_set(spec, split=f"{split}:pool")) == 4
    blind = open_set(spec, split=f"{split}:blind")
    assert len(blind) == 4
    assert not blind.labelled.any()


def test_a_bare_name_lies_in_the_sets_folder(spec, split, tiny_coco):
    split.rename(tiny_coco.parent / "mine.json")
    assert open_set(spec, split="mine.json:two").files == ("c.jpeg",)
    with pytest.raises(UserError, match=r"split mein\.json: no such file; .*has mine\.json"):
        open_set(spec, split="mein.json:two")


def test_only_one_part_needs_no_name(spec, split):
    content = json.loads(split.read_text())
    content["parts"] = {"two": content["parts"]["two"]}
    split.write_text(json.dumps(content))
    assert open_set(spec, split=split).files == ("c.jpeg",)


@pytest.mark.parametrize(
    "asked, told",
    [
        ("", r"has the parts one, two, pool, blind; choose with .*split\.json:one"),
        (":three", "no part 'three'; it has one, two"),
        (":one+three", "no part 'three'"),
        (":one:whatever", "'whatever' means nothing here"),
    ],
)
def test_a_part_has_to_be_named_rightly(spec, split, asked, told):
    with pytest.raises(UserError, match=told):
        open_set(spec, split=f"{split}{asked}")


# --- other labels ----------------------------------------------------------------------------


def changes():
    def moved(content):
        content["annotations"][0]["keypoints"][3] += 0.5

    def flag(content):
        content["annotations"][0]["keypoints"][5] = 1

    return {
        "moved": moved,
        "flag": flag,
        "box": lambda c: c["annotations"][3]["bbox"].__setitem__(2, 9),
        "fewer": lambda c: c["annotations"].pop(0),
        "species": lambda c: c["annotations"][0].update(category_id=2),
        "renamed": lambda c: c["images"][0].update(file_name="d.jpg"),
    }


@pytest.mark.parametrize("change", changes().values(), ids=changes())
def test_a_split_of_other_labels_is_refused(spec, split, tiny_coco, change):
    edit(tiny_coco, change)
    with pytest.raises(UserError, match=r"was made from other labels .*add :anyway after the part"):
        open_set(spec, split=f"{split}:two")
    assert open_set(spec, split=f"{split}:two:anyway").files == ("c.jpeg",)


def test_taken_anyway_what_is_gone_is_told(spec, split, tiny_coco):
    edit(tiny_coco, lambda c: c["annotations"].pop(0))
    part = open_set(spec, split=f"{split}:one:anyway")
    assert part.annotation_ids.tolist() == [102]
    (problem,) = part.problems
    assert str(problem).startswith(f"{split}: annotation 100: the set has no such annotation")


def test_order_form_and_place_of_labels_are_no_change(spec, split, tiny_coco, tmp_path):
    def reorder(content):
        content["annotations"].reverse()
        content["images"].reverse()
        content["categories"].reverse()
        content["info"] = {"description": "edited"}

    edit(tiny_coco, reorder)
    assert len(open_set(spec, split=f"{split}:one")) == 2
    moved = tiny_coco.parent.rename(tmp_path / "elsewhere") / tiny_coco.name
    assert len(open_set(f"coco:{moved}", split=f"{split}:one")) == 2


def test_missing_and_unusable_entries_do_not_change_the_digest(spec, split, tiny_coco):
    """What the checks leave out depends on the machine; what the file says does not."""
    (tiny_coco.parent / "images" / "d.jpg").unlink()
    assert open_set(spec).digest == open_set(spec, pictures=False).digest
    assert open_set(spec, sizes=True).digest == open_set(spec, split=f"{split}:two").digest


def test_a_converted_set_keeps_its_digest(tiny_animal_pose, tmp_path):
    from tetrapose.data import coco

    pose_set = open_set(f"animal_pose:{tiny_animal_pose}")
    coco.write(pose_set, tmp_path / "new.json")
    again = open_set(f"coco:{tmp_path / 'new.json'}:{tiny_animal_pose}")
    assert again.digest == pose_set.digest


@settings(max_examples=20)
@given(st.integers(0, 999), st.integers(0, 999))
def test_a_digest_is_of_the_labels_alone(seed, order):
    pose_set = drawn_set(seed % 7)
    assert digest(shuffled(pose_set, order)) == pose_set.digest
    points = pose_set.keypoints.copy()
    row, k = np.argwhere(pose_set.labelled)[order % int(pose_set.labelled.sum())]
    points[row, k, 0] += 0.02
    assert digest(replace(pose_set, keypoints=points)) != pose_set.digest


def test_labels_of_no_finite_place_have_a_digest():
    pose_set = drawn_set(0)
    pose_set.keypoints[0] = np.inf
    pose_set.visibility[0] = 2
    assert len(digest(pose_set)) == 64


# --- files that are none ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda c: c.pop("format"), "not a split file"),
        (lambda c: c.update(format="tetrapose split 9"), "its format is 'tetrapose split 9'"),
        (lambda c: c.pop("parts"), "parts is missing or not dict"),
        (lambda c: c.update(parts={}), "it has no parts"),
        (lambda c: c["source"].pop("digest"), "lacks the digest"),
        (lambda c: c["parts"]["one"].update(pictures="a.jpg"), "pictures is not a list of str"),
        (lambda c: c["parts"]["one"].update(annotations=["1"]), "annotations is not a list of int"),
        (lambda c: c["parts"]["one"].update(shown={}), "shown is not a list"),
        (lambda c: c["parts"]["one"]["shown"][0].pop("points"), "block 1 of shown lacks"),
        (lambda c: c["parts"].update(one=3), "part one is not an object"),
        (
            lambda c: c["parts"]["one"]["shown"][0].update(points=["wing"]),
            "shows wing, which ap10k has not",
        ),
    ],
)
def test_a_broken_file_is_told(spec, split, change, told):
    edit(split, change)
    with pytest.raises(UserError, match=told):
        open_set(spec, split=f"{split}:one")


def test_all_faults_at_once(split):
    def spoil(content):
        content["parts"]["one"]["pictures"] = 3
        content["parts"]["two"]["annotations"] = 3

    edit(split, spoil)
    with pytest.raises(UserError, match="part one: pictures .*; part two: annotations"):
        files.load(split)


def test_not_json_and_not_there(spec, tmp_path):
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        open_set(spec, split=tmp_path / "s.json")
    with pytest.raises(UserError, match="split /absent/s.json: no such file"):
        open_set(spec, split="/absent/s.json:train")


def test_a_split_of_a_split_keeps_to_it(spec, tmp_path):
    (tmp_path / "two.txt").write_text("a.jpg\nb.jpg\n")
    within = [str(tmp_path / "two.txt")]
    made = recipes.make(open_set(spec, split=within), "front-back", within=within)
    assert made.parts["pool"].pictures == ("a.jpg", "b.jpg")
    assert made.source["within"] == within
    files.write(made, tmp_path / "s.json")
    assert len(open_set(spec, split=f"{tmp_path / 's.json'}:pool")) == 3


def test_a_set_put_together_by_hand_has_no_split():
    with pytest.raises(UserError, match="as it was opened"):
        recipes.make(replace(drawn_set(0), digest=""), "ratio")


def test_every_reader_gives_a_digest(tmp_path):
    specs = [
        f"coco:{miniatures.coco(tmp_path / 'c')}",
        f"animal_pose:{miniatures.animal_pose(tmp_path / 'a')}",
        f"akd_cats:{miniatures.akd_cats(tmp_path / 'k')}",
    ]
    digests = {open_set(spec).digest for spec in specs}
    assert len(digests) == 3
    assert all(len(one) == 64 for one in digests)
