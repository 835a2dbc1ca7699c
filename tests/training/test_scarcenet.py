"""ScarceNet as a method: moved views, what the pool is taught, one turn, whole runs."""

from __future__ import annotations

import shutil
from dataclasses import replace

import cv2
import labelfree_parts as made
import lightning as L
import numpy as np
import pytest
import torch

from tetrapose import geometry
from tetrapose.errors import UserError
from tetrapose.training.labelfree import callbacks, selection
from tetrapose.training.labelfree import scarcenet as method
from tetrapose.training.labelfree.moves import (
    Moves,
    at_rest,
    carried_back,
    inverse,
    moved_views,
    transformed,
)
from tetrapose.training.labelfree.pairs import unlabelled
from tetrapose.training.labelfree.pseudo_labels import PseudoLabels
from tetrapose.training.labelfree.run import learn
from tetrapose.training.labelfree.scarcenet import Made, Rules, ScarceNet, taught_by
from tetrapose.training.labelfree.step import Moment

K, SIZE = made.K, made.SIZE
QUICK = Made(looks=2, padding=1.0)


def norms(network: torch.nn.Module) -> list[torch.nn.BatchNorm2d]:
    return [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]


def scarcenet(**more) -> ScarceNet:
    return ScarceNet(made.start(), **{"made": QUICK, **more})


