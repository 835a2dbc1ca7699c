"""Laws of finding: the way from picture to canvas and back, tiles, nothing, bad input."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tetrapose import skeletons
from tetrapose.cli import main
from tetrapose.codecs import Heatmap
from tetrapose.codecs.boxes import Boxes
from tetrapose.commands import finding
from tetrapose.errors import UserError
from tetrapose.inference import finder as finders
from tetrapose.inference.finder import NetworkFinder, Seen, grid, load_finder, merged
from tetrapose.inference.found import find_in_set, predict_found, score_boxes
from tetrapose.inference.predictor import Predictor
from tetrapose.models.finder import finder as build
from tetrapose.models.small import small
from tetrapose.structures import PoseSet
from tetrapose.weights import finder as weights

SIDE = 128
CODEC = Boxes(groups=("cat", "dog"), bounds=(40, 80), overlap=0.5)
TINY = {"widths": (8, 8, 8)}


class Colours(nn.Module):
    """Sees each red rectangle as a cat and each blue one as a dog, exactly: a perfect network."""

    def kinds(self, levels, boxes, image):
        """More red than blue within the box: a cat."""
        rows = [torch.zeros(0, 3)]
        for (x1, y1, x2, y2), number in zip(
            boxes.round().int().tolist(), image.tolist(), strict=True
        ):
            part = levels[0][number, :, max(y1, 0) : y2 + 1, max(x1, 0) : x2 + 1]
            rows.append(part.mean((-2, -1))[None])
        seen = torch.cat(rows)
        return 50 * (seen[:, [0, 2]] - seen[:, [2, 0]])

    def look(self, x):
        boxes, kinds = [], []
        for picture in x.numpy():
            rows, names = [], []
            for kind, channel in enumerate((0, 2)):
                other = 2 - channel
                mask = ((picture[channel] > 0.5) & (picture[other] < 0.4)).astype(np.uint8)
                _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
                for left, top, width, height, area in stats[1:]:
                    if area >= 9:
                        rows.append([left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5])
                        names.append(kind)
            boxes.append(torch.tensor(rows, dtype=torch.float32).reshape(-1, 4))
            kinds.append(torch.tensor(names, dtype=torch.int64))
        shapes = CODEC.shapes((x.shape[3], x.shape[2]))
        maps = [
            CODEC.perfect(CODEC.encode(b[None], k[None], torch.zeros(1, 0, 5), shapes), shapes)
            for b, k in zip(boxes, kinds, strict=True)
        ]
        return [torch.cat(level) for level in zip(*maps, strict=True)], [x]


def seer(**more) -> NetworkFinder:
    return NetworkFinder(Colours(), CODEC, SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), **more)


def painted(size: tuple[int, int], boxes, colours) -> np.ndarray:
    picture = np.full((size[1], size[0], 3), 128, np.uint8)
    for (x1, y1, x2, y2), colour in zip(boxes, colours, strict=True):
        picture[y1:y2, x1:x2] = (230, 20, 20) if colour == "cat" else (20, 20, 230)
    return picture


def matched(seen: Seen, boxes, within: float) -> None:
    wanted = np.array(boxes) - 0.5
    assert len(seen) == len(wanted), seen
    away = np.abs(seen.bboxes[:, None] - wanted[None]).max(-1)
    assert away.min(0).max() < within


@pytest.mark.parametrize("size", [(128, 128), (300, 200), (97, 210), (1000, 130)])
def test_boxes_are_in_the_pictures_own_pixels(size):
    boxes = [(size[0] // 8, size[1] // 4, size[0] // 3, size[1] // 2),
             (size[0] // 2, size[1] // 3, size[0] - 8, size[1] - 9)]  # fmt: skip
    seen = seer(tiles=1).find(painted(size, boxes, ("cat", "dog")))
    matched(seen, boxes, 0.8 * max(size) / SIDE + 0.5)
    by_place = np.argsort(seen.bboxes[:, 0])
    assert [seen.groups[i] for i in by_place] == ["cat", "dog"]
    assert seen.size == size


def test_no_animal_is_an_empty_answer():
    for tiles in (None, 1, 3):
        seen = seer(tiles=tiles).find(np.zeros((400, 500, 3), np.uint8))
        assert (len(seen), seen.bboxes.shape, seen.groups) == (0, (0, 4), ())


def test_a_grey_picture_and_one_cut_by_the_border():
    assert len(seer().find(np.full((90, 90), 200, np.uint8))) == 0
    boxes = [(0, 40, 60, 100), (150, 90, 200, 150)]
    matched(seer(tiles=1).find(painted((200, 150), boxes, ("cat", "cat"))), boxes, 2)


def test_forty_animals():
    boxes = [
        (20 + 60 * i, 20 + 60 * j, 50 + 60 * i, 55 + 60 * j) for i in range(8) for j in range(5)
    ]
    picture = painted((500, 320), boxes, ["cat", "dog"] * 20)
    matched(seer(tiles=1).find(picture), boxes, 500 / SIDE)


def test_tiny_animals_are_found_by_tiles_alone():
    """A picture in which an animal is two pixels of the first look."""
    boxes = [(100, 80, 118, 94), (700, 500, 716, 520)]
    picture = painted((1200, 900), boxes, ("cat", "dog"))
    assert len(seer(tiles=1).find(picture)) == 0
    matched(seer(tiles=6).find(picture), boxes, 2)
    assert len(seer().find(picture)) == 2  # without being told


def test_an_animal_that_tiles_cut_is_told_once():
    boxes = [(300, 200, 900, 700)]
    matched(seer(tiles=4).find(painted((1200, 900), boxes, ("cat",))), boxes, 8)


@pytest.mark.parametrize("size", [(640, 480), (100, 900), (500, 500)])
@pytest.mark.parametrize("tiles", [1, 2, 3, 5])
def test_tiles_cover_the_picture_and_overlap(size, tiles):
    cover = np.zeros(size[::-1], int)
    for x1, y1, x2, y2 in np.array(grid(size, tiles)) + 0.5:
        cover[round(y1) : round(y2), round(x1) : round(x2)] += 1
    assert cover.min() >= 1
    along = cover.max(axis=0 if size[0] >= size[1] else 1)
    assert (tiles == 1) == (along.max() == 1)


def test_looks_are_merged():
    def seen(*boxes):
        return Seen(np.array(boxes, float).reshape(-1, 4), np.full(len(boxes), 0.8),
                    ("cat",) * len(boxes), (100, 100))  # fmt: skip

    whole = seen((10, 10, 60, 60))
    assert len(merged(whole, seen((11, 10, 61, 60)), 0.3)) == 1  # the same
    assert len(merged(whole, seen((20, 20, 40, 40)), 0.3)) == 1  # its head
    assert len(merged(whole, seen((70, 70, 90, 90)), 0.3)) == 2  # another
    assert len(merged(seen(), seen((20, 20, 40, 40)), 0.3)) == 1
    assert len(merged(whole, seen(), 0.3)) == 1


def test_a_picture_of_a_hundred_megapixels_is_decoded_small(tmp_path, monkeypatch):
    path = tmp_path / "big.jpg"
    small = painted((1000, 1000), [(300, 400, 500, 600)], ("cat",))
    cv2.imwrite(
        str(path), cv2.resize(small, (10000, 10000), interpolation=cv2.INTER_NEAREST)[..., ::-1]
    )
    read = finders.images.read_image
    shapes = []

    def watched(*args, **more):
        pixels, size = read(*args, **more)
        shapes.append(pixels.shape)
        return pixels, size

    monkeypatch.setattr(finders.images, "read_image", watched)
    seen = seer(tiles=1).find(path)
    assert shapes == [(1250, 1250, 3)]
    matched(seen, [(3000, 4000, 5000, 6000)], 80)


@pytest.mark.parametrize("wrong", [b"", b"not a picture"])
def test_bad_files_are_told(tmp_path, wrong):
    (tmp_path / "x.jpg").write_bytes(wrong)
    with pytest.raises(UserError, match="x.jpg"):
        seer().find(tmp_path / "x.jpg")
    with pytest.raises(UserError, match="an image is"):
        seer().find(7)


@pytest.mark.parametrize("more", [{"tiles": 0}, {"least": 0.0}, {"least": 1.0}])
def test_settings_that_cannot_be(more):
    with pytest.raises(UserError):
        seer(**more)


@pytest.fixture(scope="module")
def finder_file(tmp_path_factory) -> Path:
    """A finder that never learnt: it sees nothing above its least score."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("finder") / "blind.safetensors"
    card = {
        "architecture": {"builder": "tetrapose.models.finder:finder", "arguments": TINY},
        "codec": CODEC.to_dict(), "input": {"side": 64},
        "normalisation": {"mean": [0, 0, 0], "std": [1, 1, 1]},
    }  # fmt: skip
    weights.save(path, build(2, **TINY), card)
    return path


