"""Laws of a training run, on pictures small enough for seconds."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import lightning as L
import numpy as np
import pytest
import torch

from tetrapose import skeletons
from tetrapose.codecs import Distribution, Heatmap
from tetrapose.data.augment import HalfBody, Jitter, Mirror
from tetrapose.data.crops import CropDataset, EpochSampler, to_batch
from tetrapose.data.photometric import Blur, Colour, Cutout
from tetrapose.errors import UserError
from tetrapose.models.small import small
from tetrapose.structures import PoseSet
from tetrapose.training import metrics
from tetrapose.training.callbacks import Checkpoints, Curves
from tetrapose.training.fit import Plan, fit
from tetrapose.training.folder import claim, claimed, finish
from tetrapose.training.module import Parts, PoseModule, freeze
from tetrapose.training.schedules import multistep, warmup_cosine
from tetrapose.training.start import start_from
from tetrapose.weights import card

SIZE = 64
SKELETON = skeletons.load("akd_cats")
WIDTHS = {"channels": (8, 8, 16, 16), "blocks": (1, 1, 1, 1), "neck": 16}


@pytest.fixture
def dots(tmp_path: Path) -> PoseSet:
    """Twelve pictures in which every keypoint is a dot of its own colour."""
    rng = np.random.default_rng(0)
    n, k = 12, len(SKELETON)
    points = rng.uniform(12, 68, (n, k, 2)).astype(np.float32)
    for i in range(n):
        picture = np.full((80, 80, 3), 30, np.uint8)
        for j, (x, y) in enumerate(points[i]):
            hue = np.uint8([[[j * 180 // k, 255, 255]]])
            colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
            cv2.circle(picture, (round(float(x)), round(float(y))), 4, colour, -1)
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture[..., ::-1])
    return PoseSet(
        skeleton=SKELETON, root=tmp_path, source="dots", licence="CC0",
        files=tuple(f"{i}.png" for i in range(n)), image_ids=np.arange(n),
        sizes=np.full((n, 2), 80), groups=np.arange(n), image_index=np.arange(n),
        keypoints=points, visibility=np.full((n, k), 2, np.uint8),
        bboxes=np.tile(np.float32([0, 0, 80, 80]), (n, 1)), areas=np.full(n, 6400.0),
        species=np.zeros(n, int), species_names=("dot",), crowd=np.zeros(n, bool),
        annotation_ids=np.arange(n),
    )  # fmt: skip


def make_parts(**changes) -> Parts:
    torch.manual_seed(0)
    k = len(SKELETON)
    return Parts(
        **{
            "model": small(k, **WIDTHS),
            "codec": Distribution(k, (SIZE, SIZE)),
            "skeleton": SKELETON,
            "optimizer": functools.partial(torch.optim.AdamW, lr=3e-3),
            "scheduler": warmup_cosine,
            "image_changes": (Colour(), Blur(), Cutout()),
            **changes,
        }
    )


def crops(pose_set: PoseSet, **more) -> CropDataset:
    return CropDataset(pose_set, size=(SIZE, SIZE), padding=1.0, **more)


def make_plan(folder: Path, *, epochs: int, **more) -> Plan:
    trainer = functools.partial(
        L.Trainer,
        **{
            "max_epochs": epochs, "accelerator": "cpu", "num_sanity_val_steps": 0,
            "enable_progress_bar": False, "deterministic": True, "check_val_every_n_epoch": 2,
            **more.pop("trainer", {}),
        },
    )  # fmt: skip
    own = [
        L.pytorch.callbacks.EMAWeightAveraging(decay=0.9),
        Curves(folder),
        Checkpoints(folder, monitor="val/AP"),
        *more.pop("callbacks", ()),
    ]
    return Plan(folder, trainer, metrics.coco, own, batch_size=4, workers=0, **more)


def run(folder: Path, pose_set: PoseSet, *, epochs: int, val: bool = True, **more) -> PoseModule:
    parts = more.pop("parts", None) or make_parts()
    train = crops(pose_set, changes=(HalfBody(), Jitter(), Mirror()))
    return fit(
        parts, train, crops(pose_set) if val else None, make_plan(folder, epochs=epochs, **more)
    )


class StopAfter(L.Callback):
    """A run that ends like a killed one: nothing is done after this epoch's checkpoint."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == self.epoch:
            raise SystemExit("killed")


