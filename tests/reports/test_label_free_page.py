"""Finished runs collected: what is grouped, counted, refused; the page; the command."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from label_free_runs import write_run

from tetrapose import skeletons
from tetrapose.cli import main
from tetrapose.errors import UserError
from tetrapose.reports import runs as collected
from tetrapose.reports.dense import dense_tile, worth_showing
from tetrapose.reports.label_free import best_of, label_free_page
from tetrapose.structures import PoseSet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two methods with three seeds each, and one run under way."""
    for seed, (base, better) in enumerate([(0.5, 0.6), (0.52, 0.62), (0.54, 0.53)]):
        write_run(tmp_path / f"supervised_{seed}", "supervised", seed, level=base)
        write_run(tmp_path / f"scarcenet_{seed}", "scarcenet", seed, level=better)
    under_way = tmp_path / "scarcenet_3"
    under_way.mkdir()
    (under_way / "config.yaml").write_text("seed: 3\n")
    return tmp_path


def groups_in(folder: Path) -> list[collected.Group]:
    return collected.grouped(collected.read_runs([folder])[0])


def test_seeds_make_one_line_with_mean_and_spread(folder):
    runs, notes = collected.read_runs([folder])
    assert len(runs) == 6
    assert notes == [f"{folder / 'scarcenet_3'} has no result.json yet: it is left out"]
    base, better = collected.grouped(runs)
    assert (base.method, better.method) == ("supervised", "scarcenet")
    assert [run.seed for run in better.runs] == [0, 1, 2]
    values = np.array([0.6, 0.62, 0.53]) / 2
    mean, apart = collected.spread(better.values("unlabelled"))
    assert mean == pytest.approx(values.mean())
    assert apart == pytest.approx(values.std(ddof=1))
    assert collected.told(better.values("labelled")) == "0.583 ± 0.047"
    assert collected.wins(better, [base, better], "unlabelled") == "2 of 3"
    assert collected.wins(base, [base, better], "unlabelled") == ""


def test_methods_are_held_against_what_was_shown_the_same_labels(folder):
    everything = {"recipe": "conventions", "whole": True}
    for seed in range(3):
        write_run(folder / f"all_{seed}", "supervised", seed, level=0.9, labels=everything)
    groups = groups_in(folder)
    names = [group.name for group in groups]
    assert sorted(names) == [
        "scarcenet", "supervised (names ap10k+animal_pose, whole none)",
        "supervised (names none, whole True)",
    ]  # fmt: skip
    assert collected.wins(groups[names.index("scarcenet")], groups, "labelled") == "2 of 3"


def test_one_seed_has_no_spread_and_no_seed_no_mean():
    assert collected.told(np.array([0.5])) == "0.500"
    assert collected.told(np.array([])) == "–"


def test_runs_may_be_named_one_by_one_and_twice(folder):
    one = folder / "supervised_0"
    runs, _ = collected.read_runs([one, one / "result.json", one])
    assert [run.folder for run in runs] == [one]


def test_what_differs_but_the_seed_is_another_line(folder):
    write_run(folder / "more", "scarcenet", 0, steps=800)
    write_run(folder / "few", "scarcenet", 0, preset="animal_pose_few")
    names = [(group.preset, group.name) for group in groups_in(folder)]
    assert names[0] == ("animal_pose_few", "scarcenet")
    assert set(names[1:]) == {
        ("menagerie", "supervised"),
        ("menagerie", "scarcenet (steps 400)"),
        ("menagerie", "scarcenet (steps 800)"),
    }
    # of another start alone it is the same experiment: every seed has a start of its own
    write_run(folder / "start", "scarcenet", 7, start="runs/supervised_7/model.safetensors")
    assert max(len(group.runs) for group in groups_in(folder)) == 4


