"""The forms that a followed film is written in, opened by those who read them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from films_made import SKELETON

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.inference import chunks, tracked
from tetrapose.inference.filmed import track_film
from tetrapose.inference.outlets import FORMS, Told, write
from tetrapose.inference.tracked import Smoothing, each
from tetrapose.inference.tracked_film import write_overlay

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def out(made, tmp_path):
    path, settings = made
    outcome = track_film(str(path), tmp_path / "t" / "a", settings)
    return Told(
        outcome.table, path, SKELETON, tuple(sorted(outcome.summary.tracks)), outcome.frames,
        outcome.film.rate, outcome.size,
    )  # fmt: skip


def rows_of(out):
    """Points (F, A, K, 2) as the table has them."""
    points = np.full((60, 2, len(SKELETON), 2), np.nan)
    for rows in each(out.table):
        points[rows.frame, rows.serial - 1] = rows.keypoints
    return points


def test_coco_is_opened_by_pycocotools(out, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    opened = coco.COCO(str(write(out, "coco", tmp_path / "o" / "a.coco.json")))
    assert len(opened.imgs) == 60
    first = opened.loadAnns(opened.getAnnIds(imgIds=[8]))
    assert [one["track_id"] for one in first] == [1, 2]
    triples = np.reshape(first[1]["keypoints"], (-1, 3))
    np.testing.assert_allclose(triples[:, :2], rows_of(out)[7, 1], atol=0.01)
    assert opened.cats[1]["keypoints"] == list(SKELETON.names)


@pytest.fixture
def movement():
    """movement's loader; what it and its own libraries warn of when imported is theirs."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("movement.io.load_poses")


@pytest.mark.parametrize(
    "form, source",
    [("dlc-csv", "from_dlc_file"), ("dlc-h5", "from_dlc_file"), ("sleap", "from_sleap_file")],
)
def test_movement_opens_it_with_the_same_points(out, tmp_path, movement, form, source):
    path = write(out, form, tmp_path / "o" / f"a{FORMS[form][0]}")
    dataset = getattr(movement, source)(path, fps=25)
    np.testing.assert_allclose(arranged(dataset), rows_of(out), atol=1e-3)
    assert [str(n) for n in dataset.individuals.values] == ["animal1", "animal2"]
    np.testing.assert_allclose(dataset.time.values, np.arange(60) / 25, atol=1e-6)


def test_movement_opens_nwb_an_animal_at_a_time(out, tmp_path, movement):
    path = write(out, "nwb", tmp_path / "a.nwb")
    for number, name in enumerate(("animal1", "animal2")):
        dataset = movement.from_nwb_file(path, pose_estimation_key=name)
        got = arranged(dataset)[:, 0]
        np.testing.assert_allclose(got, rows_of(out)[:, number], atol=1e-3)
    alone = replace(out, tracks=(1,), table=only_first(out, tmp_path / "one.parquet"))
    dataset = movement.from_nwb_file(write(alone, "nwb", tmp_path / "b.nwb"))
    np.testing.assert_allclose(arranged(dataset)[:, 0], rows_of(out)[:, 0], atol=1e-3)


def arranged(dataset):
    """Positions (F, A, K, 2) in the skeleton's order."""
    order = [str(name) for name in dataset.keypoints.values]
    columns = [order.index(name) for name in SKELETON.names]
    position = dataset.position.transpose("time", "individuals", "keypoints", "space")
    return position.values[:, :, columns]


def only_first(out, path):
    table = parquet.read_table(out.table)
    parquet.write_table(table.filter(np.asarray(table.column("track")) == 1), path)
    return path


def test_the_pages_plot_of_a_gait_runs_as_it_stands(tmp_path, movement, monkeypatch):
    page = (Path(__file__).resolve().parents[2] / "docs" / "videos.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line]) <= 15
    skeleton = skeletons.load("quadruped")
    k, count = len(skeleton), 50
    phase = np.arange(count)[:, None] / 5 + np.arange(k)
    points = np.stack([100 + phase, 200 + 9 * np.sin(phase)], axis=-1)
    one = chunks.Rows(
        np.arange(count), np.arange(count) / 25, np.ones(count, int), np.ones(count, bool),
        np.ones(count), np.tile([90.0, 180, 160, 220], (count, 1)), points,
        np.full((count, k), 0.9),
    )  # fmt: skip
    parts = chunks.Parts(tmp_path / "walk.parts", skeleton.names, {})
    parts.write(one, {})
    told = {"keypoints": list(skeleton.names), "rate": 25.0}
    tracked.finish(
        parts, tmp_path / "walk.parquet", skeleton, ids={1: 1}, every=1,
        smoothing=Smoothing(), told=told,
    )  # fmt: skip
    out = Told(
        tmp_path / "walk.parquet", Path("walk.mp4"), skeleton, (1,), range(count), 25.0, (320, 240)
    )
    (tmp_path / "seen").mkdir()
    write(out, "dlc-csv", tmp_path / "seen" / "walk.dlc.csv")
    (tmp_path / "seen" / "walk.json").write_text(json.dumps(told))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "videos.md", "exec"), names)  # noqa: S102
    assert (tmp_path / "gait.png").stat().st_size > 5000
    place = skeleton.names.index("left_back_paw")
    lines = {line.get_label(): line for line in names["plt"].gca().lines}
    np.testing.assert_allclose(lines["left_back_paw"].get_ydata(), -points[:, place, 1], atol=1e-3)
    names["plt"].close("all")


def test_sleap_io_opens_its_own(out, tmp_path):
    sio = pytest.importorskip("sleap_io")
    labels = sio.load_slp(str(write(out, "sleap", tmp_path / "a.slp")), open_videos=False)
    assert [track.name for track in labels.tracks] == ["animal1", "animal2"]
    assert labels.skeletons[0].node_names == list(SKELETON.names)
    assert len(labels.labeled_frames) == 60
    assert labels.videos[0].filename.endswith("a.mp4")


def test_pynwb_opens_its_own(out, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    with pynwb.NWBHDF5IO(write(out, "nwb", tmp_path / "a.nwb"), "r") as file:
        behavior = file.read().processing["behavior"]
        one = behavior["animal2"]
        series = one.pose_estimation_series[SKELETON.names[3]]
        np.testing.assert_allclose(series.data[:], rows_of(out)[:, 1, 3], atol=1e-5)
        np.testing.assert_allclose(series.timestamps[:], np.arange(60) / 25, atol=1e-4)


def test_pandas_opens_deeplabcuts_h5(out, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    frame = pd.read_hdf(write(out, "dlc-h5", tmp_path / "a.h5"))
    assert frame.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert frame.index.tolist() == list(range(60))


def test_the_overlay_has_every_frame_with_its_time(out, tmp_path):
    from tetrapose.inference.films import Count, read, survey

    path = tmp_path / "o.mp4"
    assert write_overlay(out, path, threshold=0.0, style="vivid", start=0.0) == 60
    drawn, plain = (list(read(survey(p), Count())) for p in (path, out.film))
    np.testing.assert_allclose([f.time for f in drawn], [f.time for f in plain], atol=1e-3)
    assert np.abs(drawn[9].pixels.astype(int) - plain[9].pixels).mean() > 2


def test_a_form_that_cannot_be_written_is_told(out, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write(out, "coco", blocked / "a.coco.json")
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    with pytest.raises(UserError, match=r"sleap_io.*tetrapose\[sleap\]"):
        write(out, "sleap", tmp_path / "a.slp")
    assert not list(tmp_path.glob(".part*"))
