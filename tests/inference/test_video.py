"""Films that are written: they play, keep their times, and are whole or kept where they stopped."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapose.inference.films import Count, read, survey
from tetrapose.inference.video import VideoWriter


def frames(path):
    return list(read(survey(path), Count()))


@pytest.mark.parametrize("size", [(64, 48), (33, 17)])
def test_what_is_written_is_read_again(tmp_path, size):
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for n in range(12):  # frame n is of one grey
            writer.add(np.full((size[1], size[0], 3), 20 * n, np.uint8), n * 0.1)
    again = frames(tmp_path / "a.mp4")
    assert [frame.index for frame in again] == list(range(12))
    np.testing.assert_allclose([frame.time for frame in again], 0.1 * np.arange(12), atol=1e-4)
    for n, frame in enumerate(again):
        assert frame.pixels.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
        assert frame.pixels.mean() == pytest.approx(20 * n, abs=4)


def test_uneven_times_are_kept_and_standing_ones_pushed_on(tmp_path):
    times = [0.0, 0.5, 0.5, 0.4, 2.0]
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for n, time in enumerate(times):
            writer.add(np.full((32, 32, 3), 40 * n, np.uint8), time)
    again = [frame.time for frame in frames(tmp_path / "a.mp4")]
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
    assert len(frames(path)) == 5
    with VideoWriter(tmp_path / "none.mp4"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_frames_of_another_size_are_fitted_to_the_first(tmp_path):
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.add(np.full((32, 48, 3), 90, np.uint8), 0.0)
        writer.add(np.full((64, 64, 3), 90, np.uint8), 0.1)
    shapes = {frame.pixels.shape for frame in frames(tmp_path / "a.mp4")}
    assert shapes == {(32, 48, 3)}
