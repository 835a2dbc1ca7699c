"""Laws of a label-free run: exact to the bit, one process or two, whatever the pool is like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import labelfree_ddp
import labelfree_parts as made
import lightning as L
import numpy as np
import pytest
import torch

from tetrapose.errors import UserError
from tetrapose.training.labelfree import step as steps
from tetrapose.training.labelfree.baselines import PseudoLabels, Supervised
from tetrapose.training.labelfree.freenet import FreeNet
from tetrapose.training.labelfree.pairs import StepSampler, unlabelled
from tetrapose.training.labelfree.run import carry_out, feed, learn
from tetrapose.training.labelfree.step import Moment, look
from tetrapose.training.labelfree.two_looks import Record, TwoLooks
from tetrapose.weights import card

METHODS = {
    "supervised": Supervised,
    "freenet": lambda start: FreeNet(start, schedule=(0.5, 0.3, 0.5), base_rate=1.0),
    "released": lambda start: FreeNet(start, schedule=(0.5, 0.3, 0.5), released=True),
    "fixmatch": lambda start: PseudoLabels(start, threshold=0.0),
    "mean_teacher": lambda start: PseudoLabels(start, teacher="average", soft=True, threshold=0.0),
    "uda": lambda start: PseudoLabels(start, soft=True, threshold=0.0, ramp=1.0, mirrored=True),
    "frozen": lambda start: PseudoLabels(start, teacher="frozen", threshold=0.0),
    "one_network": lambda start: PseudoLabels(start, parts=True),
    "two_looks": TwoLooks,
}


class KillAfter(L.Callback):
    """A run that ends in the middle of an interval, as a killed one does."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if pl_module.done == self.at:
            raise SystemExit("killed")


def state(fitted) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in fitted.module.state_dict().items()}


