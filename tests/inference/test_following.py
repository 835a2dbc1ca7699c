"""From film to table: the same whatever stops it, and as other programs read it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from films_made import SKELETON, boxes, film, model, place, served

from tetrapose.errors import UserError
from tetrapose.inference.boxes import read_boxes
from tetrapose.inference.filmed import Settings, Span, track_film
from tetrapose.inference.finder import Seen
from tetrapose.inference.following import Follower, Seconds, Way
from tetrapose.inference.predictor import load
from tetrapose.inference.tracked import Smoothing, each, told

parquet = pytest.importorskip("pyarrow.parquet")
SIZE = (96, 72)


class Spots:
    """A finder that knows where the animals of the films are, and counts its looks."""

    protocol = {"finder": "spots"}

    def __init__(self, spots, miss=()):
        self.spots, self.miss, self.looks = spots, set(miss), []

    def find(self, image):
        n = self.number
        self.looks.append(n)
        rows = [place(n, SIZE, s) for s in range(self.spots) if (n, s) not in self.miss]
        corners = np.array([[x - 0.5, y - 0.5, x + w - 0.5, y + h - 0.5] for x, y, w, h in rows])
        return Seen(corners.reshape(-1, 4), np.full(len(rows), 0.9), ("",) * len(rows), SIZE)


def test_a_film_becomes_a_table(made, tmp_path):
    path, settings = made
    outcome = track_film(str(path), tmp_path / "out" / "a", settings)
    table = parquet.read_table(outcome.table).to_pandas()
    assert sorted(table.track.unique()) == [1, 2]
    assert table.groupby("track").frame.apply(list).tolist() == [list(range(60))] * 2
    np.testing.assert_allclose(table.time, table.frame * 0.04, atol=1e-4)
    first = table[table.track == 1].iloc[7]
    x, y, w, h = place(7, SIZE, 0)
    assert [first.x1, first.y1, first.x2, first.y2] == [x - 0.5, y - 0.5, x + w - 0.5, y + h - 0.5]
    name = SKELETON.names[0]
    assert {f"{name}_{end}" for end in ("x", "y", "score", "flag")} <= set(table.columns)
    notes = json.loads((tmp_path / "out" / "a.json").read_text())
    assert (notes["decoded"], notes["missing"], notes["complete"]) == (60, [], True)
    assert set(notes["seconds"]) == {"decode", "detect", "crop", "network", "track", "write"}
    assert notes["bound_by"] in notes["seconds"]
    assert notes["tracks"]["1"]["frames"] == 60
    assert sum(notes["seconds"].values()) > 0
    assert (tmp_path / "out" / "a.label.csv").read_text().startswith("rank,frame,time,doubt,why\n")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.parquet", "a.json", "a.label.csv"}


def test_smoothing_adds_columns_and_leaves_the_raw_ones(made, tmp_path):
    path, settings = made
    tables = {}
    for kind in ("none", "one-euro", "savgol"):
        chosen = replace(settings, smoothing=Smoothing(kind))
        outcome = track_film(str(path), tmp_path / kind / "a", chosen)
        tables[kind] = parquet.read_table(outcome.table).to_pandas()
    raw = tables.pop("none")
    for table in tables.values():
        assert table[raw.columns].equals(raw)
        added = [c for c in table.columns if c not in raw.columns]
        assert added == [f"{n}_{a}_smooth" for n in SKELETON.names for a in "xy"]
        assert np.isfinite(table[added]).all(axis=None)


def test_smooth_points_do_not_know_where_parts_end(made, tmp_path):
    path, settings = made
    whole = replace(settings, smoothing=Smoothing("savgol"), frames_in_part=256)
    cut = replace(settings, smoothing=Smoothing("savgol"), frames_in_part=16)
    one = parquet.read_table(track_film(str(path), tmp_path / "one", whole).table).to_pandas()
    two = parquet.read_table(track_film(str(path), tmp_path / "two", cut).table).to_pandas()
    # another grouping into batches moves points by float32's last digits
    np.testing.assert_allclose(one.to_numpy(float), two.to_numpy(float), atol=1e-2)


def test_stopped_anywhere_and_gone_on_it_is_the_same_table(made, tmp_path):
    path, settings = made
    whole = track_film(str(path), tmp_path / "whole", settings)
    for stop in (3, 20, 47):
        base = tmp_path / f"stop{stop}"

        def interrupt(frames, _spent, stop=stop):
            if frames == stop:
                raise KeyboardInterrupt

        try:
            outcome = track_film(str(path), base, settings, progress=interrupt)
            assert outcome.stopped
            partial = parquet.read_table(outcome.table).to_pandas()  # valid as far as it goes
            assert partial.frame.max() == stop // 16 * 16 - 1
            assert not told(outcome.table)["complete"]
        except KeyboardInterrupt:
            assert stop < 16  # before the first part there is nothing to keep
        again = track_film(str(path), base, settings)
        assert again.resumed == stop // 16 * 16
        assert parquet.read_table(again.table).equals(parquet.read_table(whole.table))
        assert not base.with_name(f"{base.name}.parts").exists()


RUN = """
import sys
from pathlib import Path
from films_made import *
from tetrapose.inference.boxes import read_boxes
from tetrapose.inference.filmed import Settings, track_film
from tetrapose.inference.following import Way
from tetrapose.inference.predictor import load
film, boxes, weights, base = map(Path, sys.argv[1:])
given = read_boxes(boxes)
way = Way(load(weights, flip=False), None, given=lambda n: given.find(film, frame=n).bboxes)
track_film(str(film), base, Settings(way, frames_in_part=8))
"""


def test_killed_and_gone_on_it_is_the_same_table(tmp_path):
    weights = model(tmp_path / "tiny.safetensors")
    path = film(tmp_path / "a.mp4", 150, size=SIZE, spots=2)
    table = boxes(tmp_path / "b.csv", "a.mp4", 150, size=SIZE, spots=2)
    words = [sys.executable, "-c", RUN, str(path), str(table), str(weights)]
    given = {"cwd": Path(__file__).parent, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = subprocess.Popen([*words, str(tmp_path / "killed")], **given)
    parts = tmp_path / "killed.parts"
    for _ in range(60_000):
        if len(list(parts.glob("*.parquet"))) >= 2:
            break
        assert running.poll() is None, running.communicate()
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not (tmp_path / "killed.parquet").exists()
    frames = set(parquet.read_table(sorted(parts.glob("*.parquet"))).column("frame").to_pylist())
    assert 16 <= len(frames) < 150
    assert frames == set(range(len(frames)))  # what is there is valid
    known = read_boxes(table)
    way = Way(load(weights, flip=False), None, given=lambda n: known.find(path, frame=n).bboxes)
    settings = Settings(way, frames_in_part=8)
    assert track_film(str(path), tmp_path / "killed", settings).resumed == len(frames)
    track_film(str(path), tmp_path / "whole", settings)
    killed, whole = (parquet.read_table(tmp_path / f"{n}.parquet") for n in ("killed", "whole"))
    assert killed.equals(whole)


def test_what_was_done_is_not_done_again_unless_something_changed(made, tmp_path):
    path, settings = made
    track_film(str(path), tmp_path / "a", settings)
    assert track_film(str(path), tmp_path / "a", settings).before
    assert not track_film(str(path), tmp_path / "a", settings, fresh=True).before
    half = replace(settings, span=Span(every=2))
    outcome = track_film(str(path), tmp_path / "a", half)
    assert not outcome.before
    assert outcome.frames == range(0, 59, 2)


def test_parts_of_other_settings_are_not_gone_on_with(made, tmp_path):
    path, settings = made

    def interrupt(frames, _spent):
        if frames == 30:
            raise KeyboardInterrupt

    track_film(str(path), tmp_path / "a", settings, progress=interrupt)
    with pytest.raises(UserError, match="begun with another frames; give --fresh"):
        track_film(str(path), tmp_path / "a", replace(settings, span=Span(every=2)))


def test_a_full_disk_leaves_what_was_done(made, tmp_path, monkeypatch):
    path, settings = made
    write_table, count = parquet.write_table, []

    def full(*args, **kwargs):
        count.append(1)
        if len(count) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_table(*args, **kwargs)

    monkeypatch.setattr(parquet, "write_table", full)
    with pytest.raises(UserError, match="No space left on device.*is valid in .*same command"):
        track_film(str(path), tmp_path / "a", settings)
    monkeypatch.undo()
    assert parquet.read_table(tmp_path / "a.parts").num_rows == 2 * 2 * 16
    assert track_film(str(path), tmp_path / "a", settings).resumed == 32


def test_a_film_that_grows_is_done_as_far_as_it_went_and_told(tmp_path, predictor):
    path = film(tmp_path / "a.mkv", 60, size=SIZE, spots=1)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    way = Way(predictor, Spots(0), find=1)

    class Growing(Spots):
        def find(self, image):
            path.write_bytes(whole)
            return Seen(np.zeros((0, 4)), np.zeros(0), (), SIZE)

    outcome = track_film(str(path), tmp_path / "out", Settings(replace(way, finder=Growing(0))))
    told_of = [p.what for p in outcome.problems if p.left_out]
    assert any("changed while it was read" in what for what in told_of)
    assert 0 < len(outcome.frames) < 60


def test_a_film_without_an_animal_gives_an_empty_table_and_a_note(tmp_path, predictor):
    path = film(tmp_path / "a.mp4", 20, size=SIZE, spots=0)

    class Nobody(Spots):
        def find(self, image):
            return Seen(np.zeros((0, 4)), np.zeros(0), (), SIZE)

    for find in (1, 5, 0):
        way = Way(predictor, Nobody(0), find=find)
        outcome = track_film(str(path), tmp_path / f"out{find}", Settings(way))
        assert parquet.read_table(outcome.table).num_rows == 0
        assert [(p.what, p.left_out) for p in outcome.problems] == [("no animal found", False)]
        assert list(each(outcome.table))[0].serial.size == 0


def test_a_live_source_is_followed_until_it_ends(tmp_path, predictor):
    with served(film(tmp_path / "a.ts", 30, size=SIZE)) as address:
        way = Way(predictor, None)  # the whole picture is the animal's
        outcome = track_film(address, tmp_path / "live", Settings(way))
    assert outcome.film.live
    table = parquet.read_table(outcome.table).to_pandas()
    assert len(table) + outcome.dropped == 30
    assert set(table.track) == {1}


def numbered(finder, frames):
    """The frames, their number told to the finder as they pass."""
    for frame in frames:
        finder.number = frame.index
        yield frame


class Seer:
    """A predictor whose points are spread over what is not background."""

    skeleton, batch_size = SKELETON, 16

    def __init__(self, predictor):
        self.cutter, self.sure = predictor.cutter, 0.9

    def look(self, crops):
        spots = np.random.default_rng(0).random((len(SKELETON), 2))
        spots[:2] = [[0, 0], [1, 1]]
        found = []
        for crop in crops:
            ys, xs = np.nonzero(crop.max(axis=-1) > 80)
            low = np.array([xs.min(initial=63), ys.min(initial=63)])
            high = np.array([xs.max(initial=0), ys.max(initial=0)])
            found.append(low + spots * (high - low))
        return np.array(found), np.full((len(crops), len(SKELETON)), self.sure)


def looked(tmp_path, predictor, finder, find, count=40):
    from tetrapose.inference.films import Count, read, survey

    path = film(tmp_path / "f.mp4", count, size=SIZE, spots=finder.spots)
    way = Way(predictor, finder, find=find)
    follower = Follower(way, Seconds())
    rows = list(follower.rows(numbered(finder, read(survey(path), Count()))))
    ids = follower.tracker.ids()
    return rows, [[ids.get(int(s), 0) for s in one.serial] for one in rows]


def test_between_looks_animals_are_followed(tmp_path, predictor):
    finder = Spots(2)
    rows, ids = looked(tmp_path, Seer(predictor), finder, find=5)
    assert finder.looks == list(range(0, 40, 5))
    assert all(sorted(one) == [1, 2] for one in ids)
    found = np.array([one.found.all() for one in rows])
    assert np.flatnonzero(found).tolist() == finder.looks
    for n, one in enumerate(rows):  # boxes go along with the animals
        x, y, w, h = place(n, SIZE, 0)
        np.testing.assert_allclose(one.bboxes[0], [x, y, x + w, y + h], atol=4)


def test_an_animal_that_the_finder_misses_is_followed_on_for_a_while(tmp_path, predictor):
    missed = [(n, 1) for n in (10, 15)]
    rows, ids = looked(tmp_path, Seer(predictor), Spots(2, miss=missed), find=5)
    assert all(sorted(one) == [1, 2] for one in ids)
    assert rows[10].found.tolist() == [True, False]
    missed = [(n, 1) for n in range(10, 40)]
    _, ids = looked(tmp_path, Seer(predictor), Spots(2, miss=missed), find=5)
    assert [len(one) for one in ids][10:24] == [2] * 10 + [1] * 4


def test_on_loss_the_finder_looks_again(tmp_path, predictor):
    finder, seer = Spots(1), Seer(predictor)
    looked(tmp_path, seer, finder, find=0, count=60)
    assert finder.looks == [0, 50]
    finder.looks.clear()
    seer.sure = 0.1  # lost in every frame
    looked(tmp_path, seer, finder, find=0, count=10)
    assert finder.looks == [0, 2, 4, 6, 8]


def test_a_follower_gone_on_from_its_state_is_the_same(tmp_path, predictor):
    from tetrapose.inference.films import Count, read, survey

    path = film(tmp_path / "f.mp4", 30, size=SIZE, spots=2)
    finder = Spots(2)
    way = Way(Seer(predictor), finder, find=4)
    frames = list(read(survey(path), Count()))
    whole = Follower(way, Seconds())
    rows = list(whole.rows(numbered(finder, frames)))
    first, second = Follower(way, Seconds()), Follower(way, Seconds())
    list(first.rows(numbered(finder, frames[:14])))
    second.restore(json.loads(json.dumps(first.state())))
    for mine, theirs in zip(rows[14:], second.rows(numbered(finder, frames[14:])), strict=True):
        assert (mine.bboxes == theirs.bboxes).all()
        assert (mine.keypoints == theirs.keypoints).all()
        assert (mine.serial == theirs.serial).all()


def test_what_bounds_a_run_is_told():
    seconds = Seconds(whole=10.0)
    seconds.spent.update(decode=9.0, network=5.0, detect=2.0)
    assert seconds.bound() == "network"  # decoding goes on beside it
    seconds.waited = 4.0
    assert seconds.bound() == "decode"
