"""A crop's points lie on what they named in the picture, however scaled, turned or mirrored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tetrapose import skeletons
from tetrapose.data.augment import HalfBody, Jitter, Labels, Mirror, Region
from tetrapose.data.crops import CropDataset, EpochSampler
from tetrapose.structures import PoseSet

FLIPS = skeletons.from_dict(
    {
        "name": "three blobs",
        "source": {"keypoints": "test"},
        "edges": [],
        "keypoints": [
            {"name": name, "sigma": 0.05, "part": "head", "site": "blob"}
            for name in ("left_eye", "nose", "right_eye")
        ],
    }
)
CATS = skeletons.load("akd_cats")
SIZE = (96, 80)
SHARES = np.array([[0.35, 0.4], [0.5, 0.62], [0.68, 0.45]])  # of the picture, inside any crop of it


def blob_set(folder: Path, size: tuple[int, int], suffix: str = ".png") -> PoseSet:
    """One picture: the left eye a red blob, the nose a green one, the right eye a blue one."""
    width, height = size
    points = SHARES * size + 0.3
    spread = 2 * (0.04 * width) ** 2
    columns = np.exp(-((np.arange(width) - points[:, :1]) ** 2) / spread)
    rows = np.exp(-((np.arange(height) - points[:, 1:]) ** 2) / spread)
    picture = np.round(250 * np.einsum("ch,cw->hwc", rows, columns)).astype(np.uint8)
    options = {"quality": 95, "subsampling": 0} if suffix == ".jpg" else {}
    Image.fromarray(picture).save(folder / f"blobs{suffix}", **options)
    return pose_set(folder, f"blobs{suffix}", size, points[None], FLIPS)


def pose_set(
    folder: Path, file: str, size: tuple[int, int], points: np.ndarray, skeleton: Any
) -> PoseSet:
    """Instances of one picture, each with a box that is the middle 60 % of it."""
    n, (width, height) = len(points), size
    box = np.array([0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height]) - 0.5
    return PoseSet(
        skeleton=skeleton, root=folder, source="test", licence="CC0", files=(file,),
        image_ids=np.arange(1), sizes=np.array([size]), groups=np.arange(1),
        image_index=np.zeros(n, int), keypoints=points.astype(np.float32),
        visibility=np.where(np.isnan(points[..., 0]), 0, 2).astype(np.uint8),
        bboxes=np.tile(box.astype(np.float32), (n, 1)), areas=np.full(n, 1e4),
        species=np.zeros(n, int), species_names=("blob",), crowd=np.zeros(n, bool),
        annotation_ids=np.arange(n),
    )  # fmt: skip


def seen(image: np.ndarray) -> np.ndarray:
    """(3, 2) middles of the red, the green and the blue blob of a crop (3, H, W)."""
    light = np.where(image > 12, image, 0).astype(np.float64)
    across, down = light.sum(1), light.sum(2)
    total = light.sum((1, 2))
    x = (across * np.arange(across.shape[1])).sum(1) / total
    y = (down * np.arange(down.shape[1])).sum(1) / total
    return np.stack([x, y], axis=1)


JITTER = Jitter(scale=(0.9, 1.5), shift=0.05, rotation=40, rotation_chance=0.8)


def worst(data: PoseSet, *, mirror: bool, epochs: int, size: tuple[int, int] = SIZE) -> float:
    """The largest distance, over many draws, from a point to the middle of what it names."""
    changes = (JITTER, Mirror(chance=float(mirror)))
    crops = CropDataset(data, size=size, changes=changes, seed=3)
    colour_of = [2, 1, 0] if mirror else [0, 1, 2]
    distances = []
    for epoch in range(epochs):
        sample = crops[epoch, 0]
        assert sample["image"].shape == (3, size[1], size[0])
        assert sample["weights"].tolist() == [1, 1, 1]
        distances.append(np.abs(sample["keypoints"] - seen(sample["image"])[colour_of]).max())
    return max(distances)


@pytest.mark.parametrize("mirror", (False, True))
def test_a_point_goes_where_its_pixel_goes(tmp_path: Path, mirror: bool) -> None:
    """In a mirrored crop the right eye is where the picture's left eye went."""
    assert worst(blob_set(tmp_path, (230, 190)), mirror=mirror, epochs=40) < 0.15


