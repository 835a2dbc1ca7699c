"""Every coding along the whole line: crops cut by its warp, points back in the picture, mirrored.

A network that resamples colours at a codec's own cells is perfect for blobs under any coding.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tetrapose import geometry, skeletons
from tetrapose.codecs import Codec, Distribution, Heatmap, Signed, SimCC
from tetrapose.codecs.grids import KINDS, Grid
from tetrapose.data.augment import Jitter, Mirror
from tetrapose.data.crops import CropDataset, to_batch
from tetrapose.errors import UserError
from tetrapose.inference.cutting import Cutter, Item, cut
from tetrapose.inference.predictor import Predictor, load
from tetrapose.structures import PoseSet

SIZE = (96, 64)
NAMES = ("nose", "withers", "tailbase")  # on the midline, so that colours survive mirroring
BLOBS = skeletons.from_dict(
    {
        "name": "blobs",
        "source": {"keypoints": "test"},
        "edges": [],
        "keypoints": [{"name": n, "sigma": 0.05, "part": "trunk", "site": "blob"} for n in NAMES],
    }
)
CODECS: dict[str, Any] = {
    "heatmap": Heatmap(3, SIZE, blur_kernel=5),
    "udp": Heatmap(3, SIZE, grid="centres", window=True, decoder="dark_udp", blur_kernel=5),
    "origin": Heatmap(3, SIZE, grid="origin", blur_kernel=5),
    "signed": Signed(3, SIZE, blur_kernel=5),
    "distribution": Distribution(3, SIZE, blur_kernel=5),
    "simcc": SimCC(3, SIZE, unbiased=True, decoder="dark"),
}
POINTS = np.array([[52.3, 41.7], [85.0, 60.2], [121.6, 49.9]])
BOX = np.array([[30.0, 20.0, 150.0, 85.0]])


class Sees(nn.Module):
    """The perfect network for blobs, whatever the grid; ``hidden`` colours come out negative."""

    def __init__(self, codec: Any, hidden: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.codec, self.hidden = codec, hidden

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.codec, SimCC):
            width, height = self.codec.bins
            x_bins = sampled(x.mean(2, keepdim=True), Grid("borders", SIZE, (width, 1)))
            y_bins = sampled(x.mean(3, keepdim=True), Grid("borders", SIZE, (1, height)))
            return torch.cat([x_bins.flatten(2), y_bins.flatten(2)], -1).clamp_min(1e-9).log()
        maps = sampled(x, self.codec.cells)
        if isinstance(self.codec, Distribution):
            return maps.clamp_min(1e-9).log()
        signs = torch.ones(3)
        signs[list(self.hidden)] = -1
        return maps * signs[:, None, None]


def sampled(x: Tensor, grid: Grid) -> Tensor:
    """Pixels (B, C, H, W) read at the places of the grid's cells."""
    w, h = grid.map_size
    across = grid.to_pixels(torch.stack([torch.arange(w), torch.zeros(w)], -1).float())[:, 0]
    down = grid.to_pixels(torch.stack([torch.zeros(h), torch.arange(h)], -1).float())[:, 1]
    places = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1)
    size = torch.tensor([x.shape[3], x.shape[2]])
    at = (2 * places + 1) / size - 1
    return nn.functional.grid_sample(
        x, at.expand(len(x), h, w, 2), align_corners=False, padding_mode="border"
    )


def picture() -> np.ndarray:
    x, y = np.arange(180), np.arange(110)
    columns = np.exp(-((x[None] - POINTS[:, :1]) ** 2) / (2 * 9**2))
    rows = np.exp(-((y[None] - POINTS[:, 1:]) ** 2) / (2 * 9**2))
    return np.round(250 * np.einsum("kh,kw->hwk", rows, columns)).astype(np.uint8)


def seer(codec: Codec, hidden: tuple[int, ...] = (), **more: Any) -> Predictor:
    return Predictor(Sees(codec, hidden), codec, BLOBS, (0.0,) * 3, (1.0,) * 3, **more)


@pytest.mark.parametrize("flip", (False, True))
@pytest.mark.parametrize("name", CODECS)
def test_points_lie_where_the_blobs_are(name: str, flip: bool) -> None:
    found = seer(CODECS[name], flip=flip).predict(picture(), BOX)
    # origin's mirrored maps lie a fraction of a cell beside the straight ones: 1 / 2 of a pixel
    bound = 1.0 if name == "origin" and flip else 0.25
    assert float(np.abs(found.keypoints[0] - POINTS).max()) < bound
    assert found.visibility.tolist() == [[2, 2, 2]]


def test_hidden_points_arrive_as_hidden() -> None:
    found = seer(CODECS["signed"], hidden=(1,)).predict(picture(), BOX)
    assert float(np.abs(found.keypoints[0] - POINTS).max()) < 0.25
    assert found.visibility.tolist() == [[2, 1, 2]]
    many = list(
        seer(CODECS["signed"], hidden=(0,), batch_size=2).predict_many(
            [(picture(), np.repeat(BOX, 3, axis=0)), (picture(), np.full((1, 4), np.nan))],
            problems=[],
        )
    )
    assert many[0].visibility.tolist() == [[1, 2, 2]] * 3
    assert many[1].visibility.tolist() == [[0, 0, 0]]


