"""From picture to points: a network that sees coloured blobs must find them where they are."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from tetrapose import geometry, skeletons
from tetrapose.codecs import Heatmap
from tetrapose.data.crops import CropDataset
from tetrapose.errors import UserError
from tetrapose.inference.ahead import map_ahead
from tetrapose.inference.cutting import Cutter, Item, cut
from tetrapose.inference.predictor import Predictor, load
from tetrapose.models.small import small
from tetrapose.structures import PoseSet
from tetrapose.weights import card

NAMES = ("nose", "withers", "tailbase")  # on the midline, so that colours survive mirroring
BLOBS = skeletons.from_dict(
    {
        "name": "blobs",
        "source": {"keypoints": "test"},
        "edges": [],
        "keypoints": [{"name": n, "sigma": 0.05, "part": "trunk", "site": "blob"} for n in NAMES],
    }
)
SIDED = skeletons.load("akd_cats")


class SeesColours(nn.Module):
    """The perfect network for blobs: map k is channel k of the crop at stride 4."""

    def forward(self, x):
        return nn.functional.avg_pool2d(x, 4)


def seer(size=(64, 64), **options) -> Predictor:
    codec = Heatmap(3, input_size=size, decoder="dark", blur_kernel=5)
    return Predictor(SeesColours(), codec, BLOBS, (0.0,) * 3, (1.0,) * 3, **options)


@pytest.fixture(scope="module")
def network() -> Predictor:
    """A real network with random weights on a skeleton that has sides."""
    torch.manual_seed(0)
    model = small(len(SIDED), channels=(8, 8, 16, 16), blocks=(1, 1, 1, 1), neck=16).eval()
    with torch.no_grad():
        model.head.weight.normal_(0, 1.0)
    return Predictor(
        model, Heatmap(len(SIDED), input_size=(64, 64)), SIDED, (0.48,) * 3, (0.23,) * 3
    )


def blobs(width: int, height: int, points: np.ndarray, sigma: float) -> np.ndarray:
    """A black picture with a red, a green and a blue blob at ``points`` (3, 2)."""
    x, y = np.arange(width), np.arange(height)
    columns = np.exp(-((x[None] - points[:, :1]) ** 2) / (2 * sigma**2))
    rows = np.exp(-((y[None] - points[:, 1:]) ** 2) / (2 * sigma**2))
    return np.round(250 * np.einsum("kh,kw->hwk", rows, columns)).astype(np.uint8)


def place(box: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return box[:2] + shares * (box[2:] - box[:2])


SHARES = np.array([[0.23, 0.31], [0.52, 0.7], [0.77, 0.4]])


@settings(max_examples=40)
@given(
    width=st.integers(40, 400),
    height=st.integers(40, 400),
    corner=st.tuples(st.floats(-0.2, 0.4), st.floats(-0.2, 0.4)),
    extent=st.tuples(st.floats(0.4, 0.9), st.floats(0.4, 0.9)),
    crop=st.sampled_from([(64, 64), (96, 64), (64, 96)]),
    flip=st.booleans(),
)
def test_points_come_back_where_they_are(width, height, corner, extent, crop, flip):
    size = np.array([width, height], dtype=float)
    low = np.array(corner) * size
    box = np.concatenate([low, low + np.array(extent) * size])
    points = np.clip(place(box, SHARES), 0, size - 1)
    _, region = geometry.box_to_region(box[None], aspect=crop[0] / crop[1])
    pixel = region[0, 0] / crop[0]  # picture pixels a crop pixel
    image = blobs(width, height, points, sigma=6 * pixel)
    found = seer(crop, flip=flip).predict(image, box[None])
    inside = ((points > 15 * pixel) & (points < size - 1 - 15 * pixel)).all(axis=1)
    error = np.abs(found.keypoints[0] - points).max(axis=1)[inside]
    assert (error < min(0.5, 0.2 * pixel)).all()
    assert (found.scores[0][inside] > 0.8).all()
    assert (found.visibility == 2).all()


@pytest.mark.parametrize("size", [(1601, 1203), (1024, 768), (999, 2003)])
def test_a_reduced_jpeg_gives_the_same_points(tmp_path, size):
    image_size = np.array(size, dtype=float)
    box = np.concatenate([0.1 * image_size, 0.85 * image_size])
    points = place(box, SHARES)
    pixel = 1.25 * (box[2:] - box[:2]).max() / 128
    path = tmp_path / "big.jpg"
    Image.fromarray(blobs(*size, points, sigma=8 * pixel)).save(path, quality=95, subsampling=0)
    found = seer((128, 128)).predict(path, box)
    assert np.abs(found.keypoints[0] - points).max() < 0.5


def test_the_whole_picture_is_the_box_where_none_is_given():
    points = np.array([[40.0, 50], [100, 70], [150, 30]])
    image = blobs(200, 120, points, sigma=12)
    one = seer().predict(image)
    two = seer().predict(image, geometry.whole_picture_box(200, 120))
    np.testing.assert_array_equal(one.keypoints, two.keypoints)
    np.testing.assert_allclose(one.bboxes, [[-0.5, -0.5, 199.5, 119.5]])
    assert np.abs(one.keypoints[0] - points).max() < 1


def test_every_form_of_a_picture_is_the_same_picture(tmp_path):
    image = blobs(90, 70, np.array([[20.0, 30], [50, 40], [70, 20]]), sigma=8)
    Image.fromarray(image).save(tmp_path / "x.png")
    transparent = np.concatenate([image, np.full((70, 90, 1), 255, np.uint8)], axis=2)
    predictor = seer()
    wanted = predictor.predict(image).keypoints
    forms = (tmp_path / "x.png", str(tmp_path / "x.png"), Image.fromarray(image), transparent)
    for form in forms:
        np.testing.assert_array_equal(predictor.predict(form).keypoints, wanted)
    grey = image[..., 0]
    np.testing.assert_array_equal(
        predictor.predict(grey).keypoints, predictor.predict(np.dstack([grey] * 3)).keypoints
    )


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_an_exif_rotated_file_gives_the_upright_result(tmp_path, orientation):
    image = Image.fromarray(blobs(90, 70, np.array([[20.0, 30], [50, 40], [70, 20]]), sigma=8))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    lying = image.transpose(undo[orientation]) if orientation in undo else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying.save(tmp_path / "turned.png", exif=exif)
    found = seer().predict(tmp_path / "turned.png")
    np.testing.assert_array_equal(found.keypoints, seer().predict(image).keypoints)


def pictures(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Noise pictures of all shapes with none, one or several boxes, and some without boxes."""
    rng = np.random.default_rng(seed)
    out = []
    for number in range(count):
        height, width = rng.integers(30, 120, 2)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        low = rng.uniform(0, 0.4, (number % 4, 2)) * [width, height]
        boxes = np.concatenate([low, low + [0.5 * width, 0.5 * height]], axis=1)
        out.append((image, None if number % 5 == 4 else boxes))
    return out


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_across_pictures_change_nothing(network, batch_size):
    items = pictures(13)
    together = list(replace(network, batch_size=batch_size).predict_many(items))
    assert [len(t) for t in together] == [1 if b is None else len(b) for _, b in items]
    for (image, boxes), found in zip(items, together, strict=True):
        alone = network.predict(image, boxes)
        np.testing.assert_allclose(found.keypoints, alone.keypoints, atol=1e-3)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)
    assert list(network.predict_many([])) == []


