"""A library of pictures whose points are given: what is in it, and that nothing stops it."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from dataclasses import replace

import cv2
import numpy as np
import piles
import pytest

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.triplets import build as building
from tetrapose.triplets import ledger, shards
from tetrapose.triplets.build import build
from tetrapose.triplets.library import Library
from tetrapose.triplets.rows import REASONS, STEPS


def rows_of(root):
    return list(ledger.read_all(Library(root)))


def triplets_of(root):
    return [t for path in Library(root).shards() for t in shards.read(path)]


def decoded(data: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), 1), cv2.COLOR_BGR2RGB)


def test_a_library_holds_what_its_pictures_show(tmp_path):
    spec = piles.labelled(tmp_path / "set", 6)
    built = build([spec], tmp_path / "lib", piles.SMALL)
    assert built.about["counts"] == {
        "items": 6, "kept": 6, "dropped": {}, "sources": {"animal_pose": {"kept": 6}},
    }  # fmt: skip
    triplets = triplets_of(tmp_path / "lib")
    assert [t.provenance["key"] for t in triplets] == [f"images/p{i:03d}.jpg" for i in range(6)]
    first = triplets[0]
    photo, pose, over = (
        decoded(data) for data in (first.original_image, first.conditioning_image, first.overlaid)
    )
    assert photo.shape == pose.shape == over.shape == (64, 64, 3)
    drawn = pose.any(axis=-1)
    assert 0.02 < drawn.mean() < 0.8
    # where nothing is drawn the overlay is the photograph, but for what JPEG makes of it
    quiet = ~cv2.dilate(drawn.astype(np.uint8), np.ones((17, 17))).astype(bool)
    apart = np.abs(over.astype(int) - photo)[quiet]
    assert apart.max() < 32
    assert apart.mean() < 4
    assert np.abs(over.astype(int) - pose)[pose.max(axis=-1) > 200].mean() < 60
    skeleton = skeletons.load("animal_pose")
    animal = first.points["animals"][0]
    assert first.points["skeleton"] == skeleton.name
    assert len(animal["keypoints"]) == len(skeleton)
    assert animal["species"] == "dog"
    assert animal["labelled"] is True
    assert first.caption
    assert first.provenance["style"] == "animal_controlnet-v1"


def test_points_are_where_the_matrix_takes_the_labels(tmp_path):
    spec = piles.labelled(tmp_path / "set", 3)
    labels = json.loads((tmp_path / "set" / "keypoints.json").read_text())["annotations"]
    build([spec], tmp_path / "lib", piles.SMALL)
    for triplet, entry in zip(triplets_of(tmp_path / "lib"), labels, strict=True):
        matrix = np.array(triplet.provenance["matrix"])
        for (x, y, v), (lx, ly, _) in zip(
            triplet.points["animals"][0]["keypoints"], entry["keypoints"], strict=True
        ):
            at = matrix @ [lx, ly, 1]
            if v:
                assert np.allclose([x, y], at, atol=2e-3)
            else:  # outside the crop, and only there
                assert (at < -0.5).any() or (at >= 63.5).any()


def test_every_item_is_in_the_ledger_with_a_known_reason(tmp_path):
    folder = tmp_path / "set"
    spec = piles.labelled(folder, 8)
    content = json.loads((folder / "keypoints.json").read_text())
    for place in content["annotations"][1]["keypoints"][5:]:
        place[2] = 0  # 5 of 20 points: below 30 %
    (folder / "keypoints.json").write_text(json.dumps(content))
    images = folder / "images"
    (images / "p002.jpg").write_bytes((images / "p000.jpg").read_bytes())
    (images / "p003.jpg").write_bytes((images / "p003.jpg").read_bytes()[:900])
    piles.save(images / "p004.jpg", piles.picture(4, (24, 20)))
    piles.save(images / "p005.jpg", piles.picture(0), quality=60)  # p000 saved once more
    piles.save(images / "p006.jpg", piles.picture(7)[:, ::-1], quality=85)
    build([spec], tmp_path / "lib", piles.SMALL)
    rows = rows_of(tmp_path / "lib")
    assert [
        (row.key.removeprefix("images/"), row.step, row.reason.split(":")[0]) for row in rows
    ] == [
        ("p000.jpg", "write", ""),
        ("p001.jpg", "keep", "too_few_points"),
        ("p002.jpg", "duplicates", "duplicate"),
        ("p003.jpg", "decode", "unreadable"),
        ("p004.jpg", "decode", "too_small"),
        ("p005.jpg", "duplicates", "near_duplicate"),
        ("p006.jpg", "write", ""),
        ("p007.jpg", "duplicates", "near_duplicate"),  # the one before, mirrored
    ]
    assert [row.reason.split(":")[1] for row in rows if row.step == "duplicates"] == [
        "0/0", "0/0", "1/2",
    ]  # fmt: skip
    for row in rows:
        assert (row.outcome == "kept") == bool(row.triplet)
        assert row.step in STEPS
        assert row.reason.split(":")[0] in REASONS
        assert {d.step for d in row.decisions} <= set(STEPS)
        assert row.decisions[-1].outcome == row.outcome
    assert len(triplets_of(tmp_path / "lib")) == 2


def test_the_same_settings_give_the_same_bytes_on_one_worker_or_two(tmp_path):
    spec = piles.labelled(tmp_path / "set", 10)
    (tmp_path / "set" / "images" / "p009.jpg").write_bytes(
        (tmp_path / "set" / "images" / "p000.jpg").read_bytes()
    )
    build([spec], tmp_path / "one", piles.SMALL)
    build([spec], tmp_path / "two", piles.SMALL, workers=2)
    assert piles.digests(tmp_path / "one") == piles.digests(tmp_path / "two")
    assert len(piles.digests(tmp_path / "one")) == 6  # three parts, a shard and a table each


def test_a_part_without_a_triplet_has_a_table_and_no_shard(tmp_path):
    spec = piles.labelled(tmp_path / "set", 6, points=3)
    build([spec], tmp_path / "lib", piles.SMALL)
    assert len(rows_of(tmp_path / "lib")) == 6
    assert Library(tmp_path / "lib").shards() == []


def test_a_finished_library_is_left_alone(tmp_path):
    spec = piles.labelled(tmp_path / "set", 5)
    build([spec], tmp_path / "lib", piles.SMALL)
    before = piles.digests(tmp_path / "lib")
    again = build([spec], tmp_path / "lib", piles.SMALL)
    assert again.done == 0
    assert piles.digests(tmp_path / "lib") == before
    assert not (tmp_path / "lib" / "work").exists()


def _attempt(spec, out):
    cv2.setNumThreads(1)
    build([spec], out, piles.SMALL)


@pytest.fixture(scope="module")
def forks():
    """Processes that start at once: forked off one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["piles", "tetrapose.triplets.build", "pyarrow.parquet"])
    return context


