"""From a pose to pictures and back to figures: poses read, painted, resumed, scored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_sd
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tetrapose import skeletons
from tetrapose.controlnet import poses, score
from tetrapose.controlnet.asking import Order, drawn_by_hand, from_stock, paint_all
from tetrapose.controlnet.painter import How, Painter, canvas
from tetrapose.controlnet.stock import open_stock
from tetrapose.errors import UserError
from tetrapose.inference.results import to_entries
from tetrapose.render.pose_picture import pose_picture
from tetrapose.structures import Instances


class Vae:
    """Latents are the picture itself, from 0 to 1."""

    dtype = torch.float32
    config = SimpleNamespace(scaling_factor=1.0)

    def decode(self, latents):
        return SimpleNamespace(sample=latents * 2 - 1)


class Pipe:
    """Paints the pose picture dimmed, with a corner that shows the seed: no network."""

    def __init__(self) -> None:
        self.calls: list[dict] = []
        self.vae = Vae()

    def set_progress_bar_config(self, **_) -> None:
        pass

    def __call__(self, **asked):
        self.calls.append(asked)
        images = asked["image"] * 0.9
        for row, draw in enumerate(asked["generator"]):
            images[row, :, :8, :8] = (draw.initial_seed() % 256) / 255
        return SimpleNamespace(images=images)


@pytest.fixture
def painter() -> Painter:
    return Painter(
        Pipe(), style=tiny_sd.STYLE, title="tiny", multiple=16, side=64, how=How(steps=2, batch=3)
    )


@pytest.fixture
def pose(tmp_path) -> poses.Pose:
    path = tiny_sd.pose_json(tmp_path / "pose.json", (128, 64))
    return poses.from_points(json.loads(path.read_text()), "pose")


@dataclass(frozen=True)
class Wish:
    prompt: str
    posed: poses.Pose
    count: int
    seed: int


def test_the_studio_gets_pictures_of_its_size_one_seed_each(painter, pose):
    assert painter.title == "tiny"
    made = list(painter.generate(Wish("a dog", pose, 4, 250)))
    assert [one.shape for one in made] == [(64, 128, 3)] * 4
    assert all(one.dtype == np.uint8 for one in made)
    assert [int(one[1, 1, 0]) for one in made] == [250, 251, 252, 253]
    assert [len(call["prompt"]) for call in painter.pipe.calls] == [3, 1]  # batches
    shown = painter.pipe.calls[0]["image"][0].permute(1, 2, 0).numpy() * 255
    size = painter.canvas(pose.size)
    moved = pose.resized(size)
    wanted = pose_picture(size, moved.instances, pose.skeleton, style="animal_controlnet")
    assert np.array_equal(shown.round().astype(np.uint8), wanted)


def test_the_seam_of_the_studio_is_fitted(painter):
    from tetrapose.app import generating

    generator: generating.Generator = painter  # as a type checker reads it, too
    content = {
        "prompt": "a dog", "count": 2, "seed": 1,
        "pose": {
            "format": "tetrapose-pose/1", "skeleton": "union26",
            "picture": {"name": "x", "width": 80, "height": 96},
            "animals": [
                {"keypoints": {"nose": [10, 10, 2], "left_eye": [30.5, 40, 1]}, "bbox": None}
            ],
        },
    }  # fmt: skip
    made = list(generator.generate(generating.read_wish(content)))
    assert [one.shape for one in made] == [(96, 80, 3)] * 2


@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([8, 16, 64]))
def test_a_canvas_is_a_multiple_near_in_area_and_shape(width, height, multiple):
    side = 512
    made = canvas((width, height), side, multiple)
    assert all(one % multiple == 0 and one >= multiple for one in made)
    if 0.5 <= width / height <= 2:
        assert 0.75 < made[0] * made[1] / side**2 < 1.35
        assert abs(np.log(made[0] / made[1]) - np.log(width / height)) < 0.25


@given(st.integers(0, 2**32 - 1))
def test_points_go_to_plain_values_and_back(seed):
    draw = np.random.default_rng(seed)
    skeleton = skeletons.load("animal_pose")
    count = int(draw.integers(1, 4))
    seen = draw.integers(0, 3, (count, len(skeleton))).astype(np.uint8)
    seen[0, 0] = 2
    points = draw.uniform(-20, 200, (count, len(skeleton), 2)).round(3)
    points[seen == 0] = np.nan
    boxes = np.tile([0.0, 0.0, 50.0, 60.0], (count, 1))
    pose = poses.Pose(skeleton, (99, 88), Instances(points, seen, boxes), ("dog",) * count)
    again = poses.from_points(json.loads(json.dumps(poses.to_points(pose))), "x")
    assert np.array_equal(again.instances.keypoints, points, equal_nan=True)
    assert np.array_equal(again.instances.visibility, seen)
    assert (again.size, again.labels) == (pose.size, pose.labels)


def test_predictions_give_the_pose_of_the_picture_that_is_named(tmp_path):
    skeleton = skeletons.load("animal_pose")
    points = np.random.default_rng(0).uniform(5, 60, (2, 20, 2)).round(2)
    scores = np.full((2, 20), 0.9)
    scores[0, 3] = 0.1
    one = Instances(points, np.full((2, 20), 2, np.uint8), np.array([[1, 2, 50, 60.0]] * 2), scores)
    entries = to_entries(one, file_name="trip/a.jpg", image_id=1)
    entries += to_entries(one, file_name="trip/b.jpg", image_id=2)
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(entries))
    meta = tmp_path / "predictions.meta.json"
    meta.write_text(json.dumps({"skeleton": skeleton.to_dict()}))
    pose = poses.from_predictions(path, entries, "b.jpg", (64, 64))
    assert np.isnan(pose.instances.keypoints[0, 3]).all()
    pose.instances.keypoints[0, 3] = points[0, 3]
    assert np.array_equal(pose.instances.keypoints, points)
    assert np.allclose(pose.instances.bboxes, [[1, 2, 50, 60]] * 2)
    with pytest.raises(UserError, match="which picture"):
        poses.from_predictions(path, entries, "", (64, 64))
    with pytest.raises(UserError, match="give --size WIDTH HEIGHT"):
        poses.from_predictions(path, entries, "a.jpg", None)
    meta.unlink()
    with pytest.raises(UserError, match="predict again"):
        poses.from_predictions(path, entries, "a.jpg", (64, 64))


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda c: c.update(skeleton="unicorn"), "unicorn"),
        (lambda c: c.update(size=[0, 64]), "a side of 0 px"),
        (lambda c: c["animals"][0]["keypoints"].pop(), "has 19 points, animal_pose has 20"),
        (lambda c: c.update(animals=[]), "no point to follow"),
        (lambda c: c["animals"][0]["keypoints"].__setitem__(0, [1e9, 2, 2]), "within 100000 px"),
        (lambda c: c.pop("animals"), "not a pose"),
    ],
)
def test_what_is_no_pose_is_told(tmp_path, change, told):
    content = json.loads(tiny_sd.pose_json(tmp_path / "p.json").read_text())
    change(content)
    with pytest.raises(UserError, match=told):
        poses.from_points(content, "p.json")


def test_a_photograph_gives_the_pose_of_its_animals(tmp_path):
    skeleton = skeletons.load("animal_pose")

    class Seen:
        bboxes = np.array([[0.0, 0, 30, 30], [10, 10, 60, 60]])
        scores = np.array([0.9, 0.8])
        groups = ("dog", "")
        size = (64, 64)

        def __len__(self):
            return len(self.bboxes)

    class Finder:
        def find(self, path):
            return Seen()

    class Predictor:
        def predict(self, path, boxes):
            scores = np.full((2, 20), 0.8)
            scores[1, :10] = 0.05
            points = np.random.default_rng(0).uniform(1, 60, (2, 20, 2))
            return Instances(points, np.full((2, 20), 2, np.uint8), boxes, scores)

    Predictor.skeleton = skeleton
    pose = poses.from_photograph(tmp_path / "x.jpg", Finder(), Predictor())
    assert pose.labels == ("dog", "animal")
    assert (pose.instances.visibility > 0).sum(axis=1).tolist() == [20, 10]
    Seen.bboxes = np.zeros((0, 4))
    with pytest.raises(UserError, match="no animal was found"):
        poses.from_photograph(tmp_path / "x.jpg", Finder(), Predictor())


def test_painting_goes_on_where_it_was_stopped(painter, tiny_library, tmp_path):
    stock = open_stock([tiny_library])
    orders = list(from_stock(stock, count=2, seed=5, most=3))
    assert len(orders) == 6
    assert paint_all(painter, orders[:4], tmp_path / "out") == 4
    before = (tmp_path / "out" / "000001.png").read_bytes()
    (tmp_path / "out" / "000002.png").unlink()
    with open(tmp_path / "out" / score.LIST, "a") as file:
        file.write('{"file": "0000')  # cut off
    assert paint_all(painter, orders, tmp_path / "out") == 3
    assert (tmp_path / "out" / "000001.png").read_bytes() == before
    assert paint_all(painter, orders, tmp_path / "out") == 0
    rows = {row["file"]: row for row in score.read_list(tmp_path / "out")}
    assert len(rows) == 6
    assert rows["000001.png"]["seed"] == 6
    assert tiny_sd.pixels(tmp_path / "out" / "000000.pose.png").shape == (64, 64, 3)
    other = [Order("else", 1, orders[0].pose)]
    with pytest.raises(UserError, match="000000.png was made of another order"):
        paint_all(painter, other, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    with pytest.raises(UserError, match="holds other files"):
        paint_all(painter, orders, tmp_path / "mine")


def test_a_pose_picture_is_taken_as_it_is_and_a_photograph_is_not(painter, pose, tmp_path):
    pixels = pose_picture((64, 64), pose.resized((64, 64)).instances, pose.skeleton)
    Image.fromarray(pixels).save(tmp_path / "pose.png")
    order = Order("a cat", 0, drawn=drawn_by_hand(tmp_path / "pose.png"))
    paint_all(painter, [order], tmp_path / "out")
    shown = painter.pipe.calls[0]["image"][0].permute(1, 2, 0).numpy() * 255
    assert np.array_equal(shown.round().astype(np.uint8), pixels)
    with pytest.raises(UserError, match="whose points are known"):
        score.painted(tmp_path / "out", pose.skeleton)
    with pytest.raises(UserError, match="a photograph goes with --photo"):
        drawn_by_hand(tiny_sd.photo(tmp_path / "photo.png"))
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    with pytest.raises(UserError, match="no pose to follow"):
        drawn_by_hand(tmp_path / "black.png")


class Oracle:
    """A pose model that knows the asked points, and misses by ``off`` pixels."""

    flip = False
    protocol = {"codec": {}}  # noqa: RUF012

    def __init__(self, skeleton, truth, off=0.0):
        self.skeleton, self.truth, self.off = skeleton, truth, off

    def predict_set(self, pose_set, progress=None):
        @dataclass
        class Made:
            keypoints: np.ndarray
            scores: np.ndarray
            problems: tuple = ()

        points = np.nan_to_num(self.truth.keypoints) + self.off
        return Made(points, np.full(points.shape[:2], 0.9))


def test_scoring_separates_own_points_from_shuffled_ones(painter, tiny_library, tmp_path):
    stock = open_stock([tiny_library])
    paint_all(painter, islice(from_stock(stock, count=1, seed=0), 8), tmp_path / "out")
    skeleton = skeletons.load("animal_pose")
    asked = score.painted(tmp_path / "out", skeleton)
    own = score.short(score.score(asked, Oracle(skeleton, asked.pose_set)).figures)
    assert own["AP"] == pytest.approx(100)
    assert own["PCK@0.05"] == 100
    mixed = score.shuffled(asked)
    moved = (mixed.pose_set.keypoints != asked.pose_set.keypoints).any(axis=-1)
    assert moved[asked.pose_set.visibility > 0].mean() > 0.98
    chance = score.short(score.score(mixed, Oracle(skeleton, asked.pose_set)).figures)
    assert chance["AP"] < 5
    truth = score.real([tiny_library], skeleton)
    assert len(truth) == 12
    assert len(score.real([tiny_library], skeleton, 5)) == 5
    for image, row in enumerate(range(12)):
        assert truth.captions[image] == stock.caption(row)
    off = score.short(score.score(truth, Oracle(skeleton, truth.pose_set, 3.0)).figures)
    assert 0 < off["OKS"] < 1


def test_real_pictures_are_read_within_their_shards(tiny_library):
    from tetrapose.images import read_image

    skeleton = skeletons.load("union26")
    truth = score.real([tiny_library], skeleton, 3)
    stock = open_stock([tiny_library])
    rows = [0, 6, 11]
    for image, row in enumerate(rows):
        pixels, _ = read_image(truth.pose_set.path(image))
        kept, _ = read_image("x.jpg", data=stock.read(row, 0))
        assert np.array_equal(pixels, kept)
    assert truth.pose_set.skeleton is skeleton
    assert (truth.pose_set.visibility > 0).any(axis=1).all()


def test_the_page_shows_figures_notes_and_no_markup_of_captions(painter, tiny_library, tmp_path):
    from tetrapose.controlnet import page

    stock = open_stock([tiny_library])
    orders = [
        Order("<script>x</script>", one.seed, one.pose)
        for one in islice(from_stock(stock, count=1, seed=0), 3)
    ]
    paint_all(painter, orders, tmp_path / "out")
    skeleton = skeletons.load("animal_pose")
    asked = score.painted(tmp_path / "out", skeleton)
    scored = score.score(asked, Oracle(skeleton, asked.pose_set))
    rows = [("painted", score.short(scored.figures))]
    text = page.write("t", rows, asked, scored, style="animal_controlnet", notes=["a <note>"])
    assert "<script>" not in text
    assert "a &lt;note&gt;" in text
    assert text.count("data:image/jpeg") == 3
    assert "OKS 1.00" in text


def test_lists_that_name_files_elsewhere_are_refused(tmp_path):
    (tmp_path / score.LIST).write_text('{"file": "../x.png", "seed": 0}\n')
    with pytest.raises(UserError, match="names a file outside"):
        score.read_list(tmp_path)
    with pytest.raises(UserError, match="no pictures of tetrapose controlnet generate"):
        score.read_list(tmp_path / "nowhere")