def soft_picture(width: int, height: int) -> np.ndarray:
    coarse = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_a_mirrored_picture_gives_mirrored_points_with_sides_exchanged(network):
    image = soft_picture(64, 64)
    box = np.array([6.4, 6.4, 57.6, 57.6]) - 0.5  # padded it is the picture: no pixel is resampled
    here, there = network.predict(image, box), network.predict(image[:, ::-1], box)
    wanted = geometry.mirror_points(here.keypoints, 64, SIDED.flip_indices)
    np.testing.assert_allclose(there.keypoints, wanted, atol=1e-2)
    np.testing.assert_allclose(there.scores, here.scores[:, SIDED.flip_indices], atol=1e-5)
    without = replace(network, flip=False)
    assert not np.allclose(without.predict(image, box).keypoints, here.keypoints, atol=0.5)


@pytest.mark.parametrize("size", [(97, 75), (200, 131)])
def test_mirroring_holds_through_resampling(network, size):
    width, height = size
    image = soft_picture(width, height)
    box = np.array([0.1 * width, 0.2 * height, 0.8 * width, 0.9 * height])
    turned = np.array([width - 1 - box[2], box[1], width - 1 - box[0], box[3]])
    here, there = network.predict(image, box), network.predict(image[:, ::-1], turned)
    wanted = geometry.mirror_points(here.keypoints, width, SIDED.flip_indices)
    # what is left are the warp's interpolation weights, kept in 1/32 of a pixel
    np.testing.assert_allclose(there.scores, here.scores[:, SIDED.flip_indices], atol=0.02)
    assert (np.abs(there.keypoints - wanted).max(axis=-1) < 0.25).mean() > 0.9