@pytest.mark.parametrize("mirror", (False, True))
def test_so_it_does_in_a_large_picture(tmp_path: Path, mirror: bool) -> None:
    """A JPEG much larger than its crop is decoded at reduced size."""
    data = blob_set(tmp_path, (1211, 1003), ".jpg")
    assert worst(data, mirror=mirror, epochs=10) < 0.15


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (250, 120, 10)).save(tmp_path / "orange.png")
    data = pose_set(tmp_path, "orange.png", (50, 40), np.full((1, 3, 2), 20.0), FLIPS)
    sample = CropDataset(data, size=(32, 32), padding=1.0)[0, 0]
    assert (sample["image"] == np.uint8([250, 120, 10])[:, None, None]).all()


def test_padding_is_the_share_of_the_box_that_is_seen(tmp_path: Path) -> None:
    points = np.array([[[0.2 * 200, 0.2 * 100], [0.8 * 200, 0.8 * 100], [100, 50]]]) - 0.5
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    data = pose_set(tmp_path, "a.png", (200, 100), points, FLIPS)
    sample = CropDataset(data, size=(120, 60), padding=1.25)[0, 0]
    borders = np.array([[0.1 * 120, 0.1 * 60], [0.9 * 120, 0.9 * 60], [60, 30]]) - 0.5
    np.testing.assert_allclose(sample["keypoints"], borders, atol=1e-3)


def test_unlabelled_points_stay_so_and_follow_the_mirror(tmp_path: Path) -> None:
    data = blob_set(tmp_path, (100, 90))
    data.keypoints[0, 0] = np.nan
    plain = CropDataset(data, size=SIZE)[0, 0]
    turned = CropDataset(data, size=SIZE, changes=(Mirror(1.0),))[0, 0]
    assert plain["weights"].tolist() == [0, 1, 1]
    assert np.isnan(plain["keypoints"]).all(-1).tolist() == [True, False, False]
    assert turned["weights"].tolist() == [1, 1, 0]
    assert np.isnan(turned["keypoints"]).all(-1).tolist() == [False, False, True]


def test_draws_depend_on_seed_epoch_and_row_alone(tmp_path: Path) -> None:
    data = blob_set(tmp_path, (100, 90)).select_instances(np.zeros(4, int))

    def draw(seed: int, *keys: tuple[int, int]) -> list[np.ndarray]:
        crops = CropDataset(data, size=SIZE, changes=(JITTER, Mirror(), HalfBody()), seed=seed)
        return [np.asarray(crops[key]["keypoints"]) for key in keys]

    here = draw(0, (0, 0), (0, 1), (1, 0), (1, 1))
    np.testing.assert_equal(draw(0, (1, 1), (1, 0), (0, 1), (0, 0))[::-1], here)
    others = [*here[1:], *draw(1, (0, 0))]
    assert all(np.abs(other - here[0]).max() > 0.5 for other in others)


def test_what_cannot_be_read_weighs_nothing(tmp_path: Path) -> None:
    data = blob_set(tmp_path, (100, 90))
    (tmp_path / "blobs.png").write_bytes(b"not a picture")
    sample = CropDataset(data, size=SIZE)[0, 0]
    assert sample["readable"] is False
    assert sample["weights"].tolist() == [0, 0, 0]
    assert not sample["image"].any()


def test_every_row_once_in_another_order_each_epoch() -> None:
    sampler = EpochSampler(50, seed=1)
    passes = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert {epoch} == {e for e, _ in keys}
        passes.append([row for _, row in keys])
    assert all(sorted(rows) == list(range(50)) for rows in passes)
    assert passes[0] != passes[1] != passes[2]
    assert list(EpochSampler(5, shuffle=False)) == [(0, i) for i in range(5)]