def test_what_others_started_from_is_their_first_stage(tmp_path):
    for seed in (0, 1):
        first = write_run(tmp_path / f"first_{seed}", "supervised", seed, steps=800, level=0.9)
        start = str(first / "model.safetensors")
        write_run(tmp_path / f"on_{seed}", "supervised", seed, start=start, level=0.4)
        write_run(tmp_path / f"two_{seed}", "two_looks", seed, start=start, steps=900)
    groups = groups_in(tmp_path)
    names = [group.name for group in groups]
    assert names == ["supervised (first stage)", "supervised", "two_looks"]
    # held against the runs that went on, though these have as many steps as nobody else
    wins = [collected.wins(group, groups, "PCK@0.1") for group in groups]
    assert wins == ["", "", "2 of 2"]


def test_one_seed_twice_is_no_spread(folder):
    write_run(folder / "again", "scarcenet", 1)
    with pytest.raises(UserError, match="again and .*scarcenet_1 are one experiment with seed 1"):
        groups_in(folder)


@pytest.mark.parametrize(
    "content, told",
    [
        ("", "not a result of a label-free run"),
        ("[]", "not a result of a label-free run"),
        ('{"format": "tetrapose label-free 9"}', "of format 'tetrapose label-free 9'"),
        ('{"format": "tetrapose label-free 1"}', "KeyError: 'test'"),
    ],
)
def test_a_file_that_is_no_result_is_refused(tmp_path, content, told):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=told):
        collected.read_runs([tmp_path])


