"""The page of an evaluation: whole, self-contained, the same for the same input."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from PIL import Image

from tetrapose import skeletons
from tetrapose.evaluation.predictions import in_given_boxes
from tetrapose.evaluation.protocols import protocol
from tetrapose.evaluation.score import score
from tetrapose.reports import page
from tetrapose.reports.crops import SIDE, crop_with_points
from tetrapose.reports.evaluation import evaluation_page
from tetrapose.structures import PoseSet, Problem

SKELETON = skeletons.load("akd_cats")
COUNT = 24


@pytest.fixture(scope="module")
def cats(tmp_path_factory):
    """Grey pictures 200 x 160 with one animal each; one file is not a picture."""
    root = tmp_path_factory.mktemp("cats")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        Image.fromarray(np.full((160, 200, 3), 128, np.uint8)).save(root / f"{i}<b>.png")
    (root / "0<b>.png").write_bytes(b"no picture")
    points = rng.uniform([30, 30], [170, 130], (COUNT, len(SKELETON), 2))
    visibility = np.where(rng.random(points.shape[:2]) < 0.1, 0, 2).astype(np.uint8)
    return PoseSet(
        skeleton=SKELETON, root=root, source="made up", licence="none",
        files=tuple(f"{i}<b>.png" for i in range(COUNT)), image_ids=np.arange(COUNT),
        sizes=np.tile([200, 160], (COUNT, 1)), groups=np.arange(COUNT),
        image_index=np.arange(COUNT),
        keypoints=np.where(visibility[..., None] > 0, points, np.nan), visibility=visibility,
        bboxes=np.tile([20.0, 20.0, 180.0, 140.0], (COUNT, 1)), areas=np.full(COUNT, 19200.0),
        species=np.zeros(COUNT, int), species_names=("cat & <dog>",),
        crowd=np.zeros(COUNT, bool), annotation_ids=np.arange(COUNT),
    )  # fmt: skip


def page_of(cats, noise=6.0, **options):
    rng = np.random.default_rng(1)
    points = np.nan_to_num(cats.keypoints, nan=80.0)
    points = points + rng.normal(0, 1, points.shape) * np.linspace(0, noise, COUNT)[:, None, None]
    found = in_given_boxes(cats, points, rng.uniform(0.3, 1, points.shape[:2]))
    result = score(cats, found, protocol())
    return evaluation_page(cats, found, result, title="A <title>", **options)


class Balance(HTMLParser):
    """Checks that every tag that opens closes, in order."""

    EMPTY = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_whole_and_self_contained(cats):
    problems = [Problem("a.json", "x < y", "mend it")] * 40
    html = page_of(cats, problems=problems)
    assert html == page_of(cats, problems=problems)  # no date, no chance
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert {"table", "figure", "img", "h2"} <= parser.seen
    assert not re.search(r'(?:src|href)="(?!data:)', html)
    assert "http-equiv" not in html
    for raw in ("A <title>", "cat & <dog>", "x < y"):
        assert raw not in html  # all text is escaped
    assert "10 more" in html  # 30 of 40 problems
    assert html.count("<figure>") == 15  # eight each, less the one that cannot be read


def test_nothing_labelled_still_makes_a_page(cats):
    bare = cats.select_instances(np.zeros(COUNT, bool))
    found = in_given_boxes(bare, bare.keypoints, np.zeros((0, len(SKELETON))))
    html = evaluation_page(bare, found, score(bare, found, protocol()), title="empty")
    assert "nothing to show" in html
    assert "nan" not in re.sub(r'"data:[^"]*"', "", html)


def test_a_crop_shows_truth_and_prediction_where_they_are(cats):
    points = np.full((len(SKELETON), 2), np.nan)
    moved = cats.keypoints[3].copy()
    k = int(np.flatnonzero(cats.labelled[3])[0])
    points[k] = moved[k] + [20, 0]
    crop = crop_with_points(cats, 3, points, np.ones(len(points)))
    assert crop is not None
    assert crop.shape == (SIDE, SIDE, 3)
    white = (crop > 235).all(axis=-1)
    assert white.sum() > 40  # rings of the labelled points
    red = (crop[..., 0] > 200) & (crop[..., 1] < 120) & (crop[..., 2] < 140)
    _, columns = np.nonzero(red)
    scale = SIDE / (160 * 1.1)  # the bbox is 160 wide, padded by 1.1
    assert 5 < np.ptp(columns) <= 20 * scale + 8  # the error line, as long as the error


def test_an_unreadable_picture_has_no_crop(cats):
    assert crop_with_points(cats, 0, cats.keypoints[0], np.ones(len(SKELETON))) is None


def test_pictures_keep_their_colours():
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 0] = 250  # red
    data = base64.b64decode(page.picture_uri(pixels).partition(",")[2])
    back = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert back[8, 8, 2] > 200
    assert back[8, 8, 0] < 50