def test_a_moved_view_is_the_crop_that_opencv_would_make():
    matrices, mirrored = Moves(mirror=0.5, chance=1.0).draw(list(range(6)), (3,), (SIZE, SIZE))
    assert 0 < mirrored.sum() < 6
    picture = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3)).astype(np.float32) / 255
    smooth = cv2.GaussianBlur(picture, (7, 7), 2)
    batch = torch.from_numpy(smooth.transpose(2, 0, 1)).expand(6, -1, -1, -1)
    ours = moved_views(batch, torch.tensor(matrices, dtype=torch.float32)).numpy()
    for view, matrix in zip(ours, matrices, strict=True):
        theirs = cv2.warpAffine(smooth, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        inner = (slice(None), slice(6, -6), slice(6, -6))  # OpenCV blends the border its own way
        error = np.abs(view - theirs.transpose(2, 0, 1))[inner]
        assert error.max() < 0.02  # OpenCV interpolates in 1/32 pixels


def test_moves_go_by_the_row_alone_and_keep_their_bounds():
    moves = Moves()
    rows = list(range(40))
    matrices, mirrored = moves.draw(rows, (1, 2), (SIZE, SIZE))
    again, also = moves.draw(rows[10:13], (1, 2), (SIZE, SIZE))
    assert np.array_equal(matrices[10:13], again)
    assert np.array_equal(mirrored[10:13], also)
    assert not np.array_equal(moves.draw(rows, (1, 3), (SIZE, SIZE))[0], matrices)
    scale = np.sqrt(np.abs(np.linalg.det(matrices[..., :2])))
    assert (np.abs(1 / scale - 1) <= 0.1 + 1e-9).all()
    middle = np.full((1, 2), (SIZE - 1) / 2)
    assert np.allclose(geometry.transform_points(matrices, middle), middle)
    straight = np.isclose(matrices[:, 0, 1], 0)
    assert 0.2 < straight.mean() < 0.65  # six in ten are turned


def test_points_come_back_from_where_they_were_moved_sides_exchanged():
    matrices, mirrored = Moves().draw(list(range(8)), (0,), (SIZE, SIZE))
    matrices, mirrored = torch.tensor(matrices).float(), torch.tensor(mirrored)
    flip = torch.as_tensor(made.SKELETON.flip_indices)
    points = torch.rand(8, K, 2) * SIZE
    points[0, 0] = torch.nan
    seen = transformed(matrices, points)
    # what a network that knows left from right says of a mirrored animal
    said = torch.where(mirrored[:, None, None], seen[:, flip], seen)
    back = carried_back(said, matrices, mirrored, flip)
    assert torch.allclose(back, points, atol=1e-3, equal_nan=True)
    one = transformed(inverse(matrices), transformed(matrices, points))
    assert torch.allclose(one, points, atol=1e-3, equal_nan=True)


def test_at_rest_gives_every_part_its_own_mode_back():
    network = made.tiny().train()
    norm = norms(network)[0]
    norm.eval()
    with at_rest(network):
        assert not any(part.training for part in network.modules())
    assert not norm.training
    assert all(part.training for part in network.modules() if part is not norm)


def test_a_start_that_no_label_has_taught_is_refused():
    start = made.start()
    start.network.load_state_dict(start.fresh.state_dict())
    with pytest.raises(UserError, match="run the preset with method=supervised first"):
        ScarceNet(start)


def labels_of(pool, confidence: np.ndarray, **more) -> PseudoLabels:
    n = len(pool)
    points = np.random.default_rng(1).uniform(0, 40, (n, K, 2)).astype(np.float32)
    return PseudoLabels(
        more.get("names", made.SKELETON.names), points, confidence.astype(np.float32),
        np.full((n, K), 0.1, np.float32), more.get("readable", np.ones(n, bool)),
    )  # fmt: skip


def test_the_surest_pseudo_labels_become_the_pools_labels(tmp_path):
    pool = unlabelled(made.dots(tmp_path, 4))
    confidence = np.arange(1, 4 * K + 1).reshape(4, K) / (4 * K)
    labels = labels_of(pool, confidence)
    taught = np.ones(K, bool)
    taught[3] = False
    done = taught_by(pool, labels, taught, dropped=0.4)
    kept = done.labelled
    asked = confidence[:, taught]
    assert kept[:, taught].sum() == asked.size - int(0.4 * asked.size) - 1
    assert not kept[:, 3].any()
    assert np.array_equal(done.keypoints[kept], labels.keypoints[kept])
    assert np.isnan(done.keypoints[~kept]).all()
    assert confidence[kept].min() > confidence[~kept & taught].max()


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_pseudo_labels_without_any_confidence_are_refused(tmp_path, nothing):
    pool = unlabelled(made.dots(tmp_path, 2))
    labels = labels_of(pool, np.full((2, K), nothing))
    with pytest.raises(UserError, match=rf"no pseudo-label is sure: all {2 * K} confidences"):
        taught_by(pool, labels, np.ones(K, bool), dropped=0.4)


def test_pseudo_labels_of_no_picture_or_other_points_are_refused(tmp_path):
    pool = unlabelled(made.dots(tmp_path, 2))
    sure, all_ = np.ones((2, K)), np.ones(K, bool)
    with pytest.raises(UserError, match="no picture of the pool can be read"):
        taught_by(pool, labels_of(pool, sure, readable=np.zeros(2, bool)), all_, dropped=0.4)
    with pytest.raises(UserError, match="other keypoints than ap10k"):
        taught_by(pool, labels_of(pool, sure, names=("a",) * K), all_, dropped=0.4)


def taken(step: ScarceNet, at: Moment, **changes):
    """One turn on random pictures, up to its losses."""
    labelled = made.views(2, seed=1)
    pool = replace(made.views(3, seed=2), **changes)
    turns = step.turns(labelled, pool, at)
    name, losses = next(turns)
    return turns, name, losses


def test_one_turn_steps_the_network_once_and_then_the_teacher_follows():
    step, at = scarcenet(), Moment(3, 10)
    network, teacher = step.networks["network"].train(), step.networks["teacher"]
    teacher_before = {k: v.clone() for k, v in teacher.state_dict().items()}
    turns, name, losses = taken(step, at)
    assert name == "network"
    assert set(losses) == {"labelled", "pseudo", "consistency"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    # looks without gradient leave statistics be
    assert {int(norm.num_batches_tracked) for norm in norms(network)} == {1}
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, teacher_before[key]), key
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    with pytest.raises(StopIteration):
        next(turns)
    after = teacher.state_dict()
    for key, _ in teacher.named_parameters():
        moved = after[key] - teacher_before[key]
        assert torch.allclose(moved, torch.full_like(moved, 0.25), atol=1e-5)  # 1 / (step + 1)
    means = [key for key in after if key.endswith("running_mean")]
    assert means
    assert not any(torch.equal(after[key], teacher_before[key]) for key in means)


def test_losses_are_those_of_the_rules(monkeypatch):
    """Against the sums written out: weights 4, 1 and w(epoch), mean over maps, over the batch."""
    step = scarcenet(rules=Rules(epochs=10, rise=10, consistency=2.0))
    at = Moment(5, 11)  # half way: epoch 5
    outputs = []
    monkeypatch.setattr(
        method, "look",
        lambda network, pictures: outputs.append(original(network, pictures)) or outputs[-1],
    )  # fmt: skip
    _, _, losses = taken(step, at)
    strong = outputs[1].detach()
    labelled, pool = made.views(2, seed=1), made.views(3, seed=2)
    target, shown = step.codec.encode(labelled.keypoints, labelled.weights)
    error = (strong[:2] - target).square().mean((-2, -1))
    assert losses["labelled"].item() == pytest.approx((4 * error * shown).sum().item() / 5, 1e-4)
    # no two answers of random maps agree: the trusted alone teach
    target, _ = step.codec.encode(pool.keypoints, torch.ones(3, K))
    error = (strong[2:] - target).square().mean((-2, -1))
    share = selection.small_loss_share(5)
    trusted = selection.small_losses(error, torch.ones(3, K, dtype=torch.bool), share)
    reused = at.notes["selection/reused"]
    assert at.notes["selection/trusted"] == pytest.approx(int(share * 3 * K) / (3 * K))
    if reused == 0:
        assert losses["pseudo"].item() == pytest.approx((error * trusted).sum().item() / 5, 1e-4)
    assert losses["consistency"] > 0


original = method.look


def stub(step: ScarceNet, points: torch.Tensor) -> torch.Tensor:
    """Maps of a network that puts these points."""
    return step.codec.encode(points, torch.ones(points.shape[:2]))[0]


def test_of_the_untrusted_those_that_agree_learn_the_answer():
    step = scarcenet(rules=Rules(epochs=10, ramp=0, least=0.5))
    pool = made.views(1, seed=3)
    points = torch.full((1, K, 2), 16.0)
    weights = torch.ones(1, K)
    weights[0, -1] = 0.0  # not sure enough for a pseudo-label
    pool = replace(pool, keypoints=points, weights=weights)
    output = stub(step, points)
    output[0, 8:] = 0.0  # from the ninth point on the loss is large
    weak, other = points + 5, points + 5.0
    other[0, 10] += 9.0  # views that differ
    taught, trusted, reused = step._taught(pool, output, weak, other, epoch=5)
    assert trusted[0].tolist() == [i < 8 for i in range(K)]  # floor(0.5 * 16)
    assert reused[0].tolist() == [i >= 8 and i != 10 for i in range(K)]
    assert torch.equal(taught[0, :8], points[0, :8])
    assert torch.equal(taught[0, 8], weak[0, 8])
    assert taught[0, 10].isnan().all()
    none = scarcenet(rules=Rules(near=0.0))._taught(pool, output, weak, other, epoch=5)[2]
    assert not none.any()


def test_small_losses_are_chosen_among_all_processes(monkeypatch):
    """Each half of a batch chooses what the whole batch would."""
    step = scarcenet(rules=Rules(ramp=0, least=0.4))
    pool = made.views(4, seed=4)
    output = torch.rand(4, K, SIZE // 4, SIZE // 4, generator=torch.Generator().manual_seed(0))
    answers = pool.keypoints
    whole = step._taught(pool, output, answers, answers + 99, epoch=0)[1]
    target, shown = step.codec.encode(pool.keypoints, torch.ones(4, K))
    losses = (output - target).square().mean((-2, -1))
    for mine in (0, 1):
        rows = slice(2 * mine, 2 * mine + 2)
        half = replace(pool, **{name: value[rows] for name, value in vars(pool).items()})
        monkeypatch.setattr(method, "processes", lambda mine=mine: (mine, 2))
        gathered = iter([losses, shown])
        monkeypatch.setattr(method, "pooled", lambda _, gathered=gathered: next(gathered))
        trusted = step._taught(half, output[rows], answers[rows], answers[rows] + 99, epoch=0)[1]
        assert torch.equal(trusted, whole[rows])


def test_the_teacher_teaches_only_what_its_view_shows(monkeypatch):
    step = scarcenet(moves=Moves(scale=0.0, rotation=0.0, mirror=0.0))
    labelled, pool = made.views(1, seed=1), made.views(1, seed=2)
    outside = labelled.keypoints.clone()
    outside[0, 0] = torch.tensor([-3.0, 5.0])
    labelled = replace(labelled, keypoints=outside)
    pool = replace(pool, weights=torch.zeros(1, K))
    answers = torch.cat([labelled.keypoints, pool.keypoints]).clamp(10, SIZE - 11)
    monkeypatch.setattr(method, "look", lambda *_: stub(step, answers))
    matrices, mirrored = step._moved(labelled, pool, Moment(0, 1))
    target, weights = step._teacher(labelled, pool, labelled.weak, matrices, mirrored)
    assert weights[0].tolist() == [0.0] + [1.0] * (K - 1)
    assert not weights[1].any()
    back, _ = step.codec.decode(target)
    assert (back[0, 1:] - answers[0, 1:]).norm(dim=-1).max() < 0.6


class StopAfter(L.Callback):
    """A run that ends like a killed one."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == self.epoch:
            raise SystemExit("killed")


@pytest.fixture
def ran(monkeypatch):
    """Trains, and gives what the checkpoint would hold of the networks."""
    monkeypatch.setattr(callbacks, "plot", lambda *_: None)  # costs more than the run

    def go(folder, data, **more):
        step = ScarceNet(made.start(), made=more.pop("made", QUICK))
        return learn(made.setup(folder, step, data, **more)).module.state_dict()

    return go


def equal(one: dict, other: dict) -> None:
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_resumed_equals_uninterrupted_to_the_bit(tmp_path, ran):
    data = made.partial(tmp_path / "dots")
    whole = ran(tmp_path / "whole", data)
    with pytest.raises(SystemExit):
        ran(tmp_path / "cut", data, callbacks=[StopAfter(1)])
    file = tmp_path / "cut" / method.FILE
    assert file.read_bytes() == (tmp_path / "whole" / method.FILE).read_bytes()
    file.unlink()  # and made again it is the same, by the network that the run began with
    resumed = ran(tmp_path / "cut", data)
    equal(whole, resumed)
    assert file.read_bytes() == (tmp_path / "whole" / method.FILE).read_bytes()


def test_hidden_labels_of_the_pool_teach_nothing(tmp_path, ran):
    data = made.partial(tmp_path / "dots")
    short = {"steps": 2}
    lies = replace(data.pool, keypoints=data.pool.keypoints + 7, visibility=data.pool.visibility)
    truth = ran(tmp_path / "a", data, **short)
    equal(truth, ran(tmp_path / "b", replace(data, pool=lies), **short))


def test_stale_pseudo_labels_of_a_folder_are_refused(tmp_path, ran):
    data = made.partial(tmp_path / "dots")
    ran(tmp_path / "run", data, steps=2)
    with pytest.raises(UserError, match=r"stale, made from another looks; remove it"):
        ran(tmp_path / "run", data, made=Made(looks=3, padding=1.0))
    cut = tmp_path / "cut"
    cut.mkdir()
    shutil.copy(tmp_path / "run" / method.FILE, cut / method.FILE)
    with (cut / method.FILE).open("r+b") as file:
        file.truncate(200)
    with pytest.raises(UserError, match="not a whole file of pseudo-labels"):
        ran(cut, data)


def test_without_unlabelled_pictures_a_run_says_so(tmp_path, ran):
    data = made.partial(tmp_path / "dots")
    empty = data.pool.select_instances(np.zeros(len(data.pool), bool))
    with pytest.raises(UserError, match="no unlabelled pictures"):
        ran(tmp_path / "run", replace(data, pool=empty))
