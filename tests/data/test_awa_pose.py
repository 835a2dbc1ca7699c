"""AwA-Pose: labels as pickles that must never run, and the layout's oddities."""

from __future__ import annotations

import contextlib
import json
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import paint, points

from tetrapose import skeletons
from tetrapose.data import awa_pose, open_set
from tetrapose.data.pickles import NotPlain, plain_values
from tetrapose.errors import UserError

NAMES = skeletons.load("awa_pose").names
BOX = [10.0, 8.0, 70.0, 50.0]


def animal(seed: int) -> dict:
    """Every third point not labelled."""
    places = points(len(NAMES), tuple(BOX), seed).tolist()
    marked = [p if i % 3 else [-1, -1] for i, p in enumerate(places)]
    return dict(zip(NAMES, marked, strict=True)) | {"bbox": list(BOX)}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Three pictures of two classes, one of them with two animals; a stray class to pass over."""
    root = tmp_path / "awa"
    labels = {
        "siamese+cat/siamese+cat_10001": {"a1": animal(0), "a2": animal(1)},
        "siamese+cat/siamese+cat_10002": {"a1": animal(2)},
        "ox/ox_10001": {"a1": animal(3)},
        "sample/ox_10001": {"a1": animal(3)},
    }
    for seed, (name, content) in enumerate(labels.items()):
        file = root / "Annotations" / f"{name}.pickle"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(content, protocol=4))
        paint(root / "JPEGImages" / f"{name}.jpg", (80, 60), seed)
    return root


def label(root: Path, name: str = "ox/ox_10001") -> Path:
    return root / "Annotations" / f"{name}.pickle"


def rewrite(file: Path, change) -> None:
    content = pickle.loads(file.read_bytes())
    change(content["a1"])
    file.write_bytes(pickle.dumps(content))


def test_a_clean_set_in_columns(tiny):
    pose_set = awa_pose.read(tiny, sizes=True)
    assert (len(pose_set), len(pose_set.files)) == (4, 3)
    assert pose_set.problems == ()
    assert pose_set.species_names == ("ox", "siamese cat")
    np.testing.assert_array_equal(pose_set.sizes, [[80, 60]] * 3)
    np.testing.assert_array_equal(pose_set.bboxes, [BOX] * 4)
    np.testing.assert_array_equal(pose_set.visibility[0], np.where(np.arange(39) % 3, 2, 0))
    expected = animal(3)["left_eye"]
    found = pose_set.keypoints[0, pose_set.skeleton.index("left_eye")]
    np.testing.assert_array_equal(found, np.nan if expected == [-1, -1] else expected)
    nose = pose_set.keypoints[0, pose_set.skeleton.index("lower_jaw")]
    np.testing.assert_array_equal(nose, animal(3)["lower_jaw"])


def test_json_of_the_same_content_is_read_too(tiny):
    content = pickle.loads(label(tiny).read_bytes())
    label(tiny).with_suffix(".json").write_text(json.dumps(content))
    before = awa_pose.read(tiny).keypoints[0]
    label(tiny).unlink()
    np.testing.assert_array_equal(awa_pose.read(tiny).keypoints[0], before)


class Fires:
    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_is_refused_and_nothing_runs(tiny, tmp_path, protocol):
    trace = tmp_path / "fired"
    data = pickle.dumps({"a1": animal(0), "x": Fires(trace)}, protocol=protocol)
    label(tiny).write_bytes(data)
    pose_set = awa_pose.read(tiny)
    assert len(pose_set) == 3
    (problem,) = pose_set.problems
    assert "which plain labels never do" in problem.what
    assert not trace.exists()
    pickle.loads(data)["x"].close()
    assert trace.exists()  # else the test would show nothing


@pytest.mark.parametrize("opcode", ["GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "PERSID", "EXT1"])
def test_every_opcode_that_reaches_out_is_refused(opcode):
    programs = {
        "GLOBAL": b"cposix\ngetpid\n.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x05posix\x8c\x06getpid\x93.",
        "INST": b"(iposix\ngetpid\n.",
        "OBJ": b"(cposix\ngetpid\no.",
        "PERSID": b"Pname\n.",
        "EXT1": b"\x82\x01.",
    }
    names = [op.name for op, _, _ in pickletools.genops(programs[opcode])]
    assert opcode in names
    with pytest.raises(NotPlain):
        plain_values(programs[opcode])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_plain_values_come_back_equal(value, protocol):
    assert plain_values(pickle.dumps(value, protocol=protocol)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_values_or_refused(data):
    with contextlib.suppress(NotPlain):
        plain_values(data)


ODDITIES = {
    "a point missing": (lambda a: a.pop("nose"), "'nose' is missing", 3),
    "a point of three": (lambda a: a.update(nose=[1, 2, 3]), "nose: 2 numbers are due", 3),
    "words": (lambda a: a.update(nose=["a", 2]), "where 2 numbers are due", 3),
    "no box": (lambda a: a.pop("bbox"), None, 4),
    "an empty box": (lambda a: a.update(bbox=[5, 5, 5, 9]), "is empty", 3),
    "a misspelt name": (lambda a: a.update(tail_e=[1, 2]), "tail_e beside the 39 points", 4),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_told_and_the_rest_is_read(tiny, name):
    spoil, told, left = ODDITIES[name]
    rewrite(label(tiny), spoil)
    pose_set = awa_pose.read(tiny)
    assert len(pose_set) == left
    assert np.isfinite(pose_set.bboxes).all()
    assert [told in str(p) for p in pose_set.problems] == ([] if told is None else [True])


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b"no pickle", pickle.dumps([1, 2])])
def test_a_broken_file_is_told(tiny, data):
    label(tiny).write_bytes(data)
    pose_set = awa_pose.read(tiny)
    assert len(pose_set) == 3
    assert len(pose_set.problems) == 1


def test_another_layout_is_refused_as_such(tiny, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        awa_pose.read(tmp_path / "absent")
    (tiny / "JPEGImages").rename(tiny / "elsewhere")
    with pytest.raises(UserError, match="lacks JPEGImages"):
        awa_pose.read(tiny)
    assert len(open_set(f"awa_pose:{tiny},pictures=false")) == 4
