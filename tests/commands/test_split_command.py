"""``tetrapose datasets split`` and ``select``, used as a user would, wrongly too."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tetrapose import cli
from tetrapose.commands import split as command
from tetrapose.data import open_set
from tetrapose.data.splits import files, recipes


@pytest.fixture
def spec(tiny_coco) -> str:
    return f"coco:{tiny_coco}"


def run(*argv) -> int:
    return cli.main(["datasets", *map(str, argv)])


def test_the_recipes_are_those_that_there_are():
    assert tuple(recipes.RECIPES) == command.NAMES


@pytest.mark.parametrize("recipe", [name for name in command.NAMES if name != "25-to-5"])
def test_each_recipe_writes_what_opens(recipe, spec, tmp_path, capsys):
    out = tmp_path / "new" / "s.json"
    options = {"folds": ["count=2"], "n-shot": ["count=1"]}.get(recipe, [])
    words = [word for pair in options for word in ("--option", pair)]
    assert run("split", spec, "--recipe", recipe, *words, "--seed", 4, "--out", out) == 0
    told = capsys.readouterr().out
    split = files.load(out)
    assert (split.recipe, split.seed, split.source["set"]) == (recipe, 4, spec)
    for name, part in split.parts.items():
        assert f"\n{name} " in f"\n{told}"
        if part.pictures != ():
            opened = open_set(spec, split=f"{out}:{name}")
            assert f"{int(opened.labelled.sum()):,} labelled points" in told


def test_the_same_command_writes_the_same_file(spec, tmp_path):
    for name in ("a.json", "b.json"):
        run("split", spec, "--recipe", "front-back", "--seed", 4, "--out", tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_folder_gets_lists_and_the_split(spec, tmp_path):
    assert run("split", spec, "--folds", 3, "--out", tmp_path / "folds") == 0
    names = sorted(path.name for path in (tmp_path / "folds").iterdir())
    assert names == sorted(
        ["split.json", *(f"fold_{k}_{part}.txt" for k in range(3) for part in ("train", "val"))]
    )
    split = files.load(tmp_path / "folds" / "split.json")
    lines = (tmp_path / "folds" / "fold_1_val.txt").read_text().split()
    assert tuple(lines) == split.parts["fold_1_val"].pictures
    opened = [
        open_set(spec, split=tmp_path / "folds" / name).files
        for name in ("fold_1_train.txt", "split.json:fold_1_train")
    ]
    assert opened[0] == opened[1]


def test_species_too_few_for_the_shots_are_told(spec, tmp_path, capsys):
    words = ("--recipe", "n-shot", "--option", "count=2", "--out", tmp_path / "s.json")
    assert run("split", spec, *words) == 0
    assert "species with fewer: cat, horse" in capsys.readouterr().out


def test_near_copies_stay_together(tiny_coco, spec, tmp_path, capsys):
    images = tiny_coco.parent / "images"
    rng = np.random.default_rng(0)
    waves = np.kron(rng.integers(0, 255, (6, 6, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    Image.fromarray(waves).resize((64, 48)).save(images / "a.jpg", quality=95)
    Image.fromarray(waves).resize((48, 64)).save(images / "b.jpg", quality=60)
    words = ("--recipe", "fraction", "--option", "share=0.2", "--out", tmp_path / "s.json")
    assert run("split", spec, *words, "--near-copies", 6) == 0
    assert "near-copies: 4 pictures in 3 groups (4 by content)" in capsys.readouterr().out
    for part in files.load(tmp_path / "s.json").parts.values():
        assert len({"a.jpg", "b.jpg"} & set(part.pictures or ())) in (0, 2)
    assert run("split", spec, *words, "--near-copies", 6, "--labels-only") == 2
    assert "does not go with --labels-only" in capsys.readouterr().err
    assert run("split", spec, *words, "--near-copies", 99) == 2


@pytest.mark.parametrize(
    "words, told",
    [
        (["--recipe", "ratio", "--option", "shares"], "it is written NAME=VALUE"),
        (["--recipe", "ratio", "--option", "a=1"], "no option 'a'; it has shares"),
        (["--recipe", "25-to-5", "--option", "few=30"], "has to exceed"),
        (["--folds", "1"], "at least 2"),
        (["--recipe", "front-back", "--out", "dir"], "hides points or animals (labelled)"),
        (["--recipe", "ratio", "--out", "s.txt"], "due is FILE.json, or a folder"),
    ],
)
def test_wrong_use(spec, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in words else ["--out", "s.json"]
    assert run("split", spec, *words, *out) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert list(tmp_path.glob("s.*")) == list(tmp_path.glob("dir")) == []


def test_no_recipe_or_two_are_refused(spec, capsys):
    for words in ([], ["--recipe", "ratio", "--folds", "3"], ["--recipe", "rato"]):
        with pytest.raises(SystemExit):
            run("split", spec, "--out", "s.json", *words)
    assert "ratio" in capsys.readouterr().err


def test_other_labels_are_refused_in_one_line(spec, tiny_animal_pose, tmp_path, capsys):
    run("split", spec, "--recipe", "ratio", "--out", tmp_path / "s.json")
    capsys.readouterr()
    other = f"animal_pose:{tiny_animal_pose}"
    assert run("stats", other, "--split", f"{tmp_path / 's.json'}:train") == 2
    err = capsys.readouterr().err
    assert "was made from other labels" in err
    assert err.count("\n") == 1


# --- select ----------------------------------------------------------------------------------


@pytest.fixture
def result(tmp_path):
    """A result in which limbs are hard and eyes are easy."""
    from tetrapose import skeletons

    points = {
        p.name: {"nme": {"head": 0.05, "front": 0.2, "back": 0.3}.get(p.part, 0.1), "count": 9}
        for p in skeletons.load("ap10k").keypoints
    }
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"AP": 0.5, "per_keypoint": points}))
    return path


def test_select_prints_the_bands_and_writes_what_opens(spec, result, tmp_path, capsys):
    out = tmp_path / "few.json"
    words = ("--difficulty", result, "--easy", 0.06, "--hard", 0.25, "--plenty", 2)
    assert run("select", spec, "--count", 3, *words, "--out", out) == 0
    told = capsys.readouterr().out
    assert "easy up to NME 0.0600, hard above 0.2500; many labels from 2" in told
    table = {line.split()[0]: line.split()[1:] for line in told.splitlines() if "0.3000" in line}
    assert table["left_hip"] == ["0.3000", "4", "hard", "many", "2"]
    assert "3 animals" in told
    assert "cat 1, dog 1, horse 1" in told
    chosen = open_set(spec, split=f"{out}:selected")
    assert len(chosen) == 3
    split = files.load(out)
    assert split.options["difficulty"] == str(result)
    assert sum(split.report["animals_per_species"].values()) == 3


def test_select_by_lot(spec, tmp_path, capsys):
    for seed in (1, 1, 2):
        assert run("select", spec, "--count", 2, "--random", "--seed", seed, "--out",
                   tmp_path / f"{seed}.json") == 0  # fmt: skip
    assert "NME" not in capsys.readouterr().out
    assert len(open_set(spec, split=f"{tmp_path / '1.json'}:selected")) == 2


@pytest.mark.parametrize(
    "words, told",
    [
        (["--count", "9", "--random"], "9 animals to choose: the set has 4"),
        (["--count", "0", "--random"], "0 animals to choose"),
        (["--count", "2", "--difficulty", "absent.json"], "absent.json: no such file"),
        (["--count", "2", "--random", "--out", "list.txt"], "due is FILE.json"),
        (["--count", "2", "--random", "--favour", "0"], "above 0"),
    ],
)
def test_select_used_wrongly(spec, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in words else ["--out", "few.json"]
    assert run("select", spec, *words, *out) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("few*")) + list(tmp_path.glob("list*"))


def test_a_result_of_other_points(spec, tmp_path, capsys):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"per_keypoint": {"antenna": {"nme": 0.1}}}))
    assert run("select", spec, "--count", 2, "--difficulty", path, "--out", "few.json") == 2
    assert "has no keypoint of ap10k" in capsys.readouterr().err
