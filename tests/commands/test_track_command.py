"""tetrapose track from the outside: words in, files, lines and exit status out."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from time import sleep

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inference"))

from films_made import boxes, film, model
from live_made import camera
from walks_made import walk

from tetrapose import cli
from tetrapose.commands.track import seconds
from tetrapose.errors import UserError
from tetrapose.geometry import box_area, box_iou
from tetrapose.inference.films import Count, read, survey
from tetrapose.inference.video import VideoWriter

parquet = pytest.importorskip("pyarrow.parquet")
SIZE = (96, 72)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def track(weights, tmp_path, capsys):
    """Runs the command in this process: status and what was printed."""

    def call(*words, boxes_of="whole"):
        words = [str(word) for word in words]
        more = ["--boxes", str(boxes_of), "--backend", "torch", "--model", str(weights)]
        status = cli.main(["track", *words, "--out", str(tmp_path / "out"), *more])
        return status, capsys.readouterr()

    return call


def test_a_film_in_all_forms(track, tmp_path):
    for name in ("pandas", "tables", "sleap_io", "pynwb", "ndx_pose"):
        pytest.importorskip(name)
    path = film(tmp_path / "a.mp4", 20, size=SIZE, spots=2)
    table = boxes(tmp_path / "b.csv", "a.mp4", 20, size=SIZE, spots=2)
    also = ["--also", "overlay", "coco", "dlc-csv", "dlc-h5", "sleap", "nwb"]
    status, said = track(path, *also, "--smooth", "savgol", boxes_of=table)
    assert status == 0, said.err
    assert "20 frames, 2 animals followed" in said.out
    assert "bound by" in said.out
    assert all(word in said.out for word in ("decode", "detect", "crop", "network", "track"))
    made = {p.name for p in (tmp_path / "out").iterdir()}
    assert made == {
        "a.parquet", "a.json", "a.label.csv", "a.overlay.mp4", "a.coco.json", "a.dlc.csv",
        "a.dlc.h5", "a.slp", "a.nwb",
    }  # fmt: skip
    status, said = track(path, "--smooth", "savgol", boxes_of=table)
    assert (status, "done before" in said.out) == (0, True)
    table.write_text(table.read_text().replace(".5,", ".25,"))  # other boxes: another table
    status, said = track(path, "--smooth", "savgol", boxes_of=table)
    assert (status, "done before" in said.out) == (0, False)


def test_drawn_animals_on_a_walk_by_the_model_that_ships(tmp_path, capsys):
    truth = walk(tmp_path / "walk.mp4", ("dog", "horse"), 20)
    words = ["track", str(tmp_path / "walk.mp4"), "--out", str(tmp_path), "--also", "overlay"]
    assert cli.main(words) == 0
    assert "20 frames, 2 animals followed" in capsys.readouterr().out
    table = parquet.read_table(tmp_path / "walk.parquet").to_pandas()
    names = [name.removesuffix("_flag") for name in table.columns if name.endswith("_flag")]
    off, whose = [], set()
    for frame, told in enumerate(truth):
        rows = table[table.frame == frame]
        overlap = box_iou(told.bboxes, rows[["x1", "y1", "x2", "y2"]].to_numpy(float))
        assert overlap.shape == (2, 2)
        assert overlap.max(axis=1).min() > 0.7
        mine = overlap.argmax(axis=1)
        whose.add(tuple(rows.track.to_numpy()[mine]))
        found = np.stack([rows[[f"{n}_x", f"{n}_y"]].to_numpy(float)[mine] for n in names], axis=1)
        far = np.linalg.norm(found - told.keypoints, axis=-1)
        side = np.sqrt(box_area(told.bboxes))[:, None]
        off.append(np.where(told.visibility == 2, far / side, np.nan))
    assert len(whose) == 1  # each keeps its number from the first frame to the last
    seen = np.array(off)[np.isfinite(off)]
    assert (seen < 0.1).mean() > 0.8
    assert len(list(read(survey(tmp_path / "walk.overlay.mp4"), Count()))) == 20


def test_two_films_of_one_name_and_one_that_is_none(track, tmp_path):
    (tmp_path / "b").mkdir()
    film(tmp_path / "a.mp4", 4, size=SIZE)
    film(tmp_path / "a.mkv", 5, size=SIZE)
    film(tmp_path / "b" / "a.mp4", 6, size=SIZE)
    (tmp_path / "b" / "c.mp4").write_bytes(b"certainly no film" * 50)
    status, said = track(tmp_path / "a.mp4", tmp_path / "a.mkv", tmp_path / "b")
    assert status == 1
    assert "c.mp4: not a video that can be read" in said.err
    counts = {
        p.relative_to(tmp_path / "out").as_posix(): parquet.read_table(p).num_rows
        for p in (tmp_path / "out").rglob("*.parquet")
    }
    assert counts == {"a.mp4.parquet": 4, "a.mkv.parquet": 5, "b/a.parquet": 6}


def test_a_film_that_promises_more_than_it_holds(track, shared_data, tmp_path):
    status, said = track(shared_data / "videos/dlcworkshop_short-parenting.mp4")
    assert status == 1
    assert "15 of 55 frames are missing: at -0.992 s" in said.err
    notes = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert (notes["announced"], notes["decoded"], len(notes["missing"])) == (55, 40, 15)
    table = parquet.read_table(next((tmp_path / "out").glob("*.parquet")))
    assert sorted(set(table.column("frame").to_pylist())) == list(range(40))
    # told again where it was done before, with the same status
    status, said = track(shared_data / "videos/dlcworkshop_short-parenting.mp4")
    assert (status, "15 of 55" in said.err) == (1, True)


def test_every_start_and_end(track, tmp_path):
    path = film(tmp_path / "a.mp4", 50, size=SIZE)
    status, _ = track(path, "--every", 4, "--start", "0:0.4", "--end", "1.2")
    assert status == 0
    table = parquet.read_table(tmp_path / "out" / "a.parquet").to_pandas()
    assert table.frame.tolist() == [12, 16, 20, 24, 28]
    np.testing.assert_allclose(table.time, table.frame * 0.04, atol=1e-4)


def test_a_start_behind_the_end(track, tmp_path):
    status, said = track(film(tmp_path / "a.mp4", 50, size=SIZE), "--start", "1:00")
    assert status == 2
    assert "a.mp4: its last frame is at 1.96 s; --start lies behind it" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text, value", [("90", 90), ("1:30", 90), ("1:00:01.5", 3601.5)])
def test_times(text, value):
    assert seconds(text, "--start") == value


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "-3", "nan", "inf"])
def test_what_is_no_time(text):
    with pytest.raises(UserError, match="a time is seconds"):
        seconds(text, "--start")


@pytest.mark.parametrize(
    "words, told",
    [
        (["--find", "0"], "--find 0"),
        (["--find", "often"], "--find often"),
        (["--every", "0"], "--every must be"),
        (["--start", "9", "--end", "3"], "--end 3 is not after --start 9"),
        (["--smooth", "much"], "--smooth much"),
        (["--smooth", "savgol", "--window", "4"], "window is odd"),
        (["--threshold", "2"], "--threshold"),
        (["--patience", "0"], "--patience"),
        (["--style", "loud"], "loud"),
    ],
)
def test_wrong_use_is_told_before_anything_is_done(track, tmp_path, words, told):
    status, said = track(film(tmp_path / "a.mp4", 2, size=SIZE), *words)
    assert status == 2
    assert told in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_film_and_boxes_of_another(track, tmp_path):
    status, said = track(tmp_path / "nowhere.mp4")
    assert (status, "nothing to follow" in said.err) == (2, True)
    path = film(tmp_path / "a.mp4", 2, size=SIZE)
    table = boxes(tmp_path / "b.csv", "other.mp4", 2, size=SIZE, spots=1)
    status, said = track(path, boxes_of=table)
    assert status == 2
    assert "does not name it; that file names films such as other.mp4" in said.err


def test_a_camera_that_is_not_there(track, tmp_path):
    status, said = track("camera:77")
    assert (status, "camera:77: cannot be opened" in said.err) == (2, True)
    path = film(tmp_path / "a.mp4", 2, size=SIZE)
    status, said = track("camera:77", path)
    assert (status, "a live source is followed by itself" in said.err) == (2, True)
    status, said = track(path, "--also", "film")
    assert (status, "--also film keeps what is live" in said.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_an_interrupt_that_goes_nowhere_ends_a_camera_at_the_next_frame(track, monkeypatch):
    """As where it strikes in a finalizer, whose exceptions Python only tells of."""
    real = VideoWriter.add

    def add(writer, pixels, time):
        real(writer, pixels, time)
        with suppress(KeyboardInterrupt):
            if writer._last > 0:
                os.kill(os.getpid(), signal.SIGINT)
                sleep(0.01)

    monkeypatch.setattr(VideoWriter, "add", add)
    with camera(size=SIZE, pace=0.01, count=400) as address:
        status, said = track(address, "--also", "film")
    assert status == 0, said.err
    assert "stopped by hand" in said.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_camera_is_ended_by_hand_and_all_is_whole(track, tmp_path, number):
    sent = []

    def each(n):
        sent.append(n)
        if n == 80:
            os.kill(os.getpid(), number)

    with camera(size=SIZE, pace=0.01, each=each, count=4000) as address:
        status, said = track(address, "--also", "overlay", "film", "coco")
    assert status == 0, said.err
    assert "stopped by hand" in said.out
    out = tmp_path / "out"
    name = next(out.glob("*.parquet")).stem
    table = parquet.read_table(out / f"{name}.parquet")
    frames = table.column("frame").to_pylist()
    assert frames == sorted(set(frames))
    assert 8 < len(frames) <= frames[-1] + 1 <= len(sent)
    for kept in ("film", "overlay"):
        drawn = list(read(survey(out / f"{name}.{kept}.mp4"), Count()))
        assert len(frames) <= len(drawn) <= len(frames) + 16
    assert {path.name for path in out.iterdir()} == {
        f"{name}.{end}" for end in
        ("parquet", "json", "label.csv", "coco.json", "film.mp4", "overlay.mp4")
    }  # fmt: skip
    assert json.loads((out / f"{name}.json").read_text())["complete"] is False