def test_a_file_becomes_a_finder(finder_file):
    found = load_finder(finder_file, least=0.001)
    assert found.protocol["least_score"] == 0.001
    assert found.protocol["side"] == 64
    seen = found.find(np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8))
    assert len(seen) > 0
    assert (seen.bboxes >= -0.5).all()
    assert (seen.bboxes <= [89.5, 69.5, 89.5, 69.5]).all()
    with pytest.raises(UserError, match="no such file"):
        load_finder(finder_file.parent / "none.safetensors")
    with pytest.raises(UserError, match="folder without config.json"):
        load_finder(finder_file.parent)


def test_predict_says_that_there_is_no_animal(finder_file, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 60, 3), 90, np.uint8))
    out = tmp_path / "out"
    status = main(["predict", str(tmp_path / "a.png"), "--out", str(out), "--finder",
                   str(finder_file), "--tiles", "2"])  # fmt: skip
    told = capsys.readouterr()
    assert status == 0
    assert "a.png: no animal found" in told.err
    assert "(1 without an animal), 0 animals" in told.out
    assert json.loads((out / "predictions.json").read_text()) == []
    drawn = cv2.imread(str(out / "a.jpg"))
    assert np.abs(drawn.astype(int) - 90).max() <= 3  # nothing is drawn