def test_numbers_stay_in_their_ranges(network):
    for found in network.predict_many(pictures(9)):
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert np.isfinite(found.keypoints).all()


def test_the_predictor_leaves_the_network_and_the_picture_alone(network):
    before = {name: value.clone() for name, value in network.model.state_dict().items()}
    image = pictures(2)[1][0]
    image.flags.writeable = False
    first, second = network.predict(image), network.predict(image)
    np.testing.assert_array_equal(first.keypoints, second.keypoints)
    after = network.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    "image, bboxes, words",
    [
        (np.zeros((5, 5, 3)), None, "uint8"),
        (np.zeros((5, 5, 7), np.uint8), None, "RGBA"),
        (np.zeros((0, 5, 3), np.uint8), None, r"\(0, 5, 3\)"),
        (7, None, "path"),
        ("no/such/file.jpg", None, "no such file"),
        (np.zeros((9, 9, 3), np.uint8), [1, 2, 3], r"\(N, 4\)"),
        (np.zeros((9, 9, 3), np.uint8), [["a"] * 4], "numbers"),
        (np.zeros((9, 9, 3), np.uint8), [[1, 1, np.nan, 4]], "finite"),
        (np.zeros((9, 9, 3), np.uint8), [[6, 6, 2, 2]], "width, height"),
        (np.zeros((9, 9, 3), np.uint8), [[20, 2, 30, 9]], "outside the picture of 9x9"),
    ],
)
def test_what_cannot_be_used_is_told_plainly(image, bboxes, words):
    with pytest.raises(UserError, match=words):
        seer().predict(image, bboxes)


def test_problems_are_data_where_a_list_is_given(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    good = pictures(2)[1][0]
    boxes = np.array([[1.0, 1, 9, 9], [5, 5, 2, 2], [2, 2, 20, 20]])
    problems = []
    items = [(tmp_path / "bad.jpg", boxes), (good, boxes), (good, None)]
    found = list(seer().predict_many(items, problems=problems))
    assert [len(f) for f in found] == [3, 3, 1]
    assert np.isnan(found[0].keypoints).all()
    assert not found[0].scores.any()
    np.testing.assert_array_equal(np.isnan(found[1].keypoints).all(axis=(1, 2)), [0, 1, 0])
    assert found[1].visibility[1].max() == 0
    assert [p.where.split(":")[0] for p in problems] == [str(tmp_path / "bad.jpg"), "1"]


def make_set(folder: Path) -> tuple[PoseSet, np.ndarray]:
    """Three pictures (one broken) with instances in mixed order, and where the blobs are."""
    rng = np.random.default_rng(2)
    truth = {}
    for name in ("a.png", "b.png"):
        points = rng.uniform(20, 80, (3, 2))
        Image.fromarray(blobs(100, 100, points, sigma=9)).save(folder / name)
        truth[name] = points
    (folder / "c.png").write_bytes(b"")
    index = np.array([1, 2, 0, 1])
    n = len(index)
    keypoints = np.stack([truth["b.png"], np.full((3, 2), np.nan), truth["a.png"], truth["b.png"]])
    pose_set = PoseSet(
        skeleton=BLOBS, root=folder, source="test", licence="none",
        files=("a.png", "b.png", "c.png"), image_ids=np.arange(3), sizes=np.zeros((3, 2), int),
        groups=np.arange(3), image_index=index, keypoints=keypoints,
        visibility=np.full((n, 3), 2, np.uint8),
        bboxes=np.array([[0, 0, 99, 99], [0, 0, 50, 50], [5, 5, 95, 95], [-9, -9, 120, 110.0]]),
        areas=np.ones(n), species=np.zeros(n, int), species_names=("blob",),
        crowd=np.zeros(n, bool), annotation_ids=np.arange(n),
    )  # fmt: skip
    return pose_set, keypoints


def test_rows_of_a_set_match_its_instances(tmp_path):
    pose_set, truth = make_set(tmp_path)
    seen = []
    found = seer().predict_set(pose_set, progress=seen.append)
    np.testing.assert_array_equal(np.isnan(found.keypoints).any(axis=(1, 2)), [0, 1, 0, 0])
    assert np.nanmax(np.abs(found.keypoints - truth)) < 0.6
    assert not found.scores[1].any()
    assert len(found.problems) == 1
    assert "c.png" in str(found.problems[0])
    assert "empty" in str(found.problems[0])
    assert seen[-1] == 4
    empty = seer().predict_set(pose_set.select_instances(np.zeros(4, bool)))
    assert empty.keypoints.shape == (0, 3, 2)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_crop_is_the_one_that_training_saw(tmp_path, kind):
    size = (701, 403)
    points = np.random.default_rng(4).uniform(120, 280, (1, 3, 2))
    Image.fromarray(blobs(*size, points[0], sigma=30)).save(tmp_path / f"x.{kind}")
    pose_set, _ = make_set(tmp_path)
    box = np.array([[60.0, 40, 650, 380]])
    pose_set = replace(
        pose_set.select_instances(np.array([0])), files=(f"x.{kind}",) * 3,
        sizes=np.array([size] * 3), bboxes=box, keypoints=points,
    )  # fmt: skip
    sample = CropDataset(pose_set, size=(96, 64), padding=1.25)[0, 0]
    taken = cut(Item(tmp_path / f"x.{kind}", box), Cutter((96, 64), 1.25))
    # a JPEG read at part of its size is fitted to its exact size here, where results tell it; the
    # training crop is warped from what the decoder gives, without that step
    apart = np.abs(taken.crops[0].astype(int) - sample["image"].transpose(1, 2, 0))
    assert apart.max() <= (0 if kind == "png" else 2)
    moved = geometry.transform_points(taken.matrices[0], points[0])
    np.testing.assert_allclose(moved, sample["keypoints"], atol=1e-4)


def test_a_preview_is_kept_on_request_and_points_lie_on_it():
    points = np.array([[60.0, 90], [200, 140], [300, 60]])
    image = blobs(400, 240, points, sigma=20)
    (found,) = seer().stream([Item(image, key="k")], preview=100)
    assert found.key == "k"
    assert found.size == (400, 240)
    assert found.preview.shape == (60, 100, 3)
    for k, (x, y) in enumerate(np.round(found.scaled().keypoints[0]).astype(int)):
        assert found.preview[y, x, k] > 220
    (bare,) = seer().stream([Item(image)])
    assert bare.preview is None


def test_reading_ahead_is_ordered_bounded_and_ends_with_its_reader():
    drawn = []

    def source():
        for number in range(1000):
            drawn.append(number)
            yield number

    ahead = map_ahead(lambda n: n * n, source(), depth=5, workers=3)
    assert [next(ahead) for _ in range(4)] == [0, 1, 4, 9]
    assert len(drawn) <= 4 + 5
    ahead.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]
    assert list(map_ahead(str, range(7), depth=2, workers=2)) == list("0123456")