def same(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.fixture
def data(tmp_path: Path):
    return made.partial(tmp_path / "pictures")


@pytest.mark.parametrize("name", ["freenet", "two_looks"])
def test_resumed_equals_uninterrupted_to_the_bit(name, data, tmp_path):
    make = METHODS[name]
    whole = learn(made.setup(tmp_path / "whole", make(made.start()), data))
    cut = made.setup(tmp_path / "cut", make(made.start()), data, callbacks=[KillAfter(5)])
    with pytest.raises(SystemExit):
        learn(cut)
    kept = torch.load(tmp_path / "cut" / "last.ckpt", weights_only=True)
    assert kept["label_free"]["done"] == 4  # one step of an interval of two was lost, no more
    assert not list((tmp_path / "cut").glob("*.part"))
    again = learn(made.setup(tmp_path / "cut", make(made.start()), data))
    assert same(state(whole), state(again))
    told = [[{**row, "seconds": 0} for row in run.history.rows] for run in (whole, again)]
    assert told[0] == told[1]


def test_two_runs_of_a_seed_are_equal_and_of_two_seeds_are_not(data, tmp_path):
    runs = [
        state(learn(made.setup(tmp_path / str(i), TwoLooks(made.start()), data, seed=seed)))
        for i, seed in enumerate((1, 1, 2))
    ]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_each_of_its_networks(name, data, tmp_path):
    method = METHODS[name](made.start())
    before = {k: v.clone() for k, v in method.networks.state_dict().items()}
    fitted = learn(made.setup(tmp_path / "run", method, data, steps=4))
    moved = {
        key.split(".")[0]
        for key, value in fitted.module.networks.state_dict().items()
        if not torch.equal(value, before[key])
    }
    still = {"teacher"} if name in ("frozen", "two_looks") else set()
    assert moved == set(method.networks) - still
    assert fitted.module.skipped == 0
    assert all(torch.isfinite(v).all() for v in fitted.module.state_dict().values())


def test_two_processes_lose_what_one_with_the_joined_batch_does(tmp_path):
    script = Path(labelfree_ddp.__file__)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LOCAL_", "NODE_", "WORLD_"))}
    words = [sys.executable, str(script), str(tmp_path / "two"), "2"]
    done = subprocess.run(
        words, env=clean, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads((tmp_path / "two" / "seen.json").read_text())
    one = labelfree_ddp.seen(tmp_path / "one", 1)
    for name in labelfree_ddp.METHODS:
        mine, theirs = one[name], two[name]
        assert len(mine["rows"]) == len(theirs["rows"]) == 2
        for left, right in zip(mine["rows"], theirs["rows"], strict=True):
            assert left.keys() == right.keys()
            for key in left:
                assert right[key] == pytest.approx(left[key], rel=1e-3, abs=1e-5), key
        for key, value in mine["weights"].items():
            assert theirs["weights"][key] == pytest.approx(value, rel=1e-3, abs=1e-4), key


def test_the_order_of_rows_goes_on_and_is_shared_out(monkeypatch):
    def keys(interval: int) -> list[tuple[int, int]]:
        sampler = StepSampler(5, batch=4, steps=3, seed=7)
        sampler.set_epoch(interval)
        assert len(list(sampler)) == len(sampler)
        return list(sampler)

    stream = keys(0) + keys(1)
    for turn in range(4):
        assert sorted(row for t, row in stream if t == turn) == list(range(5))
    alone = keys(1)
    shared = []
    for rank in range(2):
        monkeypatch.setattr("tetrapose.training.labelfree.pairs.processes", lambda r=rank: (r, 2))
        shared.append(keys(1))
    joined = [key for step in range(3) for part in shared for key in part[2 * step : 2 * step + 2]]
    assert joined == alone


def test_the_pool_tells_no_label_even_where_crops_may_peek(data, tmp_path):
    assert not unlabelled(data.pool).labelled.any()
    for peek in (False, True):
        setup = made.setup(tmp_path, FreeNet(made.start()), data)
        setup = replace(setup, crops=replace(setup.crops, peek=peek))
        batch = next(iter(feed(setup)["pool"]))
        assert torch.isnan(batch["keypoints"]).all()
        assert batch["weights"].sum() == 0
        assert batch["visibility"].sum() == 0


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(data, tmp_path):
    class Odd:
        """A method whose second turn of the third step has no finite loss."""

        def __init__(self) -> None:
            self.inner = FreeNet(made.start(), feedback=False, base_rate=1.0)

        def __getattr__(self, name: str):
            return getattr(self.inner, name)

        def turns(self, labelled, pool, at):
            for name, losses in self.inner.turns(labelled, pool, at):
                bad = at.step == 2 and name == "adaptation"
                yield name, {k: v * (torch.nan if bad else 1) for k, v in losses.items()}

    class Watch(L.Callback):
        def __init__(self) -> None:
            self.states: list[dict] = []

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            networks = pl_module.networks.state_dict()
            self.states.append({k: v.clone() for k, v in networks.items()})

    watch = Watch()
    fitted = learn(made.setup(tmp_path / "run", Odd(), data, callbacks=[watch]))
    assert fitted.module.skipped == 1
    assert same(watch.states[1], watch.states[2])
    assert not same(watch.states[2], watch.states[3])


def test_a_run_ends_with_a_model_and_a_result_and_is_not_run_again(data, tmp_path):
    setup = made.setup(tmp_path / "run", TwoLooks(made.start()), data, about={"method": "two"})
    result = carry_out(setup)
    assert result == json.loads((tmp_path / "run" / "result.json").read_text())
    assert set(result["test"]["pck"]["0.1"]) == {"overall", "labelled", "unlabelled"}
    assert result["test"]["counts"]["overall"] == 4 * made.K
    assert result["test"]["counts"]["unlabelled"] == 4 * (made.K // 2)
    assert result["data"]["labels"] == int(data.labelled.labelled.sum())
    loaded = card.load(tmp_path / "run" / "model.safetensors")
    assert loaded.skeleton.names == made.SKELETON.names
    assert (tmp_path / "run" / "curves.png").exists()
    head = (tmp_path / "run" / "curves.csv").read_text().splitlines()[0]
    assert "train/kept/face" in head
    assert "val/pck/head" in head
    (tmp_path / "run" / "model.safetensors").unlink()
    assert carry_out(setup) == result
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_the_network_learns_eight_pictures(data, tmp_path):
    """More steps bring the labelled loss down: the whole line teaches."""
    fitted = learn(made.setup(tmp_path / "run", Supervised(made.start()), data, steps=40, every=20))
    losses = [row["train/network/labelled_loss"] for row in fitted.history.rows]
    assert losses[-1] < 0.95 * losses[0]


def test_no_unlabelled_pictures(data, tmp_path):
    empty = replace(data, pool=data.pool.select_instances(np.zeros(8, dtype=bool)))
    with pytest.raises(UserError, match=r"no unlabelled pictures.*method=supervised"):
        learn(made.setup(tmp_path / "a", FreeNet(made.start()), empty))
    learn(made.setup(tmp_path / "b", Supervised(made.start()), empty, steps=2))


def test_a_point_that_no_label_shows_is_told_and_never_guessed(tmp_path, capsys):
    data = made.partial(tmp_path / "pictures", never=(3,))
    taught = tuple(data.taught.tolist())
    assert taught.count(False) == 1
    for name in ("freenet", "mean_teacher", "two_looks"):
        method = METHODS[name](made.start(taught=taught))
        head = "adaptation" if name == "freenet" else "network"
        before = last_layer(method.networks[head])[3].clone()
        fitted = learn(made.setup(tmp_path / name, method, data, steps=2))
        # with no loss on its map, decay alone moves what makes it
        left = last_layer(fitted.module.networks[head])[3]
        assert torch.allclose(left, before, rtol=1e-3, atol=1e-6), name
    assert f"no label shows {made.SKELETON.names[3]}" in capsys.readouterr().err


def last_layer(network: torch.nn.Module) -> torch.Tensor:
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    return next(m for m in layers if m.out_channels == made.K).weight


@pytest.mark.parametrize("value", [0.0, float("nan")])
@pytest.mark.parametrize("name", ["freenet", "fixmatch", "mean_teacher", "two_looks"])
def test_confidences_all_zero_or_nan(name, value, monkeypatch, capsys):
    """The pool teaches nothing, labels still do, and it is said once."""
    monkeypatch.setattr(steps, "SAID", set())
    begun = made.start()
    method = METHODS[name](begun)
    if name == "fixmatch":
        method = PseudoLabels(begun, threshold=0.4)
    teacher = method.networks[{"freenet": "base", "fixmatch": "network"}.get(name, "teacher")]
    real = teacher.forward
    weak_seen = []

    def flat(pictures):
        out = real(pictures)
        weak_seen.append(torch.is_grad_enabled())
        return out if torch.is_grad_enabled() else torch.full_like(out, value)

    teacher.forward = flat
    labelled, pool = made.views(), made.views(4, seed=1, labelled=False)
    losses = {}
    for _ in range(2):
        for network, found in method.turns(labelled, pool, Moment(0, 100)):
            losses[network] = {k: float(v.detach()) for k, v in found.items()}
    first = next(iter(losses.values()))
    assert np.isfinite(first["labelled"])
    assert first["labelled"] > 0
    if name == "mean_teacher":  # it learns whole maps, of which zeros are one: NaN never gets in
        assert np.isfinite(first["pseudo"])
    else:
        assert first["pseudo"] == 0
    assert capsys.readouterr().err.count("no confidence above 0") == 1


def test_a_part_without_a_confident_point_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(steps, "SAID", set())
    method = FreeNet(made.start())
    confidences = torch.full((2, made.K), 0.9)
    confidences[:, method.groups["back"]] = 0.1
    at = Moment(0, 100)
    for _ in range(2):
        kept = method.chosen(confidences, at, 20)
    assert not kept[:, method.groups["back"]].any()
    assert kept[:, method.groups["face"]].all()
    told = capsys.readouterr().err
    assert told.count("no point of back is confident enough") == 1
    assert "front" not in told


def test_running_confidences_are_those_of_labelled_points():
    running = Record(3)
    running.add(torch.tensor([[0.8, 0.2, torch.nan]]), torch.tensor([[1.0, 0.0, 1.0]]))
    assert running.mean.tolist() == pytest.approx([0.8, 0.5, 0.5])
    running.add(torch.tensor([[0.3, 0.2, 0.9]]), torch.ones(1, 3))
    assert running.mean.tolist() == pytest.approx([0.8 - 0.005, 0.2, 0.9])


def test_two_looks_that_differ_are_less_like_the_truth():
    method = TwoLooks(made.start())
    method.state.mean.fill_(0.5)
    sure = torch.full((2, made.K), 0.9)
    sure[:, 1] = 0.25
    apart = torch.zeros(2, made.K)
    apart[1, :2] = torch.tensor([1.0, 5.0])
    found = method.likeness(sure, apart)
    assert found[0, :2].tolist() == pytest.approx([1.0, 0.5])
    assert found[1, :2].tolist() == pytest.approx([float(np.exp(-0.5)), 0.0], abs=1e-5)


def test_a_teacher_without_patience_stays_the_start(data, tmp_path):
    begun = made.start()
    before = {k: v.clone() for k, v in begun.network.state_dict().items()}
    patient = TwoLooks(made.start(), patience=0.5)
    for method, moves in ((TwoLooks(begun), False), (patient, True)):
        learn(made.setup(tmp_path / str(moves), method, data))
        after = method.networks["teacher"].state_dict()
        assert any(not torch.equal(before[k], after[k]) for k in before) is moves


def test_two_looks_never_guesses_where_the_pool_shows_a_label():
    method = TwoLooks(made.start())
    moment = Moment(0, 10)
    _, hidden = next(method.turns(made.views(), made.views(seed=1, labelled=False), moment))
    _, shown = next(method.turns(made.views(), made.views(seed=1), moment))
    assert hidden["pseudo"].item() > 0
    assert shown["pseudo"].item() == 0
    assert shown["labelled"].item() > hidden["labelled"].item()


def test_guesses_are_the_mean_map_of_both_looks():
    labelled, pool = made.views(), made.views(seed=1, labelled=False)
    method = TwoLooks(made.start(norm=False), partial=False)
    _, losses = next(method.turns(labelled, pool, Moment(0, 10)))
    method.state.mean.fill_(0.5)
    method.state.seen.zero_()
    with torch.no_grad():
        maps, confidences, apart = method.looks(torch.cat([labelled.weak, pool.weak]))
        shown = torch.cat([labelled.weights, pool.weights])
        method.state.add(confidences, shown)
        trust = method.likeness(confidences, apart)[len(labelled) :] ** 2
        error = (look(method.networks["network"], pool.strong) - maps[len(labelled) :]).square()
        own = (error.mean((-2, -1)) * trust * method.weights).sum() / len(labelled)
    assert own > 0
    assert losses["pseudo"].item() == pytest.approx(own.item(), rel=1e-4)


def test_whole_intervals_are_due():
    with pytest.raises(UserError, match="whole intervals"):
        made.setup(Path("nowhere"), None, None, steps=5, every=2)
