"""Each fault planted into a clean set: that code is found with those entries, and mended."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import clean_labels as clean
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose.audit import checking, mending, raw
from tetrapose.audit.findings import RULES, Finding

SETTINGS = checking.Settings()
NAN = float("nan")
Content = dict[str, Any]


def audit(content: Content) -> list[Finding]:
    return checking.check(raw.sheet_of(content, "labels.json"), None, SETTINGS)[0]


def point(entry: Content, k: int, x: float, y: float, flag: int = 2) -> None:
    entry["keypoints"][3 * k : 3 * k + 3] = [x, y, flag]


def size_of(content: Content, entry: Content) -> tuple[int, int]:
    picture = next(p for p in content["images"] if p["id"] == entry["image_id"])
    return picture["width"], picture["height"]


# Each plant spoils some animals and gives the entries that must be told.
def _each(spoil: Callable[[Content, Content], Any]) -> Callable[[Content, list[int]], list[Any]]:
    def plant(content: Content, rows: list[int]) -> list[Any]:
        for row in rows:
            spoil(content, content["annotations"][row])
        return [content["annotations"][row]["id"] for row in rows]

    return plant


def _outside(content: Content, entry: Content) -> None:
    width, _ = size_of(content, entry)
    point(entry, 0, width + 7, 5)


def _upon_edge(content: Content, entry: Content) -> None:
    _, height = size_of(content, entry)
    point(entry, 1, 20, height)


def _blank(content: Content, entry: Content) -> None:
    del content
    entry["keypoints"] = [0] * 51
    entry["num_keypoints"] = 0


def _corners(content: Content, entry: Content) -> None:
    """A box in the far corner with its points: as width and height it would leave the picture."""
    width, height = size_of(content, entry)
    points = np.array(entry["keypoints"]).reshape(-1, 3)
    spread = np.random.default_rng(entry["id"]).uniform(0.62, 0.93, (17, 2))
    spread[0] = 0.93  # the box ends where the animal does
    points[:, :2] = np.where(points[:, 2:] > 0, spread * [width, height], 0)
    entry["keypoints"] = points.ravel().tolist()
    entry["bbox"] = [0.6 * width, 0.6 * height, 0.95 * width, 0.95 * height]
    entry["area"] = 0.35 * width * 0.35 * height


def _box_out(content: Content, entry: Content) -> None:
    """Out to the left: out to the right, one box alone could as well be meant as two corners."""
    del content
    entry["bbox"][2] += entry["bbox"][0] + 30
    entry["bbox"][0] = -30


def _to_zero(content: Content, entry: Content) -> None:
    del content
    point(entry, 5, 0, 0, 0)
    points = np.array(entry["keypoints"]).reshape(-1, 3)
    entry["num_keypoints"] = int((points[:, 2] > 0).sum())
    last = points[points[:, 2] > 0, :2].max(axis=0)
    entry["bbox"] = [0, 0, *last.tolist()]
    entry["area"] = float(last.prod())


def _transposed(content: Content, entry: Content) -> None:
    """Points in a low wide box, written as y, x."""
    width, height = size_of(content, entry)
    entry["bbox"] = [0.5 * width, 0.05 * height, 0.4 * width, 0.1 * height]
    entry["area"] = 0.4 * width * 0.1 * height
    points = np.array(entry["keypoints"]).reshape(-1, 3)
    spread = np.random.default_rng(entry["id"]).uniform((0.55, 0.06), (0.85, 0.14), (17, 2))
    true = np.where(points[:, 2:] > 0, spread * [width, height], 0)
    points[:, :2] = true[:, ::-1]
    entry["keypoints"] = points.ravel().tolist()


def _copied(content: Content, rows: list[int]) -> list[Any]:
    fresh = [copy.deepcopy(content["annotations"][row]) for row in rows]
    for i, entry in enumerate(fresh):
        entry["id"] = 5000 + i
    content["annotations"] += fresh
    return [entry["id"] for entry in fresh]


def _same_ids(content: Content, rows: list[int]) -> list[Any]:
    rows = [row for row in rows if row]
    for row in rows:
        content["annotations"][row]["id"] = content["annotations"][0]["id"]
    return [content["annotations"][0]["id"]] * len(rows)


def _no_ids(content: Content, rows: list[int]) -> list[Any]:
    for row in rows:
        del content["annotations"][row]["id"]
    return [f"number {row + 1}" for row in rows]


def _lost_field(content: Content, entry: Content) -> None:
    del content, entry["bbox"]


def _text(content: Content, entry: Content) -> None:
    del content
    entry["keypoints"][0] = "12"


def _short(content: Content, entry: Content) -> None:
    del content, entry["keypoints"][-3:]
    entry["num_keypoints"] = sum(flag > 0 for flag in entry["keypoints"][2::3])


def _huge(content: Content, entry: Content) -> None:
    del content
    entry["keypoints"][0] = 10**400


PLANTS: dict[str, tuple[str, Callable[[Content, list[int]], list[Any]]]] = {
    "dangling picture": ("dangling", _each(lambda c, e: e.update(image_id=77777))),
    "dangling category": ("dangling", _each(lambda c, e: e.update(category_id="none such"))),
    "lost field": ("entry-broken", _each(_lost_field)),
    "text for a number": ("entry-broken", _each(_text)),
    "too large a number": ("entry-broken", _each(_huge)),
    "ids repeated": ("id-repeated", _same_ids),
    "ids missing": ("id-missing", _no_ids),
    "animals repeated": ("instance-repeated", _copied),
    "count wrong": ("num-keypoints", _each(lambda c, e: e.update(num_keypoints=99))),
    "one point short": ("keypoint-count", _each(_short)),
    "NaN": ("not-finite", _each(lambda c, e: point(e, 2, NAN, 4))),
    "null": ("not-finite", _each(lambda c, e: e["keypoints"].__setitem__(0, None))),
    "infinite area": ("not-finite", _each(lambda c, e: e.update(area=float("inf")))),
    "NaN box": ("not-finite", _each(lambda c, e: e.update(bbox=[NAN, 1, 2, 3]))),
    "flag 3": ("visibility-code", _each(lambda c, e: e["keypoints"].__setitem__(2, 3))),
    "no point": ("no-visible-point", _each(_blank)),
    "at zero": ("point-at-zero", _each(lambda c, e: point(e, 3, 0, 0))),
    "outside": ("point-outside", _each(_outside)),
    "negative": ("point-outside", _each(lambda c, e: point(e, 0, -9, 5))),
    "upon the edge": ("point-on-edge", _each(_upon_edge)),
    "two corners": ("boxes-xyxy", _each(_corners)),
    "no width": ("box-empty", _each(lambda c, e: e["bbox"].__setitem__(2, 0))),
    "box outside": ("box-outside", _each(_box_out)),
    "box over zeros": ("box-over-missing", _each(_to_zero)),
    "large area": ("area-wrong", _each(lambda c, e: e.update(area=9 * e["area"] + 999))),
    "no area": ("area-wrong", _each(lambda c, e: e.update(area=0))),
    "y before x": ("xy-order", _each(_transposed)),
}  # fmt: skip


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_a_clean_set_gives_nothing(seed):
    content = clean.labels(seed)
    before = copy.deepcopy(content)
    assert audit(content) == []
    assert content == before
    assert mending.mend(raw.sheet_of(content, "labels.json"), None, SETTINGS) == (before, [])


@pytest.mark.parametrize("name", PLANTS)
@given(seed=st.integers(0, 10**6), rows=st.sets(st.integers(0, 39), min_size=1, max_size=6))
@settings(max_examples=4)
def test_a_planted_fault_is_found_alone_and_mended(name, seed, rows):
    code, plant = PLANTS[name]
    content = clean.labels(seed)
    due = plant(content, sorted(rows))
    found = audit(content)
    assert [one.code for one in found] == ([code] if due else [])
    if not due:
        return
    assert list(found[0].entries) == due
    assert found[0].count == len(due)
    assert found[0].message
    assert found[0].harm
    before = json.dumps(content)
    mended, changes = mending.mend(raw.sheet_of(content, "labels.json"), None, SETTINGS)
    assert json.dumps(content) == before
    assert code in [change.code for change in changes]
    assert audit(mended) == []
    assert len(mended["annotations"]) >= len(content["annotations"]) - len(due)


def test_whole_files_of_corners_and_of_exchanged_axes_are_told_whole():
    content = clean.labels(4, 200)
    for entry in content["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["bbox"] = [x, y, x + w, y + h]
    (found,) = audit(content)
    assert (found.code, found.count) == ("boxes-xyxy", len(content["annotations"]))

    content = clean.labels(5, 200)
    for entry in content["annotations"]:
        points = np.array(entry["keypoints"]).reshape(-1, 3)
        entry["keypoints"] = points[:, [1, 0, 2]].ravel().tolist()
    codes = {one.code: one.count for one in audit(content)}
    assert codes["xy-order"] == len(content["annotations"])


def test_flags_without_a_two_are_told():
    content = clean.labels(6)
    for entry in content["annotations"]:
        points = np.array(entry["keypoints"]).reshape(-1, 3)
        points[:, 2] = np.minimum(points[:, 2], 1)
        entry["keypoints"] = points.ravel().tolist()
    (found,) = audit(content)
    assert (found.code, found.count) == ("visibility-code", len(content["annotations"]))
    mended, _ = mending.mend(raw.sheet_of(content, "x"), None, SETTINGS)
    assert audit(mended) == []


def test_names_for_another_number_of_points_are_dropped_not_the_animals():
    content = clean.labels(7)
    for entry in content["annotations"]:
        entry["keypoints"] += [0, 0, 0] * 4
    (found,) = audit(content)
    assert found.code == "keypoint-count"
    assert "21 points for 17 names" in found.message
    mended, _ = mending.mend(raw.sheet_of(content, "x"), None, SETTINGS)
    assert len(mended["annotations"]) == len(content["annotations"])
    assert "keypoints" not in mended["categories"][0]
    assert audit(mended) == []


def test_the_first_bad_entry_does_not_stop_the_audit():
    content = clean.labels(8)
    content["annotations"][0] = "no object"
    content["images"].append(None)
    content["annotations"][5]["area"] = -3
    _outside(content, content["annotations"][30])
    codes = [(one.code, one.about) for one in audit(content)]
    assert ("entry-broken", "animal") in codes
    assert ("entry-broken", "picture") in codes
    assert {"area-wrong", "point-outside"} <= {code for code, _ in codes}


def test_picture_ids_and_names_repeated():
    content = clean.labels(9)
    content["images"][1]["id"] = content["images"][0]["id"]
    found = {one.code: one for one in audit(content)}
    assert found["id-repeated"].about == "picture"
    content = clean.labels(9)
    content["images"][1]["file_name"] = content["images"][0]["file_name"]
    content["images"][1] |= {k: content["images"][0][k] for k in ("width", "height")}
    codes = [one.code for one in audit(content)]
    assert "picture-duplicate" in codes
    mended, _ = mending.mend(raw.sheet_of(content, "x"), None, SETTINGS)
    assert "picture-duplicate" not in [one.code for one in audit(mended)]


def test_rare_species_are_told_beyond_the_ratio():
    content = clean.labels(10, 130)
    for entry in content["annotations"]:
        entry["category_id"] = 1
    content["annotations"][0]["category_id"] = 2
    (found,) = audit(content)
    assert (found.code, found.entries) == ("species-imbalance", ("cat",))
    assert not found.fix
    sheet = raw.sheet_of(content, "x")
    assert checking.check(sheet, None, checking.Settings(imbalance=500))[0] == []
    assert checking.check(sheet, None, checking.Settings(imbalance=0))[0] == []


def test_every_rule_with_a_fix_has_a_mender():
    assert set(mending.MENDERS) == {code for code, rule in RULES.items() if rule.fix}