def test_resumed_equals_uninterrupted_to_the_bit(dots, tmp_path):
    whole = run(tmp_path / "whole", dots, epochs=4)
    with pytest.raises(SystemExit):
        run(tmp_path / "cut", dots, epochs=4, callbacks=[StopAfter(2)])
    resumed = run(tmp_path / "cut", dots, epochs=4)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    columns = [
        [line.split(",")[0:2] + line.split(",")[3:] for line in path.read_text().splitlines()]
        for path in (tmp_path / "whole/curves.csv", tmp_path / "cut/curves.csv")
    ]
    assert columns[0] == columns[1]  # all but the seconds


def test_a_run_that_is_done_hands_over_the_same_weights_again(dots, tmp_path):
    done = run(tmp_path, dots, epochs=2)
    again = run(tmp_path, dots, epochs=2)
    for name, value in done.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_rerun_equals_the_first_to_the_bit(dots, tmp_path):
    first, second = (run(tmp_path / name, dots, epochs=2, val=False) for name in "ab")
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize("codec", [Distribution, Heatmap])
def test_overfits_four_pictures(dots, tmp_path, codec):
    """The parts together learn: dots of known colour are found, far above chance (OKS 0.15)."""
    few = dots.select_images(np.arange(12) < 4)
    optimizer = functools.partial(torch.optim.AdamW, lr=2e-2)
    made = codec(len(SKELETON), (SIZE, SIZE))
    parts = make_parts(codec=made, image_changes=(), optimizer=optimizer)
    plan = make_plan(tmp_path, epochs=50, trainer={"check_val_every_n_epoch": 50})
    fit(parts, crops(few), crops(few), plan)
    last = (tmp_path / "curves.csv").read_text().splitlines()
    values = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    assert float(values["val/oks"]) > 0.5


def test_unlabelled_points_teach_nothing(dots, tmp_path):
    hidden = np.full_like(dots.keypoints, np.nan)
    nothing = PoseSet(**{**vars(dots), "keypoints": hidden, "visibility": dots.visibility * 0})
    parts = make_parts(optimizer=functools.partial(torch.optim.SGD, lr=1.0), scheduler=None)
    before = {name: p.detach().clone() for name, p in parts.model.named_parameters()}
    fit(parts, crops(nothing), None, make_plan(tmp_path, epochs=1))
    for name, value in parts.model.named_parameters():
        # averaging equal weights may still move the last bit
        assert torch.allclose(value, before[name], rtol=0, atol=1e-7), name


class Explode(torch.nn.Module):
    """A network whose output is not finite from step ``first`` to step ``last``."""

    def __init__(self, inner: torch.nn.Module, first: int, last: int) -> None:
        super().__init__()
        self.inner, self.first, self.last, self.step = inner, first, last, 0

    def forward(self, x):
        out = self.inner(x)
        if self.training:
            self.step += 1
            if self.first <= self.step <= self.last:
                out = out * float("nan")
        return out


def test_steps_that_are_not_finite_are_skipped_and_counted(dots, tmp_path):
    parts = make_parts(model=Explode(make_parts().model, 2, 4))
    module = run(tmp_path, dots, epochs=2, parts=parts)
    assert module.skipped == 3
    assert all(bool(torch.isfinite(v).all()) for v in module.state_dict().values())