@pytest.fixture
def labelled(tmp_path: Path) -> PoseSet:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    return PoseSet(
        skeleton=BLOBS, root=tmp_path, source="blobs", licence="CC0", files=("a.png",),
        image_ids=np.arange(1), sizes=np.array([[180, 110]]), groups=np.arange(1),
        image_index=np.zeros(1, int), keypoints=POINTS[None].astype(np.float32),
        visibility=np.array([[2, 1, 0]], np.uint8), bboxes=BOX.astype(np.float32),
        areas=np.full(1, 6000.0), species=np.zeros(1, int), species_names=("blob",),
        crowd=np.zeros(1, bool), annotation_ids=np.arange(1),
    )  # fmt: skip


@pytest.mark.parametrize("warp", KINDS)
def test_training_and_prediction_cut_the_same_crop(labelled: PoseSet, warp: str) -> None:
    crops = CropDataset(labelled, size=SIZE, warp=warp)
    sample = crops[0, 0]
    taken = cut(Item(labelled.path(0), BOX), Cutter(SIZE, 1.25, warp=warp))
    np.testing.assert_allclose(crops.matrix(0), taken.matrices[0])
    assert np.array_equal(sample["image"], taken.crops[0].transpose(2, 0, 1))
    np.testing.assert_allclose(
        sample["keypoints"], geometry.transform_points(taken.matrices[0], POINTS), atol=1e-4
    )
    centre = geometry.transform_points(crops.matrix(0), np.array([[90.0, 52.5]]))[0]
    half = 0.5 if warp == "origin" else 0.0
    np.testing.assert_allclose(centre, [47.5 + half, 31.5 + half], atol=1e-9)


@pytest.mark.parametrize("warp", KINDS)
def test_changed_crops_keep_points_on_their_blobs(labelled: PoseSet, warp: str) -> None:
    """Mirror, turn and scale under each warp: pixels and points go by one matrix."""
    changes = (Jitter(scale=(0.9, 1.1), shift=0.02), Mirror(1.0))
    crops = CropDataset(labelled, size=(192, 128), changes=changes, warp=warp)
    for epoch in range(4):
        sample = crops[epoch, 0]
        grey = np.asarray(sample["image"]).astype(float)
        for k, (x, y) in enumerate(np.asarray(sample["keypoints"])):
            weight = grey[k] * (grey[k] > 120)
            rows, columns = np.mgrid[:128, :192]
            there = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]
            np.testing.assert_allclose(there, [x, y], atol=0.3)


def test_visibility_comes_with_the_batch(labelled: PoseSet) -> None:
    plain, turned = (
        to_batch([CropDataset(labelled, size=SIZE, changes=changes)[0, 0]])
        for changes in ((), (Mirror(1.0),))
    )
    assert plain["visibility"].tolist() == [[2, 1, 0]]
    assert plain["visibility"].dtype == torch.uint8
    assert turned["visibility"].tolist() == [[2, 1, 0]]  # all on the midline
    missing = labelled.keypoints.copy()
    missing[0, 0] = np.nan
    gone = replace(labelled, keypoints=missing)
    assert CropDataset(gone, size=SIZE)[0, 0]["visibility"].tolist() == [0, 1, 0]  # type: ignore[union-attr]


def test_visibility_goes_with_its_point_when_sides_are_exchanged(tmp_path: Path) -> None:
    sided = skeletons.load("akd_cats")
    Image.fromarray(picture()).save(tmp_path / "a.png")
    k = len(sided)
    seen = (np.arange(k) % 2 + 1).astype(np.uint8)[None]
    points = np.random.default_rng(0).uniform(40, 80, (1, k, 2)).astype(np.float32)
    pose_set = PoseSet(
        skeleton=sided, root=tmp_path, source="x", licence="CC0", files=("a.png",),
        image_ids=np.arange(1), sizes=np.array([[180, 110]]), groups=np.arange(1),
        image_index=np.zeros(1, int), keypoints=points, visibility=seen,
        bboxes=BOX.astype(np.float32), areas=np.full(1, 6000.0), species=np.zeros(1, int),
        species_names=("cat",), crowd=np.zeros(1, bool), annotation_ids=np.arange(1),
    )  # fmt: skip
    turned = CropDataset(pose_set, size=SIZE, changes=(Mirror(1.0),))[0, 0]
    assert np.array_equal(turned["visibility"], seen[0][sided.flip_indices])
    assert not np.array_equal(turned["visibility"], seen[0])


def test_a_decoder_that_a_codec_lacks_is_one_line(tmp_path: Path) -> None:
    from tetrapose.models.simcc import simcc
    from tetrapose.weights import card

    network = {"_target_": "tetrapose.models.small.small", "channels": [8, 8, 8, 8]}
    network |= {"blocks": [1, 1, 1, 1], "neck": 8}
    arguments = {"network": network, "input_size": [96, 64]}
    described = card.describe(
        "tetrapose.models.simcc:simcc", arguments, skeleton=BLOBS, codec=CODECS["simcc"],
        normalisation={"mean": [0.5] * 3, "std": [0.25] * 3}, crop={"padding": 1.25},
    )  # fmt: skip
    path = tmp_path / "bins.safetensors"
    card.save(path, simcc(3, **arguments), described)
    found = load(path).predict(picture(), BOX)
    assert found.keypoints.shape == (1, 3, 2)
    assert np.isfinite(found.keypoints).all()
    with pytest.raises(UserError, match="this model's codec: decoder must be one of argmax, dark"):
        load(path, decoder="shift")
