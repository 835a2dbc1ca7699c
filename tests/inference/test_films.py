"""Films looked through: every frame has its number and time, and what is missing has a name."""

from __future__ import annotations

import shutil
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from films_made import broken, film, served

from tetrapose.errors import UserError
from tetrapose.inference.films import ABSENT, BROKEN, CUT, Count, read, survey
from tetrapose.inference.hasten import Ahead
from tetrapose.inference.video import VideoWriter


def frames(path, **span):
    count = Count()
    return list(read(survey(path), count, **span)), count


def test_numbers_times_and_pixels(tmp_path):
    found, count = frames(film(tmp_path / "a.mp4", 30, every=0.1))
    assert [f.index for f in found] == list(range(30))
    np.testing.assert_allclose([f.time for f in found], 0.1 * np.arange(30), atol=1e-4)
    assert (count.decoded, count.missing) == (30, [])


def test_a_span_and_every_other_frame(tmp_path):
    path = film(tmp_path / "a.mp4", 40, every=0.1)
    found, count = frames(path, every=3, start=0.5, end=2.0)
    assert [f.index for f in found] == [6, 9, 12, 15, 18]
    assert count.missing == []
    assert [f.index for f in frames(path, after=35)[0]] == [36, 37, 38, 39]


def test_far_into_a_film_it_seeks_and_the_frames_are_the_same(tmp_path):
    path = film(tmp_path / "a.mp4", 60, every=0.5)  # 30 s
    late, count = frames(path, start=20.0)
    whole, _ = frames(path)
    assert [f.index for f in late] == list(range(40, 60))
    assert all((a.pixels == b.pixels).all() for a, b in zip(late, whole[40:], strict=True))
    assert count.missing == []


def test_uneven_times_are_kept_and_told(tmp_path):
    times = [0.0, 0.1, 0.2, 0.9, 1.0]
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for n, at in enumerate(times):
            writer.add(np.full((32, 32, 3), 40 * n, np.uint8), at)
    assert survey(tmp_path / "a.mp4").uneven
    assert not survey(film(tmp_path / "b.mp4", 5)).uneven
    np.testing.assert_allclose([f.time for f in frames(tmp_path / "a.mp4")[0]], times, atol=1e-3)


def test_a_broken_frame_is_missing_by_its_number_and_the_others_keep_theirs(tmp_path):
    path = broken(film(tmp_path / "a.mkv", 24, codec="mjpeg"), 10)
    found, count = frames(path)
    assert [f.index for f in found] == [n for n in range(24) if n != 10]
    assert [(m.frame, m.why) for m in count.missing] == [(10, BROKEN)]
    assert count.missing[0].time == pytest.approx(0.4)


def test_a_film_turned_by_its_flag_is_upright(tmp_path):
    plain = film(tmp_path / "a.mp4", 3, size=(64, 48))
    with av.open(str(plain)) as source, av.open(str(tmp_path / "b.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = bytearray((tmp_path / "b.mp4").read_bytes())
    unit = (1 << 16).to_bytes(4, "big") + bytes(12) + (1 << 16).to_bytes(4, "big")
    at = data.index(unit, data.index(b"tkhd"))
    turn = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], dtype=">i4").tobytes()
    data[at : at + 36] = turn
    (tmp_path / "b.mp4").write_bytes(data)
    assert frames(tmp_path / "b.mp4")[0][0].pixels.shape == (64, 48, 3)


def test_a_film_that_breaks_off_says_how_much_is_absent(tmp_path):
    path = film(tmp_path / "a.avi", 30, codec="mjpeg")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    found, count = frames(path)
    assert 5 < len(found) < 30
    absent = [m.frame for m in count.missing if m.why == ABSENT]
    assert absent == list(range(len(found), 30))


def test_what_an_edit_list_hides_is_named(shared_data):
    found, count = frames(shared_data / "videos/dlcworkshop_short-parenting.mp4")
    assert len(found) == 40
    assert [m.why for m in count.missing] == [CUT] * 15
    assert all(m.frame is None and m.time < 0 for m in count.missing)


def test_an_avi_without_times_of_showing_keeps_its_pace(shared_data):
    found, count = frames(shared_data / "videos/dlc_tests_vid.avi")
    np.testing.assert_allclose(np.diff([f.time for f in found]), 1 / 30, atol=1e-6)
    assert (len(found), count.missing) == (256, [])


@pytest.mark.parametrize(
    "content, words",
    [(None, "no such file"), (b"", "empty"), (b"certainly no video" * 99, "not a video")],
)
def test_what_is_no_film_is_told(tmp_path, content, words):
    if content is not None:
        (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(UserError, match=words):
        survey(tmp_path / "v.mp4")


def test_a_missing_codec_is_named_with_what_to_do(tmp_path):
    path = film(tmp_path / "a.mp4", 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzq1"))
    with pytest.raises(UserError, match=r"codec \(.*\) has no decoder here; convert it"):
        survey(path)


def test_a_camera_that_is_not_there():
    with pytest.raises(UserError, match="camera:77: cannot be opened"):
        survey("camera:77")


def test_a_stream_over_the_network_is_read_to_its_end(tmp_path):
    with served(film(tmp_path / "a.ts", 20)) as address:
        stream, count = survey(address), Count()
        assert stream.live
        found = list(read(stream, count))
    assert [f.index for f in found] == list(range(20))
    np.testing.assert_allclose([f.time for f in found], 0.04 * np.arange(20), atol=1e-3)
    assert count.missing == []


def test_ahead_hands_on_in_order_and_its_errors_too():
    assert list(Ahead(iter(range(50)), depth=3)) == list(range(50))

    def broken():
        yield 1
        raise UserError("broken off")

    ahead = Ahead(broken(), depth=3)
    with pytest.raises(UserError, match="broken off"):
        list(ahead)


def test_ahead_stops_its_thread_and_stays_within_its_depth():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield len(taken)

    ahead = Ahead(endless(), depth=4)
    assert next(iter(ahead)) == 1
    time.sleep(0.2)
    assert len(taken) <= 7
    ahead.close()
    count = len(taken)
    time.sleep(0.15)
    assert len(taken) == count


def test_what_is_live_drops_the_oldest_and_counts_it():
    def camera():
        for n in range(30):
            time.sleep(0.002)
            yield n

    ahead = Ahead(camera(), depth=2, lossy=True)
    time.sleep(0.8)
    got = list(ahead)
    assert ahead.dropped == 30 - len(got) > 0
    assert got[-1] == 29
    assert got == sorted(got)


def test_a_time_base_is_kept_whole(tmp_path):
    assert isinstance(survey(film(tmp_path / "a.mp4", 3)).base, Fraction)
    shutil.rmtree(tmp_path)
