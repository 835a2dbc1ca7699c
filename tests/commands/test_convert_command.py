"""``tetrapose datasets convert``: every form, what is lost, and wrong arguments."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from miniatures import paint

from tetrapose import cli
from tetrapose.data import open_set

OUT = {
    "coco": "a.json", "csv": "a.csv", "parquet": "a.parquet", "yolo": "yolo",
    "deeplabcut": "dlc", "sleap": "a.slp",
}  # fmt: skip
NEEDS = {"parquet": "pyarrow", "sleap": "sleap_io"}


def run(*argv) -> int:
    return cli.main(["datasets", "convert", *map(str, argv)])


@pytest.mark.parametrize("way", OUT)
def test_every_form_is_written_and_opens_as_told(way, tiny_coco, tmp_path, capsys):
    if way in NEEDS:
        pytest.importorskip(NEEDS[way], reason="its extra is not installed")
    assert run(f"coco:{tiny_coco}", "--to", way, "--out", tmp_path / OUT[way]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("4 animals written; open them as ")
    assert len(err.splitlines()) == (way != "coco")  # which holds all that this set has
    assert (f"tetrapose: {way} does not hold " in err) == (way != "coco")
    assert ("species" in err) == (way in ("deeplabcut", "sleap"))
    back = open_set(out.removeprefix("4 animals written; open them as ").strip())
    due = open_set(f"coco:{tiny_coco}")
    np.testing.assert_allclose(back.keypoints, due.keypoints, atol=1e-4)


def test_nwb_holds_ndx_poses_training_labels(tiny_coco, tmp_path, capsys):
    """Read with pynwb alone, as another program would."""
    pytest.importorskip("sleap_io", reason="extra nwb is not installed")
    assert run(f"coco:{tiny_coco}", "--to", "nwb", "--out", tmp_path / "a.nwb") == 0
    assert "nwb does not hold the species" in capsys.readouterr().err
    due = open_set(f"coco:{tiny_coco}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cached namespaces
        import ndx_pose  # noqa: F401  # its types, for pynwb
        from pynwb import NWBHDF5IO

        with NWBHDF5IO(tmp_path / "a.nwb", "r", load_namespaces=True) as stream:
            behaviour = stream.read().processing["behavior"]
            frames = behaviour["PoseTraining"].training_frames.training_frames
            (skeleton,) = behaviour["Skeletons"].skeletons.values()
            assert list(skeleton.nodes[:]) == list(due.skeleton.names)
            groups = [frame.skeleton_instances.skeleton_instances for frame in frames.values()]
            found = [one.node_locations[:].tolist() for group in groups for one in group.values()]
    np.testing.assert_allclose(sorted(found, key=str), sorted(due.keypoints.tolist(), key=str))


def test_onto_another_skeleton_with_the_grades_told(tiny_akd_cats, tmp_path, capsys):
    spec = f"akd_cats:{tiny_akd_cats}"
    assert run(spec, "--to", "coco", "--out", tmp_path / "a.json", "--skeleton", "ap10k") == 0
    out = capsys.readouterr().out
    assert "akd_cats onto ap10k:" in out
    grades = {line.split()[0]: int(line.split()[1]) for line in out.splitlines()[1:5]}
    assert grades["exact"] + grades["near"] + grades["absent"] == 17
    assert grades["near"] > 0
    kept = open_set(f"coco:{tmp_path / 'a.json'}", pictures=False)
    assert kept.skeleton.name == "ap10k"
    assert run(
        spec, "--to", "coco", "--out", tmp_path / "b.json", "--skeleton", "ap10k", "--near", "drop"
    ) == 0  # fmt: skip
    assert "; left out" in capsys.readouterr().out
    dropped = open_set(f"coco:{tmp_path / 'b.json'}", pictures=False)
    lost = kept.labelled.sum() - dropped.labelled.sum()
    assert lost == grades["near"] * len(kept)


@pytest.mark.parametrize("way", OUT)
def test_a_skeleton_that_does_not_ship_goes_along(way, tmp_path, capsys):
    """Body parts that nobody else has: the form opens again with the same points and sigmas."""
    if way in NEEDS:
        pytest.importorskip(NEEDS[way], reason="its extra is not installed")
    paint(tmp_path / "a.png", (64, 48), 0)
    table = "file,keypoint,x,y\na.png,antennaL,10,12\na.png,antennaR,20,22\na.png,shell,30,40\n"
    (tmp_path / "snail.csv").write_text(table)
    spec = f"table:{tmp_path / 'snail.csv'},sides=letters"
    assert run(spec, "--to", way, "--out", tmp_path / "out" / OUT[way]) == 0
    out, err = capsys.readouterr()
    assert "sigmas" not in err
    back = open_set(out.removeprefix("1 animals written; open them as ").strip())
    assert back.skeleton.to_dict() == open_set(spec).skeleton.to_dict()
    np.testing.assert_allclose(back.keypoints, [[[10, 12], [20, 22], [30, 40]]], atol=1e-4)


def test_labels_alone(tiny_coco, tmp_path, capsys):
    (tiny_coco.parent / "images").rename(tmp_path / "gone")
    spec = f"coco:{tiny_coco}"
    assert run(spec, "--labels-only", "--to", "deeplabcut", "--out", tmp_path / "dlc") == 0
    assert not list((tmp_path / "dlc").rglob("*.jpg"))
    assert len(open_set(f"deeplabcut:{tmp_path / 'dlc'}", pictures=False)) == 4


WRONG = {
    "no form": (["--out", "a.json"], "the following arguments are required: --to"),
    "an unknown form": (["--to", "voc", "--out", "a"], "invalid choice: 'voc'"),
    "a wrong end": (["--to", "csv", "--out", "a.txt"], "its name ends in .csv"),
    "near alone": (["--to", "csv", "--out", "a.csv", "--near", "drop"], "--near goes with"),
    "an unknown skeleton": (
        ["--to", "csv", "--out", "a.csv", "--skeleton", "ap1k"], "no skeleton 'ap1k'"
    ),
    "pictures of a file": (
        ["--to", "csv", "--out", "a.csv", "--pictures", "copy"], "goes with yolo and deeplabcut"
    ),
    "pictures that are not read": (
        ["--to", "yolo", "--out", "y", "--labels-only", "--pictures", "copy"],
        "--labels-only leaves no pictures to copy",
    ),
    "onto itself": (["--to", "coco", "--out", "SELF"], "is the set itself; write elsewhere"),
    "a full folder": (["--to", "yolo", "--out", "."], "the folder is not empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_end_in_one_plain_line(name, tiny_coco, tmp_path, monkeypatch, capsys):
    argv, told = WRONG[name]
    argv = [str(tiny_coco) if word == "SELF" else word for word in argv]
    before = tiny_coco.read_bytes()
    monkeypatch.chdir(tmp_path)
    try:
        status = run(f"coco:{tiny_coco}", *argv)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert told in capsys.readouterr().err
    assert tiny_coco.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coco"]


def test_as_a_program_of_its_own(tiny_coco, tmp_path):
    for name, status in (("a.csv", 0), ("a.txt", 2)):
        done = subprocess.run(
            [sys.executable, "-m", "tetrapose", "datasets", "convert", f"coco:{tiny_coco}",
             "--to", "csv", "--out", name],
            capture_output=True, text=True, cwd=tmp_path, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == status
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "a.csv").read_text().startswith("file,instance,species,keypoint,x,y,")