def test_an_error_comes_where_its_result_would_have():
    ahead = map_ahead(lambda n: 1 // n, [1, 1, 0, 1], depth=4, workers=2)
    assert [next(ahead), next(ahead)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(ahead)

    def broken():
        yield np.zeros((20, 20, 3), np.uint8), None
        raise RuntimeError("the camera fell")

    with pytest.raises(RuntimeError, match="camera"):
        list(seer().predict_many(broken()))


def test_load_takes_everything_from_the_card(tmp_path, network):
    arguments = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "neck": 16}
    described = card.describe(
        "tetrapose.models.small:small", arguments, skeleton=SIDED, codec=network.codec,
        normalisation={"mean": [0.48] * 3, "std": [0.23] * 3}, crop={"padding": 1.25},
    )  # fmt: skip
    card.save(tmp_path / "m.safetensors", network.model, described, dtype=torch.float32)
    image = pictures(2)[1][0]
    loaded = load(tmp_path / "m.safetensors", device="cpu")
    wanted = network.predict(image)
    np.testing.assert_allclose(loaded.predict(image).keypoints, wanted.keypoints, atol=1e-2)
    assert loaded.skeleton.names == SIDED.names
    assert loaded.protocol["flip_test"] is True
    assert loaded.protocol["weights_sha256"] == loaded.card["sha256"]
    plain = load(card.load(tmp_path / "m.safetensors"), decoder="argmax", flip=False)
    centres = (plain.predict(image, [0, 0, 51.2, 51.2]).keypoints[0] + 0.5 + 6.4 - 0.5) % 4
    np.testing.assert_allclose(centres, 2, atol=1e-6)  # whole cells of stride 4, pixel for pixel
    with pytest.raises(UserError, match="shift"):
        load(tmp_path / "m.safetensors", decoder="best")
    with pytest.raises(UserError, match="device"):
        load(tmp_path / "m.safetensors", device="abacus")
    with pytest.raises(UserError, match="batch_size"):
        load(tmp_path / "m.safetensors", batch_size=0)