def test_killed_ten_times_it_ends_with_the_same_bytes_and_nothing_done_twice(tmp_path, forks):
    spec = piles.labelled(tmp_path / "set", 28)

    def run(out):
        child = forks.Process(target=_attempt, args=(spec, out))
        child.start()
        return child

    warm = run(tmp_path / "warm")
    warm.join()
    began = time.perf_counter()
    whole = run(tmp_path / "whole")
    whole.join()
    assert whole.exitcode == 0
    length = time.perf_counter() - began
    draw = random.Random(7)
    out = tmp_path / "killed"
    library = Library(out)
    kills, done = 0, {}
    for _ in range(200):
        if kills == 10:
            break
        child = run(out)
        time.sleep(draw.uniform(0, 0.25) * length)
        child.kill()
        child.join()
        if child.exitcode == 0:
            break
        kills += 1
        now = {
            path: (path.stat().st_ino, path.stat().st_mtime_ns)
            for part in library.parts_written()
            for path in (library.ledger(part), library.shard(part))
        }
        assert done.items() <= now.items()  # what was finished was not touched again
        done = now
    assert kills >= 4
    last = run(out)
    last.join()
    assert last.exitcode == 0
    assert piles.digests(out) == piles.digests(tmp_path / "whole")
    for path, (inode, changed) in done.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (inode, changed)
    assert not list(out.rglob("*.part"))