@pytest.mark.parametrize("aspect", (0.5, 1.0, 2.0))
def test_half_a_body_is_seen_whole(aspect: float) -> None:
    """The half that was drawn lies inside the region, whatever its shape and the region's."""
    rng = np.random.default_rng(0)
    front = np.isin(np.arange(len(CATS)), CATS.upper_indices())
    drawn = {"front": 0, "back": 0, "neither": 0}
    for _ in range(60):
        points = rng.uniform(0, 1, (len(CATS), 2)) * rng.uniform(20, 300, 2)
        whole = Region(points.mean(0), np.array([400 * aspect, 400]))
        half = HalfBody(chance=0.8)(whole, Labels(points, CATS), rng)
        assert half.size[0] == pytest.approx(half.size[1] * aspect)
        if half is whole:
            drawn["neither"] += 1
            continue
        inside = (np.abs(points - half.center) <= half.size / 2).all(-1)
        middles = [(points[h].min(0) + points[h].max(0)) / 2 for h in (front, ~front)]
        name = "front" if np.allclose(half.center, middles[0]) else "back"
        drawn[name] += 1
        assert inside[front if name == "front" else ~front].all()
    assert min(drawn.values()) >= 8, drawn


def test_half_a_body_needs_enough_points() -> None:
    rng = np.random.default_rng(0)
    points = np.full((len(CATS), 2), np.nan)
    points[:8] = rng.uniform(0, 100, (8, 2))
    whole = Region(np.array([50.0, 50.0]), np.array([100.0, 100.0]))
    assert all(HalfBody(chance=1.0)(whole, Labels(points, CATS), rng) is whole for _ in range(20))


def test_jitter_keeps_within_its_bounds() -> None:
    rng = np.random.default_rng(0)
    whole = Region(np.array([50.0, 60.0]), np.array([100.0, 200.0]))
    labels = Labels(np.zeros((len(CATS), 2)), CATS)
    jitter = Jitter(scale=(0.5, 2.0), shift=0.1, rotation=20, rotation_chance=0.5)
    regions = [jitter(whole, labels, rng) for _ in range(500)]
    factors = np.array([r.size / whole.size for r in regions])
    shifts = np.array([(r.center - whole.center) / whole.size for r in regions])
    turns = np.array([r.rotation for r in regions])
    assert 0.5 <= factors.min() < 0.55
    assert 1.8 < factors.max() <= 2.0
    np.testing.assert_allclose(factors[:, 0], factors[:, 1])
    assert 0.09 < np.abs(shifts).max() <= 0.1
    assert 35 < np.abs(turns).max() <= 40
    assert 0.4 < (turns == 0).mean() < 0.6
    assert abs(np.log(factors).mean()) < 0.1


@given(st.lists(st.floats(0, 4), min_size=1, max_size=40), st.integers(0, 99), st.integers(0, 9))
def test_rows_are_drawn_as_often_as_told(draws, seed, epoch):
    wanted = np.array(draws)
    sampler = EpochSampler(len(wanted), seed=seed, draws=wanted)
    sampler.set_epoch(epoch)
    rows = np.array([row for _, row in sampler], dtype=int)
    assert len(rows) == len(sampler) == round(float(wanted.sum()))
    counts = np.bincount(rows, minlength=len(wanted))
    scaled = wanted * len(sampler) / max(wanted.sum(), 1e-12)
    assert (np.abs(counts - scaled) < 1 + 1e-6).all()
    assert rows.tolist() == [row for _, row in sampler]


def test_a_row_with_a_fraction_is_seen_that_often_over_epochs():
    sampler = EpochSampler(4, draws=np.array([0.25, 1.5, 0.0, 2.25]))
    counts = np.zeros(4)
    for epoch in range(400):
        sampler.set_epoch(epoch)
        counts += np.bincount([row for _, row in sampler], minlength=4)
    np.testing.assert_allclose(counts / 400, [0.25, 1.5, 0.0, 2.25], atol=0.1)