def test_gradients_that_are_not_finite_leave_the_weights_alone():
    module = PoseModule(make_parts())
    before = [p.detach().clone() for p in module.model.parameters()]
    optimizer = torch.optim.AdamW(module.parameters(), lr=1.0)
    module.guard.begin([0])
    for p in module.model.parameters():
        p.grad = torch.full_like(p, float("inf"))
    module.on_before_optimizer_step(optimizer)
    optimizer.step()
    assert module.skipped == 1
    for old, new in zip(before, module.model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_run_of_bad_steps_stops_and_names_the_samples(dots, tmp_path):
    parts = make_parts(model=Explode(make_parts().model, 1, 99), patience=3)
    with pytest.raises(UserError, match=r"3 steps in a row were not finite; rows .*\d+, \d+"):
        run(tmp_path, dots, epochs=3, parts=parts)


def test_an_unreadable_picture_is_counted_and_weighs_nothing(dots, tmp_path):
    (dots.root / "3.png").write_bytes(b"")
    sample = crops(dots)[(0, 3)]
    assert not sample["readable"]
    assert not sample["weights"].any()
    module = run(tmp_path, dots, epochs=2)
    assert module.unreadable == {3}


def test_too_few_instances_for_a_batch_are_refused(dots, tmp_path):
    with pytest.raises(UserError, match="do not fill a batch of 4; lower dataset.batch_size"):
        run(tmp_path, dots.select_images(np.arange(12) < 3), epochs=1)


def test_checkpoints_are_whole_or_the_old_ones(dots, tmp_path, monkeypatch):
    """A full disk at the second checkpoint leaves the first in place."""
    run(tmp_path, dots, epochs=1, val=False)
    first = (tmp_path / "last.ckpt").read_bytes()

    def full(self, path, *args, **kwargs):
        Path(path).write_bytes(first[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(L.Trainer, "save_checkpoint", full)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, dots, epochs=2, val=False)
    assert (tmp_path / "last.ckpt").read_bytes() == first


def test_the_folder_refuses_other_settings(tmp_path):
    claim(tmp_path / "run", "lr: 1\n  workers: 2\n")
    claim(tmp_path / "run", "lr: 1\n  workers: 0\n")
    with pytest.raises(UserError, match=r"other settings \(lr: 2\).*overwrite=true"):
        claim(tmp_path / "run", "lr: 2\n  workers: 2\n")
    (tmp_path / "run" / "last.ckpt").touch()
    claim(tmp_path / "run", "lr: 2\n", overwrite=True)
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_a_failed_start_gives_the_folder_back(tmp_path):
    def fails(folder: Path, makes: str, error: BaseException) -> None:
        with claimed(folder, "lr: 1\n"):
            (folder / makes).mkdir(exist_ok=True)
            raise error

    mistyped = UserError("mistyped")
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(UserError, match="mistyped"):
            fails(tmp_path / name, "splits", mistyped)
        assert not (tmp_path / name).exists()
    # work, a folder of one's own, or a run that was ended by hand stays
    (tmp_path / "own" / "splits").mkdir(parents=True)
    for name, makes, error in (
        ("worked", "last.ckpt", mistyped),
        ("own", "splits", mistyped),
        ("ended", "splits", KeyboardInterrupt()),
    ):
        with pytest.raises(type(error)):
            fails(tmp_path / name, makes, error)
        assert (tmp_path / name / makes).exists()
        assert (tmp_path / name / "config.yaml").exists()


def test_a_finished_run_starts_another(dots, tmp_path):
    module = run(tmp_path, dots, epochs=1)
    config = {
        "model": {"_target_": "tetrapose.models.small.small", **WIDTHS},
        "dataset": {"train": "dots:here"}, "padding": 1.0,
    }  # fmt: skip
    path = finish(tmp_path, module, crops(dots), config)
    assert card.load(path).skeleton.names == SKELETON.names
    other = small(len(SKELETON), **WIDTHS)
    assert start_from(other, path, SKELETON) == []
    for name, value in other.state_dict().items():
        saved = module.model.state_dict()[name]
        assert torch.allclose(value.float(), saved.float(), rtol=2e-3, atol=1e-4), name


def test_the_best_epoch_becomes_a_model_of_its_own(dots, tmp_path):
    """With a figure that only falls, the first scored epoch is the best."""
    plan = make_plan(tmp_path, epochs=4)
    falling = iter(np.linspace(0.9, 0.1, 9))
    plan = Plan(**{**vars(plan), "metric": lambda *_: {"AP": float(next(falling))}})
    module = fit(make_parts(), crops(dots), crops(dots), plan)
    config = {
        "model": {"_target_": "tetrapose.models.small.small", **WIDTHS},
        "dataset": {"train": "dots:here"}, "padding": 1.0,
    }  # fmt: skip
    finish(tmp_path, module, crops(dots), config)
    best, last = card.read(tmp_path / "best.safetensors"), card.read(tmp_path / "model.safetensors")
    assert (best["scores"]["epoch"], best["scores"]["val/AP"]) == (2, pytest.approx(0.9))
    assert last["scores"]["epoch"] == 4
    assert best["sha256"] != last["sha256"]


def test_a_head_is_matched_by_place(dots, tmp_path):
    module = run(tmp_path, dots, epochs=1, val=False)
    config = {
        "model": {"_target_": "tetrapose.models.small.small", **WIDTHS},
        "dataset": {"train": "dots:here"}, "padding": 1.0,
    }  # fmt: skip
    path = finish(tmp_path, module, crops(dots), config)
    ap10k = skeletons.load("ap10k")
    other = small(len(ap10k), **WIDTHS)
    told = start_from(other, path, ap10k)
    assert any("12 of 17 keypoints known" in line for line in told)
    row, there = ap10k.index("right_knee"), SKELETON.index("right_heel")  # both the hock
    head = module.model.state_dict()["head.weight"][there]
    assert torch.allclose(other.state_dict()["head.weight"][row], head, atol=1e-3)
    with pytest.raises(UserError, match="another network"):
        start_from(small(17, channels=(16, 24, 32, 48), blocks=(1, 1, 1, 1), neck=32), path, ap10k)


def test_what_is_frozen_keeps_weights_and_statistics(dots, tmp_path):
    parts = make_parts(frozen=("stem", "stages.0"))
    before = {k: v.clone() for k, v in parts.model.state_dict().items()}
    module = fit(parts, crops(dots), None, make_plan(tmp_path, epochs=1))
    after = module.model.state_dict()  # averaged over the steps, which rounds
    changed = [k for k, v in after.items() if not torch.allclose(v, before[k], rtol=1e-5)]
    assert not [name for name in changed if name.startswith(("stem.", "stages.0."))]
    assert [name for name in changed if name.startswith("stages.1.")]
    with pytest.raises(UserError, match="no part 'stages.7'"):
        freeze(parts.model, ["stages.7"])


def test_schedules():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    cosine = warmup_cosine(optimizer, 100, warmup=0.1, floor=0.05)
    values = [cosine.lr_lambdas[0](step) for step in range(101)]
    assert values[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[100] == pytest.approx(0.05)
    steps = multistep(optimizer, 210, drops=(170 / 210, 200 / 210))
    assert [steps.lr_lambdas[0](s) for s in (0, 169, 170, 200)] == pytest.approx([1, 1, 0.1, 0.01])


def test_sampler_and_batches(dots):
    sampler = EpochSampler(12, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler)
    assert sorted(row for _, row in first) == list(range(12))
    data = crops(dots, changes=(Jitter(), Mirror()))
    batch = to_batch([data[key] for key in first[:3]])
    assert batch["image"].shape == (3, 3, SIZE, SIZE)
    assert batch["image"].dtype == torch.uint8
    one = data[first[1]]
    assert np.array_equal(batch["keypoints"][1].numpy(), one["keypoints"])
