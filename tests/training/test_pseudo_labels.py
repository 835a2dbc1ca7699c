"""Pseudo-labels of many looks: where answers meet, the way back to the picture, and the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose import geometry, skeletons
from tetrapose.codecs import Distribution, Heatmap
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet
from tetrapose.training.labelfree import pseudo_files
from tetrapose.training.labelfree.consensus import agree
from tetrapose.training.labelfree.pseudo_files import Work, key_of, pool_digest, pseudo_labels, read
from tetrapose.training.labelfree.pseudo_labels import Looks, look_often
from tetrapose.weights.card import Loaded

SIZE = 64
SKELETON = skeletons.load("animal_pose")
EYES = ("left_eye", "right_eye")


class Blobs(torch.nn.Module):
    """A network that needs no training: left eyes are red, right eyes blue, all else is nothing.

    Turned over, a picture's red dot is a right eye: colours trade places in the mirror, which they
    do not on pictures, so here the side is told by the green dot at the nose.
    """

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.broken = broken
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        maps = torch.zeros(len(x), len(SKELETON), SIZE // 4, SIZE // 4)
        red, green, blue = torch.nn.functional.avg_pool2d(x.float(), 4).unbind(1)
        across = torch.arange(red.shape[-1], dtype=torch.float32)

        def middle(channel):
            return (channel.sum(1) * across).sum(1) / channel.sum((1, 2)).clamp_min(1e-6)

        order = ((middle(red) - middle(blue)) < 0)[:, None, None]
        names = list(SKELETON.names)
        maps[:, names.index(EYES[0])] = torch.where(order, red, blue)
        maps[:, names.index(EYES[1])] = torch.where(order, blue, red)
        maps[:, names.index("nose")] = green
        return maps * (float("nan") if self.broken else 1.0)


def loaded(network: torch.nn.Module | None = None, *, sha: str = "a" * 64) -> Loaded:
    card = {
        "sha256": sha, "crop": {"padding": 1.0},
        "normalisation": {"mean": [0.0] * 3, "std": [1.0] * 3},
    }  # fmt: skip
    codec = Heatmap(len(SKELETON), (SIZE, SIZE), decoder="shift")
    return Loaded(network or Blobs(), codec, SKELETON, card)


@pytest.fixture
def pool(tmp_path: Path) -> PoseSet:
    """Ten pictures with a red dot, a blue one to its right, and a green one below."""
    rng = np.random.default_rng(0)
    n, k = 10, len(SKELETON)
    points = np.full((n, k, 2), np.nan, np.float32)
    names = list(SKELETON.names)
    for i in range(n):
        picture = np.zeros((100, 100, 3), np.uint8)
        x, y = rng.uniform(35, 60, 2)
        spots = {EYES[0]: (x - 8, y, 0), "nose": (x, y + 10, 1), EYES[1]: (x + 8, y, 2)}
        for name, (px, py, channel) in spots.items():
            down, across = np.mgrid[:100, :100]
            blob = np.exp(-((across - px) ** 2 + (down - py) ** 2) / 18) * 255
            picture[..., channel] = np.maximum(picture[..., channel], blob.astype(np.uint8))
            points[i, names.index(name)] = px, py
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture[..., ::-1])
    return PoseSet(
        skeleton=SKELETON, root=tmp_path, source="blobs", licence="CC0",
        files=tuple(f"{i}.png" for i in range(n)), image_ids=np.arange(n),
        sizes=np.full((n, 2), 100), groups=np.arange(n), image_index=np.arange(n),
        keypoints=points, visibility=np.isfinite(points[..., 0]).astype(np.uint8) * 2,
        bboxes=np.tile(np.float32([0, 0, 100, 100]), (n, 1)), areas=np.full(n, 1e4),
        species=np.zeros(n, int), species_names=("blob",), crowd=np.zeros(n, bool),
        annotation_ids=np.arange(n) * 7 + 3,
    )  # fmt: skip


def test_answers_that_meet_are_found_beside_one_that_does_not():
    good = np.array([[10.0, 10], [10.4, 10], [10, 9.6], [50, 50]])
    points = good.reshape(1, 4, 1, 2)
    scores = np.array([0.5, 0.5, 0.5, 0.9]).reshape(1, 4, 1)
    place, confidence, spread = agree(points, scores, np.array([100.0]), width=0.04)
    assert np.abs(place[0, 0] - [10.13, 9.87]).max() < 0.05
    assert confidence[0, 0] == pytest.approx(1.5 / 4, abs=0.01)  # the fourth speaks against it
    assert spread[0, 0] == pytest.approx(0.5 * np.hypot(39.87, 40.13) / 100, rel=0.01)


def test_all_agree_and_none_does():
    points = np.full((1, 6, 1, 2), 20.0)
    place, confidence, spread = agree(points, np.full((1, 6, 1), 0.8), np.array([50.0]), width=0.04)
    assert place.ravel().tolist() == pytest.approx([20, 20])
    assert confidence[0, 0] == pytest.approx(0.8)
    assert spread[0, 0] == pytest.approx(0, abs=1e-6)
    apart = np.linspace(0, 500, 6)[None, :, None, None] * np.ones(2)
    _, confidence, _ = agree(apart, np.full((1, 6, 1), 0.8), np.array([50.0]), width=0.04)
    assert confidence[0, 0] == pytest.approx(0.8 / 6)


@pytest.mark.parametrize("scores", [0.0, np.nan])
def test_nothing_that_counts_is_nan_and_sure_of_nothing(scores):
    place, confidence, spread = agree(
        np.ones((2, 4, 3, 2)), np.full((2, 4, 3), scores), np.ones(2), width=0.04
    )
    assert np.isnan(place).all()
    assert np.isnan(spread).all()
    assert (confidence == 0).all()


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(0.1, 10), st.integers(0, 99))
def test_places_move_and_grow_with_their_answers(dx, dy, grow, seed):
    rng = np.random.default_rng(seed)
    points, scores = rng.uniform(0, 50, (2, 5, 3, 2)), rng.uniform(0.1, 1, (2, 5, 3))
    sizes = np.array([40.0, 60.0])
    place, confidence, spread = agree(points, scores, sizes, width=0.1)
    moved = agree(points * grow + [dx, dy], scores, sizes * grow, width=0.1)
    assert np.allclose(moved[0], place * grow + [dx, dy], atol=1e-4)
    assert np.allclose(moved[1], confidence, atol=1e-6)
    assert np.allclose(moved[2], spread, atol=1e-6)


def test_a_look_that_does_not_show_the_place_is_no_vote_against_it():
    points = np.array([[5.0, 5], [5, 5], [90, 90]]).reshape(1, 3, 1, 2)
    scores = np.full((1, 3, 1), 0.6)
    shown = np.array([True, True, False]).reshape(1, 3, 1)
    _, confidence, spread = agree(
        points, scores, np.array([100.0]), width=0.04, shown=lambda at: shown
    )
    assert confidence[0, 0] == pytest.approx(0.6)
    assert spread[0, 0] == pytest.approx(0, abs=1e-6)


def test_every_look_finds_the_same_points_in_the_picture(pool):
    """Turned, nearer, mirrored: all come back to where the dot is, and to its own side."""
    found = look_often(loaded(), pool, Looks(count=4, rotation=20))
    labelled = pool.labelled
    error = np.linalg.norm(found.keypoints - pool.keypoints, axis=-1)[labelled]
    assert error.max() < 2.0
    assert np.nanmax(found.spread[labelled]) < 0.03
    assert found.confidence[labelled].min() > 0.4  # the dot is spread over cells
    assert (found.confidence[~labelled] == 0).all()
    assert np.isnan(found.keypoints[~labelled]).all()
    assert found.readable.all()


def test_the_first_look_changes_nothing_and_draws_go_by_the_animal():
    looks = Looks(count=6)
    drawn = looks.draw(12)
    assert drawn[0] == (1.0, 0.0)
    assert drawn == looks.draw(12) != looks.draw(13)
    assert all(0.75 <= size <= 1.25 and abs(turn) <= 60 for size, turn in drawn)
    assert looks.answers == 12


def test_batches_shares_and_order_change_nothing(pool, tmp_path):
    whole = look_often(loaded(), pool, Looks(count=3), batch_size=3)
    other = look_often(loaded(), pool, Looks(count=3), batch_size=64)
    rows = np.array([7, 2])
    some = look_often(loaded(), pool, Looks(count=3), rows=rows)
    shuffled = pool.select_instances(np.arange(10)[::-1])
    turned = look_often(loaded(), shuffled, Looks(count=3))
    for name in ("keypoints", "confidence", "spread"):
        first = getattr(whole, name)
        assert np.allclose(getattr(other, name), first, equal_nan=True, atol=1e-4)
        assert np.allclose(getattr(some, name), first[rows], equal_nan=True, atol=1e-4)
        assert np.allclose(getattr(turned, name), first[::-1], equal_nan=True, atol=1e-4)


def test_outputs_that_are_no_numbers_are_sure_of_nothing(pool):
    for codec in (loaded().codec, Distribution(len(SKELETON), (SIZE, SIZE))):
        model = replace(loaded(Blobs(broken=True)), codec=codec)
        found = look_often(model, pool, Looks(count=2))
        assert (found.confidence == 0).all()
        assert np.isnan(found.keypoints).all()


def test_an_unreadable_picture_is_told_apart(pool):
    (pool.root / "3.png").write_bytes(b"")
    found = look_often(loaded(), pool, Looks(count=2))
    assert found.readable.tolist() == [i != 3 for i in range(10)]
    assert np.isnan(found.keypoints[3]).all()
    assert not found.confidence[3].any()


def test_no_pictures_is_said_in_words(pool, tmp_path):
    nothing = pool.select_instances(np.zeros(10, bool))
    with pytest.raises(UserError, match="no unlabelled pictures: the pool holds no animal"):
        look_often(loaded(), nothing, Looks())
    with pytest.raises(UserError, match="no unlabelled pictures"):
        pseudo_labels(tmp_path / "p.safetensors", loaded(), nothing, Looks())
    with pytest.raises(UserError, match="looks must be 1 or more"):
        Looks(count=0)
    with pytest.raises(UserError, match="float32 or bfloat16"):
        look_often(loaded(), pool, Looks(), precision="int4")


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(pseudo_files, "SHARD", 3)


LOOKS = Looks(count=2)


def same(one, other) -> None:
    assert one.names == other.names
    for name in ("keypoints", "confidence", "spread", "readable"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name


def test_the_file_gives_back_what_was_made_in_the_pools_order(pool, tmp_path, small_shards):
    path = tmp_path / "made" / "p.safetensors"
    model = loaded()
    made = pseudo_labels(path, model, pool, LOOKS)
    seen = model.model.seen
    same(pseudo_labels(path, model, pool, LOOKS), made)
    assert model.model.seen == seen  # nothing is looked at again
    assert [file.name for file in path.parent.iterdir()] == ["p.safetensors"]
    order = np.random.default_rng(0).permutation(10)
    same(read(path, pool.select_instances(order)), made.rows(order))


def test_a_killed_run_goes_on_and_gives_the_same(pool, tmp_path, small_shards):
    whole = pseudo_labels(tmp_path / "whole.safetensors", loaded(), pool, LOOKS)

    class Killed(Exception):
        pass

    def kill(line: str) -> None:
        if "shard 2 of 4" in line:
            raise Killed

    path = tmp_path / "cut.safetensors"
    with pytest.raises(Killed):
        pseudo_labels(path, loaded(), pool, LOOKS, work=Work(tell=kill))
    assert not path.exists()
    model = loaded()
    same(pseudo_labels(path, model, pool, LOOKS), whole)
    assert model.model.seen == 4 * LOOKS.answers  # of ten animals six were done
    assert path.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_parts_by_several_make_one(pool, tmp_path, small_shards):
    whole = pseudo_labels(tmp_path / "whole.safetensors", loaded(), pool, LOOKS)
    path = tmp_path / "parts.safetensors"
    first = pseudo_labels(path, loaded(), pool, LOOKS, work=Work(share=(0, 3)))
    assert first is None
    assert not path.exists()
    assert pseudo_labels(path, loaded(), pool, LOOKS, work=Work(share=(1, 3))) is None
    same(pseudo_labels(path, loaded(), pool, LOOKS, work=Work(share=(2, 3))), whole)
    with pytest.raises(UserError, match="part 4 of 3"):
        Work(share=(3, 3))


@pytest.mark.parametrize(
    "change, told",
    [
        (dict(model=loaded(sha="b" * 64)), "another model"),
        (dict(looks=Looks(count=3)), "another looks"),
        (dict(precision="bfloat16"), "another precision"),
    ],
)
def test_a_stale_file_is_refused(pool, tmp_path, change, told):
    path = tmp_path / "p.safetensors"
    pseudo_labels(path, loaded(), pool, LOOKS)
    more = {"precision": change["precision"]} if "precision" in change else {}
    with pytest.raises(UserError, match=rf"p\.safetensors: stale, made from {told}; remove it"):
        pseudo_labels(path, change.get("model", loaded()), pool, change.get("looks", LOOKS), **more)


def test_another_pool_is_another_file(pool, tmp_path):
    path = tmp_path / "p.safetensors"
    pseudo_labels(path, loaded(), pool, LOOKS)
    with pytest.raises(UserError, match="another pool"):
        read(path, pool.select_images(np.arange(10) < 5))
    boxes = pool.bboxes.copy()
    boxes[4, 2] -= 1
    with pytest.raises(UserError, match="another pool"):
        read(path, replace(pool, bboxes=boxes))
    (pool.root / "0.png").write_bytes((pool.root / "0.png").read_bytes() + b"\0")
    with pytest.raises(UserError, match="another pool"):
        read(path, pool)


def test_labels_are_not_part_of_the_pool(pool):
    hidden = replace(pool, keypoints=pool.keypoints * np.nan, visibility=pool.visibility * 0)
    assert pool_digest(hidden) == pool_digest(pool)
    assert key_of(loaded(), hidden, LOOKS) == key_of(loaded(), pool, LOOKS)


@settings(max_examples=12)
@given(data=st.data())
def test_a_file_that_is_cut_or_spoilt_is_refused(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoilt")
    path = folder / "p.safetensors"
    path.write_bytes(whole_file(folder))
    content = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(bytes(spoilt))
    with pytest.raises(UserError, match=r"not a whole file of pseudo-labels|stale"):
        pseudo_files.read(path, EMPTY, key=KEY)


KEY = {"model": "m", "pool": "p"}
EMPTY = None


def whole_file(folder: Path) -> bytes:
    from tetrapose.training.labelfree.pseudo_labels import PseudoLabels

    labels = PseudoLabels(
        ("a", "b"), np.ones((3, 2, 2), np.float32), np.ones((3, 2), np.float32),
        np.ones((3, 2), np.float32), np.ones(3, bool),
    )  # fmt: skip
    pseudo_files._write(folder / "whole.safetensors", labels, np.arange(3), KEY)
    return (folder / "whole.safetensors").read_bytes()


def test_shards_of_other_settings_are_not_joined(pool, tmp_path, small_shards):
    path = tmp_path / "p.safetensors"
    pseudo_labels(path, loaded(), pool, LOOKS, work=Work(share=(0, 2)))
    other = Looks(count=3)
    assert pseudo_labels(path, loaded(), pool, other, work=Work(share=(1, 2))) is None
    parts = tmp_path / "p.safetensors.parts"
    assert json.loads((parts / "key.json").read_text())["looks"]["count"] == 3
    assert sorted(file.name for file in parts.glob("*.safetensors")) == [
        "00001.safetensors", "00003.safetensors",
    ]  # fmt: skip


def test_a_full_disk_is_told_in_a_line_and_leaves_no_file(pool, tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"

    def full(*args):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(pseudo_files.os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        pseudo_labels(path, loaded(), pool, LOOKS)
    assert not path.exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_file_of_another_kind_is_refused(pool, tmp_path):
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        read(tmp_path / "p.npy", pool)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "absent.safetensors", pool)
    foreign = tmp_path / "weights.safetensors"
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, foreign)
    with pytest.raises(UserError, match="not a whole file of pseudo-labels"):
        read(foreign, pool)


def test_boxes_of_a_look_hold_what_the_crop_shows(pool):
    """The scale of a look is that of the region, about the box's own middle."""
    center, size = geometry.box_to_region(pool.bboxes[:1], aspect=1.0, padding=1.0)
    matrix = geometry.crop_matrix(center[0], size[0] * 1.2, (SIZE, SIZE))
    corner = geometry.transform_points(matrix, np.array([[0.0, 0.0]]))
    assert corner[0, 0] > 0  # a larger region: the box's corner lies inside the crop
