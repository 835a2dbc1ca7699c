"""The documents' own commands, run from the first to the last on pictures that are drawn here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tetrapose import cli, skeletons

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "own_data.md"
# what makes a real training a short one
SHORT = (
    "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "trainer.precision=32-true",
    "trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "input_size=[64,64]",
    "dataset.batch_size=2", "dataset.workers=0", "logger=none",
)  # fmt: skip


def blocks(language: str) -> list[str]:
    text = GUIDE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Eight pictures of one animal each, labelled as Animal-Pose."""
    folder = tmp_path_factory.mktemp("drawn") / "set"
    words = ["synth", str(folder), "--count", "8", "--size", "128", "--animals", "1"]
    assert cli.main(words) == 0
    return folder


@pytest.fixture
def desk(drawn, tmp_path, monkeypatch) -> Path:
    """The reader's folder: fox.yaml from the guide, foxes/ labelled so, and new_pictures/."""
    (tmp_path / "fox.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    shutil.copytree(drawn / "images", tmp_path / "foxes" / "images")
    shutil.copytree(drawn / "images", tmp_path / "new_pictures")
    content = json.loads((drawn / "animal_pose.json").read_text(encoding="utf-8"))
    known = skeletons.load("animal_pose")
    rows = [known.index(name) for name in ("nose", "left_ear", "right_ear", "tailbase")]
    for one in content["annotations"]:
        triples = [one["keypoints"][3 * row : 3 * row + 3] for row in rows]
        one["keypoints"] = [value for triple in triples for value in triple]
    for one in content["categories"]:
        one["keypoints"] = json.loads(blocks("json")[0])["categories"][0]["keypoints"]
        one.pop("skeleton", None)
    (tmp_path / "foxes" / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guide_to_own_pictures_works_as_it_is_written(desk, capsys):
    commands = [
        line
        for block in blocks("sh")[1:]  # the first shows other forms of labels than those at hand
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("tetrapose ")
    ]
    assert len(commands) == 6
    for line in commands:
        words = shlex.split(line)[1:]
        status = cli.main([*words, *SHORT] if words[0] == "train" else words)
        assert status in ((0, 1) if "audit" in words else (0,)), line
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err

    result = json.loads((desk / "fox.json").read_text(encoding="utf-8"))
    assert {"AP", "AR", "pck", "nme", "per_keypoint", "per_species", "protocol"} <= set(result)
    assert set(result["per_keypoint"]) <= {"nose", "left_ear", "right_ear", "tail_root"}
    found = json.loads((desk / "out" / "predictions.json").read_text(encoding="utf-8"))
    drawn = {path.name for path in (desk / "new_pictures").iterdir()}
    assert {one["file_name"] for one in found} <= drawn  # what the finder takes for animals
    assert len(found) >= 4
    assert all(len(one["keypoints"]) == 12 and one["file_name"] for one in found)
    assert (desk / "fox.html").stat().st_size > 0


def test_scoring_a_model_is_scoring_what_it_predicts(drawn, tmp_path):
    truth = str(drawn / "animal_pose.json")
    seen, direct, by_file = tmp_path / "seen", tmp_path / "direct.json", tmp_path / "file.json"
    data = ["--data", f"menagerie:{drawn}"]
    pictures = str(drawn / "images")
    assert cli.main(["predict", pictures, "--boxes", truth, "--out", str(seen)]) == 0
    assert cli.main(["evaluate", *data, "--json", str(direct)]) == 0
    results = ["--predictions", str(seen / "predictions.json")]
    assert cli.main(["evaluate", *data, *results, "--json", str(by_file)]) == 0
    one, other = (json.loads(path.read_text(encoding="utf-8")) for path in (direct, by_file))
    assert other["oks"] == pytest.approx(one["oks"], abs=2e-3)  # files hold hundredths of a pixel
    assert other["nme"] == pytest.approx(one["nme"], abs=2e-3)
    assert one["oks"] > 0.2  # the model that ships knows drawn animals better than chance does
