"""Copies, near-copies, missing and broken pictures, leaks between splits."""

from __future__ import annotations

import json
import shutil

import clean_labels as clean
import cv2
import numpy as np
import pytest

from tetrapose.audit import checking, hashes, mending, pictures, raw, splits

SETTINGS = checking.Settings()


def scene(seed: int, size: tuple[int, int] = (240, 180)) -> np.ndarray:
    """A smooth random picture, like no other."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def save(path, pixels, quality=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])


@pytest.fixture
def labelled(tmp_path):
    """Labels of 12 animals with a picture each, as a file beside images/."""
    content = clean.labels(3, 12)
    for i, entry in enumerate(content["images"]):
        save(tmp_path / "images" / entry["file_name"], scene(i, (entry["width"], entry["height"])))
    (tmp_path / "labels.json").write_text(json.dumps(content))
    return tmp_path


def audit(folder):
    content = raw.load(folder / "labels.json")
    sheet = raw.sheet_of(content, "labels.json")
    facts = pictures.look([folder / "images" / name for name in sheet.image_names])
    by_name = {path.name: fact for path, fact in facts.items()}
    found, _ = checking.check(sheet, list(facts.values()), SETTINGS)
    return sheet, by_name, {one.code: one for one in found}


def mended(sheet, facts):
    content, _ = mending.mend(sheet, facts, SETTINGS)
    sheet = raw.sheet_of(content, "x")
    return [
        f.code for f in checking.check(sheet, [facts[n] for n in sheet.image_names], SETTINGS)[0]
    ]


def test_clean_pictures_give_nothing(labelled):
    assert audit(labelled)[2] == {}
    assert pictures.find_folder(labelled / "labels.json", ["p100.jpg"]) == labelled / "images"
    assert pictures.find_folder(labelled / "labels.json", ["none.jpg"]) is None


def test_missing_broken_and_resized_pictures(labelled):
    folder = labelled / "images"
    (folder / "p100.jpg").unlink()
    (folder / "p101.jpg").write_bytes((folder / "p101.jpg").read_bytes()[:900])
    (folder / "p102.jpg").write_bytes(b"")
    save(folder / "p103.jpg", scene(3, (99, 77)))
    sheet, facts, found = audit(labelled)
    assert found["picture-missing"].entries == ("p100.jpg",)
    assert found["picture-broken"].entries == ("p101.jpg", "p102.jpg")
    assert found["picture-size"].entries == ("p103.jpg",)
    assert "is 99x77" in found["picture-size"].details[0]
    assert mended(sheet, facts) == []


def test_identical_pictures_are_gathered_on_the_first(labelled):
    folder = labelled / "images"
    shutil.copy(folder / "p100.jpg", folder / "p104.jpg")
    sheet, facts, found = audit(labelled)
    assert found["picture-duplicate"].entries == ("p100.jpg = p104.jpg",)
    content, _ = mending.mend(sheet, facts, SETTINGS)
    assert "p104.jpg" not in [one["file_name"] for one in content["images"]]
    moved = [e["id"] for e in sheet.content["annotations"] if e["image_id"] == 104]
    held = {e["id"]: e["image_id"] for e in content["annotations"]}
    assert all(held.get(one, 100) == 100 for one in moved)
    assert mended(sheet, facts) == []


COPIES = {
    "saved again": lambda p: p,
    "half the size": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "mirrored": lambda p: p[:, ::-1],
    "brighter": lambda p: np.clip(p * 1.1 + 8, 0, 255).astype(np.uint8),
    "cut by 5 %": lambda p: p[5:-5, 6:-6],
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_near_copies_are_found_and_other_pictures_are_not(tmp_path, how, seed):
    originals = [scene(100 * seed + i) for i in range(8)]
    paths = [tmp_path / f"{i}.jpg" for i in range(8)]
    for path, pixels in zip(paths, originals, strict=True):
        save(path, pixels)
    save(tmp_path / "copy.jpg", COPIES[how](originals[5]), quality=55)
    facts = list(pictures.look([*paths, tmp_path / "copy.jpg"]).values())
    assert pictures.near_copies(facts) == [(5, 8)]
    assert pictures.near_across(facts[8:], facts[:8]) == [(0, 5)]


def test_the_hash_of_a_mirror_image_is_known_without_it():
    for seed in range(5):
        plain = scene(seed, (256, 192))
        one, other = hashes.picture_hash(plain), hashes.picture_hash(plain[:, ::-1].copy())
        assert bin(one[0] ^ other[1]).count("1") <= 2
        assert bin(one[1] ^ other[0]).count("1") <= 2


def test_differing_bits_are_counted():
    values = np.array([0, 1, 2**64 - 1, 0b1011], dtype=np.uint64)
    assert hashes.differing(np.uint64(1), values).tolist() == [1, 0, 63, 2]


def test_leaks_by_name_content_and_look(tmp_path):
    shots = [scene(i) for i in range(6)]
    train = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    val = ["a.jpg", "x.jpg", "y.jpg", "z.jpg"]
    for name, shot in zip(train, shots, strict=False):
        save(tmp_path / "train" / name, shot)
    save(tmp_path / "val" / "a.jpg", shots[0])
    shutil.copy(tmp_path / "train" / "b.jpg", tmp_path / "val" / "x.jpg")
    save(tmp_path / "val" / "y.jpg", shots[2][:, ::-1], quality=60)
    save(tmp_path / "val" / "z.jpg", shots[5])
    parts = []
    paths = [tmp_path / "train" / n for n in train] + [tmp_path / "val" / n for n in val]
    facts = pictures.look(paths)
    for name, files in (("train", train), ("val", val)):
        images = [
            {"id": i, "file_name": n, "width": 240, "height": 180} for i, n in enumerate(files)
        ]
        sheet = raw.sheet_of({"images": images, "annotations": [], "categories": []}, name)
        parts.append(splits.Part(name, sheet, [facts[tmp_path / name / n] for n in files]))
    (here,), (there,) = splits.leaks(*parts)
    assert here.entries == ("a.jpg", "b.jpg", "c.jpg")
    assert there.entries == ("a.jpg", "x.jpg", "y.jpg")
    assert here.details == ("same name", "same content", "same look")
    assert there.rows == ()  # the first file is the one that is mended
    content, _ = mending.mend(parts[0].sheet, None, SETTINGS, [here])
    assert [one["file_name"] for one in content["images"]] == ["d.jpg"]


def test_equal_names_of_pictures_of_other_sizes_are_no_leak():
    sheets = [
        raw.sheet_of(
            {
                "images": [{"id": 1, "file_name": "0001.jpg", "width": width, "height": 100}],
                "annotations": [],
                "categories": [],
            },
            "x",
        )
        for width in (100, 200)
    ]
    one, other = (splits.Part(n, s, None) for n, s in zip("ab", sheets, strict=True))
    assert splits.leaks(one, other) == ([], [])
    assert splits.leaks(one, one)[0][0].count == 1
