"""Videos: frames in order with their times, damage counted, and films that play."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapose.errors import UserError
from tetrapose.inference.video import Tally, VideoWriter, read_frames


def film(path, count=12, size=(64, 48), step=0.1):
    """A film whose frame n is of one grey, 20 n (modulo 250)."""
    with VideoWriter(path) as writer:
        for n in range(count):
            writer.add(np.full((size[1], size[0], 3), 20 * n % 250, np.uint8), n * step)
    return path


@pytest.mark.parametrize("size", [(64, 48), (33, 17)])
def test_what_is_written_is_read_again(tmp_path, size):
    tally = Tally()
    frames = list(read_frames(film(tmp_path / "a.mp4", size=size), tally))
    assert (tally.announced, tally.decoded, tally.damaged) == (12, 12, 0)
    assert [frame.index for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time for frame in frames], 0.1 * np.arange(12), atol=1e-4)
    for n, frame in enumerate(frames):
        assert frame.pixels.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
        assert frame.pixels.mean() == pytest.approx(20 * n, abs=4)


def test_uneven_times_are_kept_and_standing_ones_pushed_on(tmp_path):
    times = [0.0, 0.5, 0.5, 0.4, 2.0]
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for n, time in enumerate(times):
            writer.add(np.full((32, 32, 3), 40 * n, np.uint8), time)
    again = [frame.time for frame in read_frames(tmp_path / "a.mp4", Tally())]
    np.testing.assert_allclose(again, [0, 0.5, 0.5, 0.5, 2], atol=1e-3)
    assert (np.diff(again) > 0).all()


def test_a_film_takes_its_name_when_it_is_whole_and_is_kept_when_interrupted(tmp_path):
    path = tmp_path / "new" / "a.mp4"

    def interrupted():
        with VideoWriter(path) as writer:
            for n in range(5):
                writer.add(np.full((32, 32, 3), 40 * n, np.uint8), n / 10)
            assert not path.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(list(read_frames(path, Tally()))) == 5
    with VideoWriter(tmp_path / "none.mp4"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_frames_of_another_size_are_fitted_to_the_first(tmp_path):
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.add(np.full((32, 48, 3), 90, np.uint8), 0.0)
        writer.add(np.full((64, 64, 3), 90, np.uint8), 0.1)
    shapes = {frame.pixels.shape for frame in read_frames(tmp_path / "a.mp4", Tally())}
    assert shapes == {(32, 48, 3)}


def test_damage_is_counted_and_the_rest_is_read(tmp_path):
    path = film(tmp_path / "a.mp4", count=60)
    data = bytearray(path.read_bytes())
    media = data.index(b"mdat")
    for at in range(media + 900, min(media + 1600, len(data) - 200), 37):
        data[at] ^= 0xFF
    path.write_bytes(data)
    tally = Tally()
    count = len(list(read_frames(path, tally)))
    assert tally.damaged > 0
    assert 0 < count == tally.decoded < 60


@pytest.mark.parametrize(
    "content, words",
    [(None, "no such file"), (b"", "empty"), (b"certainly no video" * 99, "not a video")],
)
def test_what_is_no_video_is_told(tmp_path, content, words):
    if content is not None:
        (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(UserError, match=words):
        list(read_frames(tmp_path / "v.mp4", Tally()))


def test_a_file_that_promises_more_frames_than_it_holds(shared_data):
    tally = Tally()
    path = shared_data / "videos/dlcworkshop_short-parenting.mp4"
    times = [frame.time for frame in read_frames(path, tally)]
    assert (tally.announced, tally.decoded, tally.damaged) == (55, 40, 0)
    assert (np.diff(times) > 0).all()


def test_an_avi_without_times_of_showing_keeps_its_pace(shared_data):
    times = [f.time for f in read_frames(shared_data / "videos/dlc_tests_vid.avi", Tally())]
    np.testing.assert_allclose(np.diff(times), 1 / 30, atol=1e-6)
    assert len(times) == 256
