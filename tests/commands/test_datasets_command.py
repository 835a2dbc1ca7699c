"""``tetrapose datasets``: figures, other forms, folds, and the exit status that tells of loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from miniatures import edit

from tetrapose import cli
from tetrapose.commands.datasets import page
from tetrapose.data import available, open_set


def run(*argv) -> int:
    return cli.main(["datasets", *map(str, argv)])


def test_list_names_every_format(capsys):
    assert run("list") == 0
    out = capsys.readouterr().out
    assert out.count("licence:") == len(available())
    assert all(f"\n{name} " in f"\n{out}" for name in available())
    assert "tetrapose datasets show NAME" in out


def test_show_tells_where_from_and_the_traps(capsys):
    assert run("show", "akd_cats") == 0
    out = capsys.readouterr().out
    assert "TechNumber" in out
    assert "stored x, y" in out
    assert "options   split, sizes, pictures" in out
    assert run("show", "tigdog") == 0
    out = capsys.readouterr().out
    assert "animal, corrections" in out
    assert "fetch     the TigDog archive from calvin-vision.net" in out
    assert run("show", "akd") == 2
    assert "no data format 'akd'; there is akd_cats" in capsys.readouterr().err


def test_stats_counts(tiny_coco, tmp_path, capsys):
    assert run("stats", f"coco:{tiny_coco}", "--json", tmp_path / "facts.json") == 0
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert (facts["pictures"], facts["empty_pictures"], facts["animals"]) == (4, 1, 4)
    assert facts["per_species"] == {"dog": 2, "cat": 1, "horse": 1}
    assert facts["per_keypoint"]["left_eye"] == {"visible": 0, "hidden": 0, "unlabelled": 4}
    assert facts["per_keypoint"]["root_of_tail"] == {"visible": 0, "hidden": 4, "unlabelled": 0}
    assert facts["problems"] == []
    out, err = capsys.readouterr()
    assert "dog 2, cat 1, horse 1" in out
    assert err == ""


def test_entries_left_out_are_listed_and_told_by_the_status(tiny_coco, tmp_path, capsys):
    edit(tiny_coco, lambda c: c["annotations"][0].update(bbox=[5, 5, 0, 9]))
    assert run("stats", f"coco:{tiny_coco}", "--json", tmp_path / "facts.json") == 1
    err = capsys.readouterr().err
    assert (
        f"1 left out:\n  {tiny_coco}: annotation 100 (a.jpg): the box [5, 5, 5, 14] is empty" in err
    )
    (problem,) = json.loads((tmp_path / "facts.json").read_text())["problems"]
    assert problem["left_out"] is True


def test_doubts_are_listed_but_are_no_loss(tiny_coco, capsys):
    edit(tiny_coco, lambda c: c["annotations"][0].update(bbox=[-9, 5, 40, 40]))
    assert run("stats", f"coco:{tiny_coco}") == 0
    assert "1 in doubt, kept:" in capsys.readouterr().err


def test_many_problems_are_counted_not_poured_out(tiny_coco, tmp_path, capsys):
    def spoil(content):
        one = content["annotations"][0]
        content["annotations"] += [{**one, "id": 1000 + i, "image_id": 77} for i in range(50)]

    edit(tiny_coco, spoil)
    assert run("stats", f"coco:{tiny_coco}", "--json", tmp_path / "facts.json") == 1
    err = capsys.readouterr().err
    assert "50 left out:" in err
    assert "... and 30 more" in err
    assert err.count("image id 77") == 20
    assert len(json.loads((tmp_path / "facts.json").read_text())["problems"]) == 50


@pytest.mark.parametrize(
    "argv, told",
    [
        (["stats", "animal_pose:/absent"], "/absent: no such folder"),
        (["stats", "nothing"], "a set is written NAME:FOLDER"),
    ],
)
def test_nothing_can_be_done(capsys, argv, told):
    assert run(*argv) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["stats"], ["convert", "coco:x", "--to", "xml"], ["sing"]])
def test_wrong_use(argv, capsys):
    with pytest.raises(SystemExit) as left:
        run(*argv)
    assert left.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("tetrapose datasets")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["animal_pose", "akd_cats"])
def test_convert_gives_the_same_set_in_another_form(name, request, tmp_path, capsys):
    folder = request.getfixturevalue(f"tiny_{name}")
    assert run("convert", f"{name}:{folder}", "--to", "coco", "--out", tmp_path / "new.json") == 0
    spec = capsys.readouterr().out.split("open them as ")[1].strip()
    first, again = open_set(f"{name}:{folder}", sizes=True), open_set(spec)
    assert again.skeleton == first.skeleton
    assert again.files == first.files
    assert (again.sizes == first.sizes).all()
    assert (again.visibility == first.visibility).all()
    assert abs(again.keypoints - first.keypoints)[first.labelled].max() < 1e-3
    assert [again.species_names[i] for i in again.species] == [
        first.species_names[i] for i in first.species
    ]


def test_split_writes_folds_that_open(tiny_coco, tmp_path):
    spec = f"coco:{tiny_coco}"
    assert run("split", spec, "--folds", 3, "--seed", 5, "--out", tmp_path / "folds") == 0
    seen = []
    for k in range(3):
        train, val = (
            open_set(spec, split=tmp_path / "folds" / f"fold_{k}_{part}.txt")
            for part in ("train", "val")
        )
        assert not set(train.files) & set(val.files)
        assert len(train) + len(val) == 4
        seen += val.files
    assert sorted(seen) == ["a.jpg", "b.jpg", "c.jpeg"]
    before = (tmp_path / "folds" / "fold_0_val.txt").read_text()
    run("split", spec, "--folds", 3, "--seed", 5, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "fold_0_val.txt").read_text() == before


def test_only_a_part(tiny_coco, tmp_path, capsys):
    (tmp_path / "one.txt").write_text("b.jpg\n")
    assert run("stats", f"coco:{tiny_coco}", "--split", tmp_path / "one.txt") == 0
    assert "horse 1" in capsys.readouterr().out


def test_labels_only(tiny_coco, capsys):
    (tiny_coco.parent / "images").rename(tiny_coco.parent / "moved")
    assert run("stats", f"coco:{tiny_coco}") == 2
    assert run("stats", f"coco:{tiny_coco}", "--labels-only") == 0


def test_the_page_of_all_sets_is_that_of_the_readers():
    kept = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"
    told = "run: tetrapose datasets list --markdown > docs/datasets.md"
    assert kept.read_text(encoding="utf-8") == page() + "\n", told
