"""A cache serves what its files would, and is never believed when anything about it is off."""

from __future__ import annotations

import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tetrapose import skeletons
from tetrapose.data import packs
from tetrapose.data.augment import HalfBody, Jitter, Mirror
from tetrapose.data.cache import Cached, cached
from tetrapose.data.crops import CropDataset
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

CATS = skeletons.load("akd_cats")
CHANGES = (HalfBody(), Jitter(), Mirror())


def smooth(seed: int, width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def pictures(tmp_path: Path) -> PoseSet:
    """Five pictures of 300 x 220 with a cat each, a sixth without one, a seventh broken."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(6):
        smooth(i, 300, 220).save(folder / f"{i}.jpg", quality=95)
    (folder / "6.jpg").write_bytes((folder / "0.jpg").read_bytes()[:300])
    index = np.array([0, 1, 2, 3, 4, 6])
    n, k = len(index), len(CATS)
    return PoseSet(
        skeleton=CATS, root=folder, source="test", licence="CC0",
        files=tuple(f"{i}.jpg" for i in range(7)), image_ids=np.arange(7),
        sizes=np.zeros((7, 2), int), groups=np.arange(7), image_index=index,
        keypoints=rng.uniform(40, 180, (n, k, 2)).astype(np.float32),
        visibility=np.full((n, k), 2, np.uint8),
        bboxes=np.tile(np.float32([30, 20, 270, 200]), (n, 1)), areas=np.full(n, 1e4),
        species=np.zeros(n, int), species_names=("cat",), crowd=np.zeros(n, bool),
        annotation_ids=np.arange(n),
    )  # fmt: skip


def crops(pose_set: PoseSet, **more) -> CropDataset:
    return CropDataset(pose_set, **{"size": (64, 64), "changes": CHANGES, **more})


def opened(pose_set: PoseSet, folder: Path, **more) -> tuple[Cached, list[str]]:
    """The cache, and the lines that were told."""
    lines: list[str] = []
    dataset = crops(pose_set, **more)
    return cached(pose_set, dataset.scales(), folder, "train", tell=lines.append), lines


def files(folder: Path) -> tuple[Path, Path]:
    (data,) = folder.glob("train-*.pack")
    return folder / "train.json", data


def test_crops_are_those_of_the_files(pictures, tmp_path):
    cache, _ = opened(pictures, tmp_path / "cache")
    plain, kept = crops(pictures), crops(pictures, pictures=cache)
    for key in [(epoch, row) for epoch in range(6) for row in range(5)]:
        one, other = plain[key], kept[key]
        for name in ("keypoints", "weights", "readable", "index"):
            np.testing.assert_array_equal(one[name], other[name])
        assert np.abs(one["image"].astype(int) - other["image"]).mean() < 3
    assert kept[0, 5]["readable"] is False
    assert not kept[0, 5]["weights"].any()


def test_it_is_built_once_and_told_once(pictures, tmp_path):
    folder = tmp_path / "cache"
    first, lines = opened(pictures, folder)
    assert "none is there; packing 6 pictures" in lines[0]
    stamps = [path.stat().st_mtime_ns for path in files(folder)]
    again, lines = opened(pictures, folder)
    assert lines == []
    assert stamps == [path.stat().st_mtime_ns for path in files(folder)]
    np.testing.assert_array_equal(first.read(2, 1.0)[0], again.read(2, 1.0)[0])


def test_pictures_are_kept_as_sharp_as_the_closest_crop(pictures, tmp_path):
    """What any draw shows is there at the crop's own resolution, or at the picture's."""
    cache, _ = opened(pictures, tmp_path / "cache")
    dataset = crops(pictures)
    reached = np.ones(6)
    for key in [(epoch, row) for epoch in range(80) for row in range(6)]:
        sample_scale = scale_of(dataset, key)
        have = cache.sizes[pictures.image_index[key[1]], 0] / 300
        if key[1] < 5:
            assert have >= min(sample_scale, 1) - 1e-6
            reached[key[1]] = min(reached[key[1]], have / sample_scale)
    assert reached[:5].min() < 1.3, "kept much larger than any crop shows"
    assert max(cache.sizes[:, 0]) < 300


def scale_of(dataset: CropDataset, key: tuple[int, int]) -> float:
    seen: list[float] = []

    class Spy:
        def read(self, image, scale):
            seen.append(scale)
            return np.zeros((220, 300, 3), np.uint8), (300, 220)

    spied = crops(dataset.pose_set, pictures=Spy())
    spied[key]
    return seen[0]


def test_a_change_that_does_not_tell_leaves_pictures_whole(pictures):
    def mystery(region, labels, rng):
        return region

    assert crops(pictures, changes=(mystery,)).scales().tolist() == [1, 1, 1, 1, 1, 0, 1]
    still = crops(pictures, changes=()).scales()
    assert still[0] == pytest.approx(64 / (240 * 1.25))


def flip_a_bit(folder: Path, pictures: PoseSet) -> None:
    data = files(folder)[1]
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)


def cut_short(folder: Path, pictures: PoseSet) -> None:
    data = files(folder)[1]
    data.write_bytes(data.read_bytes()[:-1])


def half_an_index(folder: Path, pictures: PoseSet) -> None:
    index = files(folder)[0]
    index.write_bytes(index.read_bytes()[:200])


def an_index_with_one_number_changed(folder: Path, pictures: PoseSet) -> None:
    index = files(folder)[0]
    index.write_text(index.read_text().replace("300", "301", 1))


def an_older_version(folder: Path, pictures: PoseSet) -> None:
    index = files(folder)[0]
    body = json.loads(index.read_text())["index"].replace(packs.FORMAT, "tetrapose pack 0")
    index.write_text(json.dumps({"index": body, "digest": packs._digest(body.encode())}))


def no_data(folder: Path, pictures: PoseSet) -> None:
    files(folder)[1].unlink()


def a_changed_picture(folder: Path, pictures: PoseSet) -> None:
    smooth(99, 300, 220).save(pictures.path(3), quality=95)


def a_picture_changed_in_secret(folder: Path, pictures: PoseSet) -> None:
    """As long and as old as before: a copy that keeps times."""
    path = pictures.path(3)
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-40] ^= 16
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def a_broken_picture_mended(folder: Path, pictures: PoseSet) -> None:
    smooth(6, 300, 220).save(pictures.path(6), quality=95)


def a_picture_removed(folder: Path, pictures: PoseSet) -> None:
    pictures.path(2).unlink()


FAULTS = {
    flip_a_bit: "data of .* were changed",
    cut_short: "data are .* are due",
    half_an_index: "index cannot be read",
    an_index_with_one_number_changed: "index was changed",
    an_older_version: "another version",
    no_data: "data are missing",
    a_changed_picture: "3.jpg has changed",
    a_picture_changed_in_secret: "3.jpg has changed",
    a_broken_picture_mended: "6.jpg has changed",
    a_picture_removed: "2.jpg has changed",
}


@pytest.mark.parametrize("fault, why", FAULTS.items(), ids=[f.__name__ for f in FAULTS])
def test_what_is_off_is_told_and_built_anew(pictures, tmp_path, fault, why):
    folder = tmp_path / "cache"
    before, _ = opened(pictures, folder)
    fault(folder, pictures)
    cache, lines = opened(pictures, folder)
    assert len(lines) == 2
    assert re.search(why, lines[0]), lines
    fresh, _ = opened(pictures, tmp_path / "other")
    np.testing.assert_array_equal(cache.data, fresh.data)
    assert opened(pictures, folder)[1] == []
    assert len(list(folder.glob("*.pack"))) == 1
    assert before.data.size  # what a running training holds stays readable


def test_a_copy_of_the_set_with_other_times_is_the_same(pictures, tmp_path):
    folder = tmp_path / "cache"
    opened(pictures, folder)
    for i in range(7):
        path = pictures.path(i)
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert opened(pictures, folder)[1] == []


def test_it_serves_a_part_and_smaller_crops_and_no_others(pictures, tmp_path):
    folder = tmp_path / "cache"
    cache, _ = opened(pictures, folder)
    part = pictures.select_images(np.arange(7) > 1)
    there, lines = opened(part, folder, size=(48, 48))
    assert lines == []
    np.testing.assert_array_equal(there.read(0, 1.0)[0], cache.read(2, 1.0)[0])
    _, lines = opened(pictures, folder, size=(96, 96))
    assert "5 pictures are wanted larger" in lines[0] or "6 pictures are wanted larger" in lines[0]
    more = replace(pictures, image_index=np.array([0, 1, 2, 3, 4, 5]))
    _, lines = opened(more, folder, size=(96, 96))
    assert "lacks 1 of the pictures, such as 5.jpg" in lines[0]


def test_a_full_disk_is_told_and_leaves_what_was(pictures, tmp_path):
    folder = tmp_path / "cache"
    opened(pictures, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(UserError, match="MiB of pictures written, then .*make room"):
            opened(pictures, folder, size=(96, 96))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert opened(pictures, folder)[1] == []


def test_a_folder_that_cannot_be_made(pictures, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file.*cannot be written"):
        opened(pictures, tmp_path / "file" / "cache")


def test_killed_while_building(pictures, tmp_path):
    """A writer that is killed holds no lock and leaves nothing that is taken for a cache."""
    folder = tmp_path / "cache"
    script = f"""
import sys, time
from pathlib import Path
from tetrapose.data import packs
def slow():
    for i in range(100):
        yield packs.Picture(str(i), b"x" * 9000, (1, 1), (1, 1), 1.0, (0, 0, 0, 0), "")
        print("on", flush=True)
        time.sleep(0.1)
folder = Path({str(folder)!r})
with packs.locked(folder, "train"):
    packs.write(folder, "train", slow(), encoding=packs.RAW)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert list(folder.glob(".train.*.part"))
    began = time.monotonic()
    _, lines = opened(pictures, folder)
    assert "none is there" in lines[0]
    assert time.monotonic() - began < 5
    assert not list(folder.glob(".train.*.part"))


def test_a_worker_holds_no_object_per_picture(pictures, tmp_path):
    """A spawned worker's copy: the same pictures, without the set."""
    cache, _ = opened(pictures, tmp_path / "cache")
    dataset = crops(pictures, pictures=cache)
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy[3, 2]["image"], dataset[3, 2]["image"])
    assert not hasattr(copy, "pose_set")
    many = replace(
        pictures, files=pictures.files * 3000, image_ids=np.arange(21000),
        sizes=np.zeros((21000, 2), int), groups=np.arange(21000),
    )  # fmt: skip
    sizes = [len(pickle.dumps(crops(one))) for one in (pictures, many)]
    assert sizes[1] - sizes[0] < 21000 * 16  # a name's 5 bytes and its end
    plain = pickle.loads(pickle.dumps(crops(many)))
    np.testing.assert_array_equal(plain[3, 2]["image"], crops(pictures)[3, 2]["image"])


def test_the_matrix_places_labels_in_reduced_pictures(pictures, tmp_path):
    """A dot is where its label says although the kept picture is a third of the size."""
    x, y = 201.0, 83.0
    spot = np.zeros((220, 300, 3), np.uint8)
    cv2.circle(spot, (int(x), int(y)), 12, (255, 255, 255), -1)
    Image.fromarray(spot).save(pictures.path(0), quality=95)
    pictures.keypoints[0] = x, y
    cache, _ = opened(pictures, tmp_path / "cache")
    assert cache.sizes[0, 0] < 299
    dataset = crops(pictures, pictures=cache, changes=(Jitter((0.8, 1.1), 0.02, 30), Mirror()))
    for epoch in range(15):
        sample = dataset[epoch, 0]
        grey = np.where(sample["image"][0] > 90, sample["image"][0], 0).astype(float)
        rows, columns = np.mgrid[:64, :64]
        middle = np.array([(grey * columns).sum(), (grey * rows).sum()]) / grey.sum()
        np.testing.assert_allclose(sample["keypoints"][0], middle, atol=0.15)
