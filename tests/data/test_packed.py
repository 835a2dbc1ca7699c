"""A packed set is the set it was made of, smaller, and refused when a byte of it is off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tetrapose import cli, geometry, images
from tetrapose.data import open_set, packed, packs
from tetrapose.data.crops import CropDataset
from tetrapose.data.splits import files, recipes
from tetrapose.errors import UserError


@pytest.fixture
def original(tiny_coco: Path):
    """Four pictures, the first of them enlarged to 640 x 480 with its labels."""
    big = tiny_coco.parent / "images" / "a.jpg"
    Image.open(big).resize((640, 480), Image.Resampling.BICUBIC).save(big, quality=95)
    pose_set = open_set(f"coco:{tiny_coco}")
    rows = pose_set.image_index == 0
    pose_set.keypoints[rows] = pose_set.keypoints[rows] * 10 + 4.5
    pose_set.bboxes[rows] *= 10
    pose_set.areas[rows] *= 100
    pose_set.sizes[0] = 640, 480
    return pose_set


def test_what_goes_in_comes_out(original, tmp_path):
    size, problems = packed.write(original, tmp_path / "p", "coco", side=128)
    assert problems == ()
    assert size == sum(f.stat().st_size for f in (tmp_path / "p").iterdir())
    back = open_set(f"packed:{tmp_path / 'p'}")
    assert len(back.files) == 3  # d.jpg shows no animal
    for name in ("visibility", "image_index", "species", "crowd", "annotation_ids"):
        np.testing.assert_array_equal(getattr(back, name), getattr(original, name))
    assert back.skeleton.to_dict() == original.skeleton.to_dict()
    assert (back.source, back.licence) == (original.source, original.licence)
    scale = 128 / (380 * 1.25)  # of the smallest animal of a.jpg
    np.testing.assert_allclose(back.sizes[0], np.ceil(np.array([640, 480]) * scale), atol=1)
    np.testing.assert_array_equal(back.sizes[1:], original.sizes[1:3])
    for i in range(3):
        assert images.read_size(back.path(i)) == tuple(back.sizes[i].tolist())
    rows = np.flatnonzero(original.image_index == 0)
    matrix = geometry.resize_matrix((640, 480), tuple(back.sizes[0].tolist()))
    moved = geometry.transform_points(matrix, original.keypoints[rows])
    np.testing.assert_allclose(back.keypoints[rows], moved, atol=0.01)
    np.testing.assert_allclose(back.areas[rows] / original.areas[rows], scale**2, rtol=0.02)
    np.testing.assert_array_equal(back.keypoints[2:], original.keypoints[2:])


def test_its_crops_are_the_originals(original, tmp_path):
    packed.write(original, tmp_path, "coco", side=128, quality=95)
    back = open_set(f"packed:{tmp_path}")
    for row in range(len(original)):
        one, other = (CropDataset(s, size=(96, 96))[0, row] for s in (original, back))
        np.testing.assert_allclose(one["keypoints"], other["keypoints"], atol=0.3)
        assert np.abs(one["image"].astype(int) - other["image"]).mean() < 4


def test_a_split_names_pictures_as_the_original_did(original, tmp_path):
    packed.write(original, tmp_path / "p", "coco")
    (tmp_path / "val.txt").write_text("b.jpg\nc.jpeg\n")
    part = open_set(f"packed:{tmp_path / 'p'}", split=tmp_path / "val.txt")
    assert len(part) == 2
    assert images.read_size(part.path(0)) == (48, 64)


def test_a_split_made_of_a_pack_fits_it_and_the_original(original, tmp_path):
    folder = tmp_path / "p"
    packed.write(original, folder, "coco")
    made = recipes.make(open_set(f"packed:{folder}"), "ratio", options={"shares": "1:1"})
    assert made.parts == recipes.make(original, "ratio", options={"shares": "1:1"}).parts
    file = tmp_path / "parts.json"
    files.write(made, file)
    halves = [open_set(f"packed:{folder}", split=f"{file}:{p}") for p in ("train", "val")]
    assert sum(map(len, halves)) == len(open_set(f"packed:{folder}"))
    (folder / "coco.json").unlink()
    with pytest.raises(UserError, match="none is there; pack or copy it again"):
        packs.original_names(halves[0])


def test_what_cannot_be_decoded_is_told_and_left_out(original, tmp_path):
    original.path(1).write_bytes(b"nothing")
    _, problems = packed.write(original, tmp_path / "p", "coco")
    assert [problem.where for problem in problems] == ["b.jpg"]
    back = open_set(f"packed:{tmp_path / 'p'}")
    assert back.annotation_ids.tolist() == [100, 101, 103]
    assert images.read_size(back.path(1)) == (50, 37)


@pytest.mark.parametrize("part", ["json", "pack"])
def test_a_byte_that_is_off_is_refused(original, tmp_path, part):
    packed.write(original, tmp_path, "coco")
    (path,) = tmp_path.glob(f"*.{part}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"coco\.json: .*; pack or copy it again"):
        open_set(f"packed:{tmp_path}")


def test_wrong_places(original, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        open_set(f"packed:{tmp_path / 'none'}")
    with pytest.raises(UserError, match="lacks NAME.json"):
        open_set(f"packed:{tmp_path / 'coco' / 'images'}")
    for name in ("one", "two"):
        packed.write(original, tmp_path / "p", name)
    with pytest.raises(UserError, match="holds 2 sets; choose packed:.*one.json or packed:.*two"):
        open_set(f"packed:{tmp_path / 'p'}")
    assert len(open_set(f"packed:{tmp_path / 'p' / 'two.json'}")) == 4


def test_the_command(tiny_coco, tmp_path, capsys):
    out = tmp_path / "p"
    assert cli.main(["datasets", "pack", f"coco:{tiny_coco}", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "coco: 4 animals, 0.0 MiB; open it as packed:" in told
    assert cli.main(["datasets", "stats", f"packed:{out}"]) == 0
    two = ["datasets", "pack", f"coco:{tiny_coco}", f"packed:{out}", "--out", str(tmp_path / "q")]
    assert cli.main(two) == 0
    assert "together" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "q").glob("*.json")} == {"coco.json", "coco_2.json"}


@pytest.mark.parametrize(
    "options, words",
    [(["--side", "4"], "--side 4"), (["--jpeg", "0"], "--jpeg 0"), (["--out", "F"], "cannot be")],
)
def test_wrong_use_is_one_line(tiny_coco, tmp_path, capsys, options, words):
    (tmp_path / "file").touch()
    options = [str(tmp_path / "file") if one == "F" else one for one in options]
    more = [] if "--out" in options else ["--out", str(tmp_path / "p")]
    assert cli.main(["datasets", "pack", f"coco:{tiny_coco}", *options, *more]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert words in error[0]
    assert not (tmp_path / "p").exists()
