"""Round trips through every form: what it holds comes back, what it does not hold is told."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from miniatures import SIZES, paint

from tetrapose import skeletons
from tetrapose.data import (
    coco,
    deeplabcut,
    deeplabcut_out,
    gather,
    nwb_out,
    sleap,
    table,
    ways_out,
    yolo,
)  # fmt: skip
from tetrapose.errors import UserError
from tetrapose.geometry import box_area
from tetrapose.structures import PoseSet

WAYS = ("coco", "csv", "parquet", "yolo", "deeplabcut", "sleap")


@dataclass(frozen=True)
class Way:
    """A form: how far numbers may be off, what it holds, whether it keeps every animal."""

    close: float
    holds: frozenset[str]
    pointless: bool = True  # animals without a point come back
    examples: int = 12


HELD = {
    "coco": Way(1e-4, coco.HOLDS),
    "csv": Way(0, table.HOLDS),
    "parquet": Way(0, table.HOLDS),
    "yolo": Way(1e-5, yolo.HOLDS),
    "deeplabcut": Way(0, deeplabcut_out.HOLDS, pointless=False, examples=4),
    "sleap": Way(1e-6, sleap.HOLDS, pointless=False, examples=4),
}


def there_and_back(way: str, pose_set: PoseSet, folder: Path) -> PoseSet:
    if way == "coco":
        coco.write(pose_set, folder / "a.json")
        return coco.read(folder / "a.json", images=pose_set.root)
    if way in ("csv", "parquet"):
        if way == "parquet":
            pytest.importorskip("pyarrow", reason="extra parquet is not installed")
        table.write(pose_set, folder / f"a.{way}")
        return table.read(folder / f"a.{way}", images=pose_set.root)
    if way == "yolo":
        yolo.write(pose_set, folder / "yolo", pictures="link")
        return yolo.read(folder / "yolo")
    if way == "deeplabcut":
        with warnings.catch_warnings():
            # PyTables tells of names that Python could not use as attributes; none is used so
            warnings.simplefilter("ignore")
            deeplabcut_out.write(pose_set, folder / "dlc", pictures="link")
        return deeplabcut.read(folder / "dlc", groups="picture", sizes=True)
    pytest.importorskip("sleap_io", reason="extra sleap is not installed")
    sleap.write(pose_set, folder / "a.slp")
    return sleap.read(f"{folder / 'a.slp'}", groups="picture")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed, (name, size) in enumerate(SIZES.items()):
        paint(folder / "sub" / name, size, seed)
    return folder


SKELETON = skeletons.load("akd_cats")
FILES = tuple(f"sub/{name}" for name in SIZES)
COUNT = len(SKELETON)


@st.composite
def sets(draw, root: Path) -> PoseSet:
    """Animals anywhere in the four pictures, points inside or not labelled, none or all of them."""
    image = np.array(sorted(draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = len(image)
    size = np.array(list(SIZES.values()), dtype=np.int32)
    flags = rng.choice([0, 1, 2], (n, COUNT), p=draw(st.sampled_from(
        [(0, 0, 1), (0.3, 0.3, 0.4), (0.95, 0, 0.05), (0.9, 0.1, 0)]
    )))  # fmt: skip
    flags[0, 0] = 2  # a set of no points at all is no set
    points = rng.uniform(0, 1, (n, COUNT, 2)) * (size[image][:, None] - 1)
    low = rng.uniform(0, 0.4, (n, 2)) * size[image]
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, (n, 2)) * size[image]], axis=1)
    return PoseSet(
        skeleton=SKELETON, root=root, source="drawn", licence="ours", files=FILES,
        image_ids=np.arange(1, 5), sizes=size, groups=np.arange(4), image_index=image,
        keypoints=np.where(flags[..., None] > 0, points, np.nan).astype(np.float32),
        visibility=flags.astype(np.uint8), bboxes=boxes.astype(np.float32),
        areas=box_area(boxes) * rng.uniform(0.2, 1, n), species=rng.integers(0, 2, n),
        species_names=("dog", "cat"), crowd=rng.random(n) < 0.2,
        annotation_ids=np.arange(1, n + 1),
    )  # fmt: skip


def names_of(pose_set: PoseSet) -> list[str]:
    return [pose_set.species_names[i] for i in pose_set.species]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_form_holds_comes_back(way, pictures, tmp_path_factory):
    """One law for all forms: points always; the rest by what the form says that it holds."""
    form = HELD[way]

    @settings(max_examples=form.examples, suppress_health_check=list(HealthCheck))
    @given(sets(pictures))
    def law(given_set):
        folder = tmp_path_factory.mktemp(way)
        back = there_and_back(way, given_set, folder)
        assert [Path(f).name for f in back.files] == [Path(f).name for f in given_set.files]
        kept = given_set.labelled.any(axis=1) | form.pointless
        due = given_set.select_instances(kept)
        np.testing.assert_array_equal(back.image_index, due.image_index)
        np.testing.assert_allclose(back.keypoints, due.keypoints, atol=form.close, rtol=1e-6)
        np.testing.assert_array_equal(back.labelled, due.labelled)
        assert back.skeleton is SKELETON
        if "hidden" in form.holds:
            np.testing.assert_array_equal(back.visibility, due.visibility)
        if "boxes" in form.holds:
            np.testing.assert_allclose(back.bboxes, due.bboxes, atol=1e-4)
        else:
            made = gather.boxes_around(due.keypoints, due.sizes[due.image_index])
            np.testing.assert_allclose(back.bboxes, made, rtol=1e-4)
        if "areas" in form.holds:
            np.testing.assert_allclose(back.areas, due.areas, rtol=1e-4)
        else:
            np.testing.assert_allclose(back.areas, box_area(back.bboxes), rtol=1e-4)
        assert names_of(back) == (
            names_of(due) if "species" in form.holds else ["animal"] * len(due)
        )
        if "crowds" in form.holds:
            np.testing.assert_array_equal(back.crowd, due.crowd)
        assert not any(problem.left_out for problem in back.problems)

    law()


def one_of_everything(pictures: Path) -> PoseSet:
    """A set that has every facet which a form can lose."""
    n = 4
    flags = np.full((n, COUNT), 2, dtype=np.uint8)
    flags[0, 1], flags[3] = 1, 0
    rng = np.random.default_rng(0)
    points = rng.uniform(2, 30, (n, COUNT, 2))
    boxes = np.tile([1.0, 1.0, 36.0, 35.0], (n, 1))
    return PoseSet(
        skeleton=replace(SKELETON, keypoints=tuple(
            replace(p, sigma=p.sigma / 2) for p in SKELETON.keypoints
        )),
        root=pictures, source="all", licence="ours", files=FILES,
        image_ids=np.arange(1, 5), sizes=np.array(list(SIZES.values()), dtype=np.int32),
        groups=np.array([0, 0, 1, 2]), image_index=np.array([0, 1, 2, 2]),
        keypoints=np.where(flags[..., None] > 0, points, np.nan).astype(np.float32),
        visibility=flags, bboxes=boxes.astype(np.float32), areas=np.full(n, 500.0),
        species=np.array([0, 1, 0, 0]), species_names=("dog", "cat"),
        crowd=np.array([True, False, False, False]), annotation_ids=np.arange(1, n + 1),
        weights=np.ones((n, COUNT), dtype=np.float32),
    )  # fmt: skip


def test_every_facet_is_seen_where_it_is_and_only_there(pictures):
    full = one_of_everything(pictures)
    assert all(words(full) for words in ways_out.FACETS.values())
    plain = replace(
        full.select_instances(np.array([1])), skeleton=SKELETON, weights=None,
        groups=np.arange(4), species=np.array([0]), species_names=("animal",),
    )  # fmt: skip
    made = gather.boxes_around(plain.keypoints, plain.sizes[plain.image_index])
    plain = replace(plain, bboxes=made.astype(np.float32), areas=box_area(made))
    assert ways_out.lost(plain, frozenset({"licence"})) == ()
    assert ways_out.lost(full, frozenset(ways_out.FACETS)) == ()


@pytest.mark.parametrize("way", WAYS)
def test_what_a_form_claims_to_hold_is_among_the_facets(way):
    assert HELD[way].holds <= set(ways_out.FACETS)


@pytest.mark.parametrize("way", ["yolo", "deeplabcut"])
def test_a_folder_with_something_in_it_is_left_alone(way, pictures, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine.txt").write_text("mine")
    module = yolo if way == "yolo" else deeplabcut_out
    with pytest.raises(UserError, match="not empty; name a new one"):
        module.write(one_of_everything(pictures), tmp_path / "there")
    assert [f.name for f in (tmp_path / "there").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("how", ["copy", "link", "none"])
def test_pictures_are_placed_as_asked(how, pictures, tmp_path):
    yolo.write(one_of_everything(pictures), tmp_path / "out", pictures=how)
    placed = sorted((tmp_path / "out/images").rglob("*.jp*g"))
    assert len(placed) == (0 if how == "none" else 4)
    for file in placed:
        source = pictures / "sub" / file.name
        assert file.read_bytes() == source.read_bytes()
        assert file.samefile(source) == (how == "link")


def test_a_picture_that_is_gone_is_told(pictures, tmp_path):
    gone = replace(one_of_everything(pictures), root=tmp_path)
    with pytest.raises(UserError, match=r"sub/a\.jpg: not placed as"):
        yolo.write(gone, tmp_path / "out")
    with pytest.raises(UserError, match="pictures=move: it is copy, link, none"):
        yolo.write(gone, tmp_path / "out2", pictures="move")


@given(st.lists(st.sampled_from(["a.jpg", "A.jpg", "a_2.jpg", "b/a.jpg", "a.png"]), max_size=8))
def test_distinct_names_are_distinct_and_the_first_is_kept(names):
    made = ways_out.distinct(names)
    assert len({name.lower() for name in made}) == len(names)
    assert made[:1] == names[:1]
    assert [Path(name).suffix for name in made] == [Path(name).suffix for name in names]


def test_names_and_absent_pictures_are_refused_by_the_one_file_forms(pictures, tmp_path):
    full = one_of_everything(pictures)
    for write, name in ((table.write, "a.txt"), (sleap.write, "a.h5"), (nwb_out.write, "a.h5")):
        with pytest.raises(UserError, match="ends in"):
            write(full, tmp_path / name)
    pytest.importorskip("sleap_io", reason="extra sleap is not installed")
    with pytest.raises(UserError, match=r"sub/a\.jpg is not"):
        nwb_out.write(replace(full, root=tmp_path), tmp_path / "a.nwb")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["sleap_io", "pyarrow", "h5py"])
def test_a_missing_package_is_told_by_its_extra(module, pictures, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    full = one_of_everything(pictures)
    if module == "sleap_io":
        with pytest.raises(UserError, match=r"pip install 'tetrapose\[sleap\]'"):
            sleap.write(full, tmp_path / "a.slp")
        return
    if module == "pyarrow":
        with pytest.raises(UserError, match=r"pip install 'tetrapose\[parquet\]'"):
            table.write(full, tmp_path / "a.parquet")
        return
    from tetrapose.data import frames_h5

    with pytest.raises(UserError, match=r"pip install 'tetrapose\[deeplabcut\]'"):
        frames_h5.load(tmp_path / "a.h5")


def test_without_pandas_the_project_is_written_all_the_same(pictures, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    (note,) = deeplabcut_out.write(one_of_everything(pictures), tmp_path / "out")
    assert "no h5 written" in note
    assert len(deeplabcut.read(tmp_path / "out")) == 3
    assert not list((tmp_path / "out").rglob("*.h5"))