def test_predict_writes_scores_and_groups_of_boxes(finder_file, tmp_path, monkeypatch):
    monkeypatch.setattr(finders, "load_finder", lambda *_, **__: seer(tiles=1))
    boxes = [(20, 30, 90, 100), (130, 40, 190, 120)]
    cv2.imwrite(str(tmp_path / "a.png"), painted((220, 160), boxes, ("cat", "dog"))[..., ::-1])
    out = tmp_path / "out"
    assert (
        main(["predict", str(tmp_path), "--out", str(out), "--boxes", "auto", "--no-overlays"]) == 0
    )
    entries = json.loads((out / "predictions.json").read_text())
    assert sorted(entry["group"] for entry in entries) == ["cat", "dog"]
    assert all(entry["bbox_score"] > 0.9 for entry in entries)
    meta = json.loads((out / "predictions.meta.json").read_text())
    assert meta["protocol"]["boxes"]["finder"] == "tetrapose"


@pytest.mark.parametrize(
    "more, words",
    [
        (["--boxes", "whole", "--tiles", "2"], "--tiles goes with --boxes auto"),
        (["--tiles", "0"], "--tiles must be from 1 to 16"),
        (["--least-score", "1.5"], "--least-score must lie in 0..1"),
        (["--finder", "nothing.safetensors"], "nothing.safetensors: no such file"),
    ],
)
def test_wrong_use_of_predict(tmp_path, capsys, more, words):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 60, 3), 90, np.uint8))
    assert main(["predict", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), *more]) == 2
    assert words in capsys.readouterr().err


