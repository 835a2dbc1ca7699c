"""What is live: endless, opened once, lost where nobody is quick enough, not waited for long."""

from __future__ import annotations

import os
import socket
import threading
import time

import numpy as np
import pytest
from films_made import SKELETON, film, model
from live_made import camera

from tetrapose.errors import UserError
from tetrapose.inference import films
from tetrapose.inference.filmed import Settings, Span, track_film
from tetrapose.inference.films import Count, problems, read, survey
from tetrapose.inference.finder import Seen
from tetrapose.inference.following import Way
from tetrapose.inference.predictor import load
from tetrapose.inference.tracked_film import write_overlay

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(model(tmp_path_factory.mktemp("model") / "tiny.safetensors"), backend="torch")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(films, "WAIT", 0.7)


class Slow:
    """A finder that takes its time, and sees the whole picture."""

    protocol = {"name": "slow"}

    def find(self, image):
        time.sleep(0.02)
        height, width = image.shape[:2]
        whole = np.array([[-0.5, -0.5, width - 0.5, height - 0.5]])
        return Seen(whole, np.ones(1), ("animal",), (width, height))


@pytest.mark.parametrize("rtsp", [False, True])
def test_a_camera_is_opened_once_and_read_for_as_long_as_one_likes(rtsp):
    with camera(rtsp=rtsp) as address:
        source, count = survey(address), Count()
        assert (source.live, source.waits, source.announced) == (True, False, 0)
        assert source.rate == pytest.approx(25)
        found = []
        for frame in read(source, count):
            found.append(frame)
            if len(found) == 40:
                break
    assert [f.index for f in found] == list(range(40))
    np.testing.assert_allclose([f.time for f in found], 0.04 * np.arange(40), atol=1e-3)
    assert problems(source, count) == []


def test_a_camera_that_falls_silent_is_given_up(impatient):
    with camera(count=30, stalls=True) as address:
        source, count = survey(address), Count()
        found = list(read(source, count))
    assert 20 < len(found) <= 30
    (told,) = problems(source, count)
    assert told.left_out
    assert "nothing came for 0.7 s; what came before is done" in str(told)


def test_a_camera_that_ends_is_no_fault():
    with camera(count=30) as address:
        source, count = survey(address), Count()
        assert len(list(read(source, count))) == 30
    assert problems(source, count) == []


def test_one_that_says_nothing_and_one_that_is_not_there(impatient):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match="cannot be opened .nothing came for 0.7 s.; is it on"):
            survey(address)
    with pytest.raises(UserError, match="cannot be opened .Connection refused.; is it on"):
        survey(address)
    with pytest.raises(UserError, match="rtsp.*Connection refused"):
        survey(address.replace("tcp", "rtsp"))


def test_a_pipe_waits_for_its_reader(tmp_path, predictor):
    whole, pipe = film(tmp_path / "a.ts", 60).read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(whole,), daemon=True)
    writer.start()
    outcome = track_film(str(pipe), tmp_path / "out", Settings(Way(predictor, Slow())))
    writer.join(5)
    assert outcome.film.live
    assert (len(outcome.frames), outcome.dropped, outcome.problems) == (60, 0, [])


def test_frames_that_come_too_fast_are_dropped_counted_and_told(tmp_path, predictor):
    kept = tmp_path / "out.film.mp4"
    with camera(count=150) as address:
        settings = Settings(Way(predictor, Slow()), Span(end=100.0), record=kept)
        outcome = track_film(address, tmp_path / "out", settings)
    frames = parquet.read_table(outcome.table).column("frame").to_pylist()
    assert outcome.dropped > 20
    assert len(frames) + outcome.dropped == outcome.count.decoded == 150
    assert frames == sorted(set(frames)) == outcome.recorded.tolist()
    (told,) = outcome.problems
    assert not told.left_out
    assert f"{outcome.dropped} of 150 frames came faster" in told.what
    again = list(read(survey(kept), Count()))
    wanted = 0.04 * (np.array(frames) - frames[0])
    np.testing.assert_allclose([f.time for f in again], wanted, atol=1e-3)


def test_what_is_drawn_on_a_recording_is_what_was_seen_there(tmp_path, predictor):
    from tetrapose.inference.outlets import Told

    kept = tmp_path / "out.film.mp4"
    with camera(count=60, size=(96, 72)) as address:
        settings = Settings(Way(predictor, Slow()), record=kept)
        outcome = track_film(address, tmp_path / "out", settings)
    told = Told(outcome.table, kept, SKELETON, (1,), outcome.frames, 25.0, outcome.size)
    drawn = tmp_path / "drawn.mp4"
    count = write_overlay(
        told, drawn, threshold=0, style="vivid", start=0, numbers=outcome.recorded
    )  # fmt: skip
    assert count == len(outcome.recorded) < 60
    plain = [f.pixels.astype(int) for f in read(survey(kept), Count())]
    marked = [f.pixels.astype(int) for f in read(survey(drawn), Count())]
    changed = [np.abs(a - b).max() > 100 for a, b in zip(plain, marked, strict=True)]
    seen = set(parquet.read_table(outcome.table).column("frame").to_pylist())
    assert changed == [number in seen for number in outcome.recorded]


def test_what_was_seen_is_not_written_over_unasked(tmp_path, predictor):
    settings = Settings(Way(predictor, None))
    with camera(count=10) as address:
        first = track_film(address, tmp_path / "out", settings)
    with camera(count=20) as address:
        with pytest.raises(UserError, match="of an earlier time.*--fresh"):
            track_film(address, tmp_path / "out", settings)
        second = track_film(address, tmp_path / "out", settings, fresh=True)
    assert (first.frames[-1], second.frames[-1]) == (9, 19)