def test_a_shard_that_lost_its_end_is_made_again(tmp_path, monkeypatch):
    spec = piles.labelled(tmp_path / "set", 12)
    build([spec], tmp_path / "whole", piles.SMALL)
    make = building.making.make_part

    def stop(library, part, *rest):
        if part == 2:
            raise KeyboardInterrupt
        return make(library, part, *rest)

    monkeypatch.setattr(building.making, "make_part", stop)
    with pytest.raises(KeyboardInterrupt):
        build([spec], tmp_path / "lib", piles.SMALL)
    monkeypatch.undo()
    library = Library(tmp_path / "lib")
    assert library.parts_written() == [0, 1]
    shard = library.shard(0)
    shard.write_bytes(shard.read_bytes()[:-512])
    library.ledger(1).write_bytes(b"PAR1")
    build([spec], tmp_path / "lib", piles.SMALL)
    assert piles.digests(tmp_path / "lib") == piles.digests(tmp_path / "whole")


def test_what_is_added_while_a_library_is_made_does_not_shift_it(tmp_path, monkeypatch):
    spec = piles.labelled(tmp_path / "set", 8)
    build([spec], tmp_path / "whole", piles.SMALL)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building.making, "make_part", stop)
        with pytest.raises(KeyboardInterrupt):
            build([spec], tmp_path / "lib", piles.SMALL)
    piles.labelled(tmp_path / "set", 11)
    build([spec], tmp_path / "lib", piles.SMALL)
    assert piles.digests(tmp_path / "lib") == piles.digests(tmp_path / "whole")


def test_buckets_keep_about_the_aspect(tmp_path):
    spec = piles.labelled(tmp_path / "set", 2)
    settings = replace(piles.SMALL, size=128, buckets=True)
    build([spec], tmp_path / "lib", settings)
    for triplet in triplets_of(tmp_path / "lib"):
        assert decoded(triplet.original_image).shape[1::-1] == tuple(triplet.points["size"])
        assert triplet.points["size"] == [128, 128]  # 4:3 is nearer to 1 than to 2
    build([spec], tmp_path / "wide", replace(settings, size=320))
    assert {tuple(t.points["size"]) for t in triplets_of(tmp_path / "wide")} == {(384, 256)}


def test_labels_are_carried_to_another_skeleton_by_name(tmp_path):
    spec = piles.labelled(tmp_path / "set", 2)
    build([spec], tmp_path / "lib", replace(piles.SMALL, skeleton="ap10k"))
    first = triplets_of(tmp_path / "lib")[0]
    assert first.points["skeleton"] == "ap10k"
    assert len(first.points["animals"][0]["keypoints"]) == 17
    assert set(Library(tmp_path / "lib").read_about()["skeletons"]) == {"animal_pose", "ap10k"}


def test_without_networks_pictures_without_labels_are_dropped(tmp_path):
    folder = piles.photos(tmp_path / "photos", 3)
    build([str(folder)], tmp_path / "lib", piles.SMALL)
    assert {row.reason for row in rows_of(tmp_path / "lib")} == {"not_labelled"}


def test_two_runs_do_not_write_one_library(tmp_path):
    from tetrapose.triplets.library import locked

    spec = piles.labelled(tmp_path / "set", 2)
    with locked(Library(tmp_path / "lib")), pytest.raises(UserError, match="another run"):
        build([spec], tmp_path / "lib", piles.SMALL)