def test_a_set_is_found_and_scored(tmp_path):
    """Exact boxes give AP 1; poses come in their boxes, each beside its labelled animal."""
    skeleton = skeletons.load("ap10k")
    k = len(skeleton)
    boxes = [[(20, 30, 90, 100), (130, 40, 190, 120)], [(40, 30, 100, 110)], []]
    for i, some in enumerate(boxes):
        picture = painted((220, 160), some, ("cat", "dog")[: len(some)])
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture[..., ::-1])
    rows = np.float32([box for some in boxes for box in some]) - 0.5
    pose_set = PoseSet(
        skeleton=skeleton, root=tmp_path, source="x", licence="", files=("0.png", "1.png", "2.png"),
        image_ids=np.arange(3), sizes=np.full((3, 2), (220, 160)), groups=np.arange(3),
        image_index=np.array([0, 0, 1]), keypoints=np.full((3, k, 2), 50.0),
        visibility=np.full((3, k), 2, np.uint8), bboxes=rows, areas=np.full(3, 4000.0),
        species=np.array([1, 0, 1]), species_names=("dog", "cat"), crowd=np.zeros(3, bool),
        annotation_ids=np.arange(3),
    )  # fmt: skip
    seen = find_in_set(seer(tiles=1), pose_set)
    figures = score_boxes(seen, pose_set)
    assert (figures["AP50"], figures["AP50_cat"], figures["AP50_dog"]) == pytest.approx((1, 1, 1))
    network = small(k, channels=(8, 8, 8, 8), blocks=(1, 1, 1, 1), neck=8).eval()
    codec = Heatmap(k, input_size=(64, 64))
    predictor = Predictor(network, codec, skeleton, (0.5,) * 3, (0.2,) * 3, flip=False)
    made = predict_found(predictor, seen, pose_set)
    assert made.keypoints.shape == (3, k, 2)
    assert sorted(made.instance.tolist()) == [0, 1, 2]
    assert made.species.tolist() == pose_set.species[made.instance].tolist()
    assert made.image.tolist() == pose_set.image_index[made.instance].tolist()
    (tmp_path / "1.png").write_bytes(b"")
    seen = find_in_set(seer(tiles=1), pose_set)
    assert seen.seen[1] is None
    assert "1.png" in str(seen.problems[0])
    assert len(predict_found(predictor, seen, pose_set).keypoints) == 2
    assert score_boxes(seen, pose_set)["AR100"] < 1


def tiny_detector(kind: str, folder: Path) -> Path:
    """A detector of transformers with random weights, small enough for a second."""
    transformers = pytest.importorskip("transformers")
    names = {0: "person", 1: "cat", 2: "dog", 3: "giraffe"}
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    shared = {
        "backbone_config": backbone, "encoder_hidden_dim": 16, "encoder_in_channels": [8, 16, 16],
        "encoder_ffn_dim": 16, "encoder_attention_heads": 2, "d_model": 16, "num_queries": 20,
        "decoder_in_channels": [16, 16, 16], "decoder_ffn_dim": 16, "decoder_layers": 2,
        "decoder_attention_heads": 2, "num_denoising": 0, "id2label": names,
        "label2id": {v: k for k, v in names.items()}, "use_pretrained_backbone": False,
        "feat_strides": [8, 16, 32],
    }  # fmt: skip
    torch.manual_seed(0)
    config, model = {
        "rtdetr": ("RTDetrV2Config", "RTDetrV2ForObjectDetection"),
        "dfine": ("DFineConfig", "DFineForObjectDetection"),
    }[kind]
    network = getattr(transformers, model)(getattr(transformers, config)(**shared))
    network.save_pretrained(folder)
    transformers.RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["rtdetr", "dfine"])
def test_a_detector_of_transformers_stands_behind_the_same_interface(kind, tmp_path):
    pytest.importorskip("transformers")
    found = load_finder(tiny_detector(kind, tmp_path / kind), least=0.01, tiles=2)
    seen = found.find(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))
    assert len(seen) > 0
    assert set(seen.groups) <= {"cat", "dog", "giraffe"}  # and no person
    assert (seen.bboxes >= -0.5).all()
    assert (seen.bboxes <= [119.5, 89.5, 119.5, 89.5]).all()
    assert (np.diff(seen.scores) <= 0).all()


def test_weights_that_are_not_here_are_told_where_to_put(monkeypatch, tmp_path):
    monkeypatch.setitem(os.environ, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError) as caught:
        load_finder("rtdetr")
    assert "\n" not in str(caught.value)
    assert "hf download" in str(caught.value) or "tetrapose[detectors]" in str(caught.value)


@pytest.mark.parametrize("ships, boxes", [(True, "auto"), (False, "whole")])
def test_the_finder_is_asked_where_one_ships(monkeypatch, ships, boxes):
    monkeypatch.setattr(finding, "_ships", lambda: ships)
    args = argparse.Namespace(boxes=None, finder=None, tiles=None, least_score=None)
    finding.settle(args)
    assert args.boxes == boxes


@pytest.mark.skipif(weights.shipped() is None, reason="no finder ships yet")
def test_the_finder_that_ships_is_whole_and_small():
    path = weights.shipped()
    assert path.stat().st_size <= 8_000_000
    assert weights.load("finder").card["scores"]
    assert len(load_finder().find(np.zeros((90, 120, 3), np.uint8))) == 0