def test_folders_without_runs_are_told(tmp_path, folder):
    with pytest.raises(UserError, match="no such run folder"):
        collected.read_runs([tmp_path / "absent"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither a run nor a folder of runs"):
        collected.read_runs([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"no finished run: .*scarcenet_3 has no result"):
        collected.read_runs([folder / "scarcenet_3"])


def test_a_point_that_nobody_counts_is_a_dash(tmp_path):
    """A preset whose test part shows every label has no unlabelled points."""
    run = write_run(tmp_path / "a", "supervised", 0)
    result = json.loads((run / "result.json").read_text())
    for by in (result["test"]["pck"], *result["test"]["parts"].values()):
        for kinds in by.values():
            kinds["unlabelled"] = None
    result["test"]["unlabelled_points"] = {"nose": None}
    (run / "result.json").write_text(json.dumps(result))
    groups = groups_in(tmp_path)
    assert "–" in collected.markdown(groups)
    page = label_free_page(groups, title="t")
    assert "Points that the animal&#x27;s set does not label" not in page
    assert "Unlabelled points by body part" not in page
    assert "All points by body part" in page


def test_the_markdown_is_a_table_and_the_csv_has_a_line_a_run(folder):
    groups = groups_in(folder)
    lines = collected.markdown(groups).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert "2 of 3" in lines[3]
    rows = list(csv.DictReader(io.StringIO(collected.as_csv(groups))))
    assert [(row["method"], row["seed"]) for row in rows[:4]] == [
        ("supervised", "0"), ("supervised", "1"), ("supervised", "2"), ("scarcenet", "0"),
    ]  # fmt: skip
    assert float(rows[3]["pck_0.1_labelled"]) == 0.6
    assert float(rows[3]["front_pck_0.1_labelled"]) == pytest.approx(0.61)
    assert float(rows[3]["unlabelled_withers_pck_0.1"]) == 0.3


def test_curves_take_numbers_alone(folder):
    (folder / "supervised_0" / "curves.csv").write_text(
        "step,val/pck/head\n1,0.5\n2,\n,3\n3,oops\n"
    )
    (folder / "supervised_1" / "curves.csv").unlink()
    runs = collected.read_runs([folder])[0]
    curves = {run.folder.name: run.curves for run in runs}
    assert curves["supervised_0"] == ({"step": 1, "val/pck/head": 0.5}, {"step": 2}, {"step": 3})
    assert curves["supervised_1"] == ()


def test_the_page_shows_every_experiment_and_asks_the_network_for_nothing(folder):
    groups = groups_in(folder)
    tile = (np.zeros((30, 60, 3), np.uint8), "dog", "9 points labelled, 15 more put")
    page = label_free_page(
        groups, title="A < B", tiles={"menagerie": [tile]}, notes=["x is left out"]
    )
    for wanted in (
        "A &lt; B", "6 runs of 2 experiments on 1 preset.", "All figures", "0.583 ± 0.047",
        "Unlabelled points by body part", "left ear base", "Confidence in the pool",
        "Share of the pool that is learnt from", "Points found on the validation part",
        "Points that no dataset labelled", "15 more put", "Every run", "x is left out",
    ):  # fmt: skip
        assert wanted in page, wanted
    assert "http" not in page.replace("http://www.w3.org", "").replace("https://www.w3.org", "")
    assert best_of(groups).folder.name == "scarcenet_0"


def painted(folder: Path) -> PoseSet:
    skeleton = skeletons.load("ap10k")
    n, k = 6, len(skeleton)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((80, 100, 3), 90, np.uint8))
    boxes = np.tile(np.float32([10, 10, 90, 70]), (n, 1))
    boxes[:, 2] -= np.arange(n)
    return PoseSet(
        skeleton=skeleton, root=folder, source="painted", licence="CC0",
        files=("0.png", "1.png", "2.png"), image_ids=np.arange(3), sizes=np.full((3, 2), 100),
        groups=np.arange(3), image_index=np.array([0, 0, 1, 1, 2, 2]),
        keypoints=np.random.default_rng(0).uniform(15, 65, (n, k, 2)).astype(np.float32),
        visibility=np.full((n, k), 2, np.uint8), bboxes=boxes, areas=np.full(n, 4800.0),
        species=np.array([0, 1, 0, 1, 0, 0]), species_names=("dog", "cat"),
        crowd=np.zeros(n, bool), annotation_ids=np.arange(n),
    )  # fmt: skip


def test_shown_animals_lack_points_and_come_from_different_pictures(tmp_path):
    animals = painted(tmp_path)
    shown = np.ones((6, 17), bool)
    shown[1:, :5] = False
    shown[4, :] = False  # nothing labelled at all: nothing to compare with
    rows = worth_showing(animals, shown, 3)
    assert len(set(animals.image_index[rows])) == len(rows) == 3
    assert not {0, 4} & set(rows.tolist())
    assert {int(animals.species[row]) for row in rows[:2]} == {0, 1}
    assert len(worth_showing(animals, np.ones((6, 17), bool), 3)) == 0


def test_a_tile_rings_what_the_set_does_not_label(tmp_path):
    animals = painted(tmp_path)
    shown = np.ones(17, bool)
    scores = np.full(17, 0.9)
    points = animals.keypoints[0].astype(float)
    whole = dense_tile(animals, 0, shown, points, scores)
    assert whole.shape == (300, 606, 3)
    shown[2] = False
    part = dense_tile(animals, 0, shown, points, scores)
    assert not np.array_equal(part[:, :300], whole[:, :300])  # a label less on the left
    changed = np.abs(part[:, 306:].astype(int) - whole[:, 306:]).max(-1) > 60
    assert 20 < changed.sum() < 400  # one ring on the right
    unsure = np.where(np.arange(17) == 2, 0.1, scores)
    blank = dense_tile(animals, 0, np.ones(17, bool), points, unsure)
    assert np.array_equal(dense_tile(animals, 0, shown, points, unsure)[:, 306:], blank[:, 306:])
    (tmp_path / "0.png").unlink()
    assert dense_tile(animals, 0, shown, points, scores) is None


def test_the_command_prints_and_writes(folder, tmp_path, capsys):
    out, table = tmp_path / "out" / "page.html", tmp_path / "out" / "runs.csv"
    done = main(["label-free", "report", str(folder), "--out", str(out), "--csv", str(table)])
    told = capsys.readouterr()
    assert done == 0
    assert told.out.startswith("| preset")
    assert "scarcenet_3 has no result.json yet" in told.err
    assert "cannot tell which pictures were used" in told.err  # made-up runs have no sets
    assert "cannot tell which pictures were used" in out.read_text()
    assert len(table.read_text().splitlines()) == 7
    assert main(["label-free", "report", str(tmp_path / "absent")]) == 2
    assert "no such run folder" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_told_in_a_line(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    given = ["label-free", "report", str(folder), "--csv", str(tmp_path / "file" / "a.csv")]
    assert main(given) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_empty_group_has_no_values(folder):
    group = replace(groups_in(folder)[0], runs=())
    assert len(group.values("labelled")) == 0
