"""Files that somebody hands in: what is refused and how, and where the rest goes."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from studio_parts import SMALL, jpeg

from tetrapose import images
from tetrapose.app.uploads import Limits, Picture, Shelf
from tetrapose.errors import UserError

EVIL = "../../../etc/<img src=x onerror=alert(1)>\n.jpg"


def test_an_upload_lies_in_its_own_folder_whatever_it_is_called(tmp_path):
    shelf = Shelf(tmp_path / "studio" / "pictures", Limits())
    picture = shelf.add(jpeg(), EVIL)
    assert picture.name == "../../../etc/<img src=x onerror=alert(1)> .jpg"  # words, no more
    assert picture.size == (320, 240)
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    home = f"studio/pictures/{picture.id}"
    assert written == [
        "studio", "studio/pictures", home, f"{home}/about.json", f"{home}/original.jpg",
        f"{home}/shown.jpg",
    ]  # fmt: skip
    assert shelf.get(picture.id) == picture
    assert shelf.pixels(picture).shape == (240, 320, 3)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises much and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "the file is empty"),
        (b"x" * 250_000, "0.2 are taken"),
        (b"<svg onload='alert(1)'/>", "not a picture that can be read"),
        (b"<html><script>alert(1)</script>", "not a picture that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture that can be read"),
        (png_header(100, 100), "ends early|cannot be decoded"),
        (png_header(60_000, 60_000), "more than 0.3 megapixels"),
        (png_header(20_000, 10), "16384 a side"),
        (jpeg(800, 600), "more than 0.3 megapixels"),
        (jpeg()[:3000], "ends early|cannot be decoded"),
        (jpeg()[:20], "not a picture|cannot be decoded"),
        (os.urandom(2000), "not a picture that can be read"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line_and_leaves_nothing(tmp_path, data, words):
    shelf = Shelf(tmp_path / "pictures", SMALL)
    with pytest.raises(UserError, match=words) as error:
        shelf.add(data, "evil.jpg")
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)
    assert str(error.value).startswith("evil.jpg: ")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_turned_picture_is_shown_upright_and_without_what_the_camera_wrote(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "camera of somebody"
    shelf = Shelf(tmp_path, Limits())
    picture = shelf.add(jpeg(exif=exif), "turned.jpg")
    assert picture.size == (240, 320)
    with Image.open(shelf.folder(picture.id) / "shown.jpg") as shown:
        assert shown.size == (240, 320)
        assert not shown.getexif()
    upright = images.read_image(shelf.folder(picture.id) / "original.jpg")[0]
    np.testing.assert_array_equal(shelf.pixels(picture), upright)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_other_formats_are_shown_as_jpeg(tmp_path, kind):
    out = io.BytesIO()
    Image.open(io.BytesIO(jpeg())).convert("P" if kind == "GIF" else "RGB").save(out, kind)
    shelf = Shelf(tmp_path, Limits())
    picture = shelf.add(out.getvalue(), "x")
    with Image.open(shelf.folder(picture.id) / "shown.jpg") as shown:
        assert (shown.format, shown.size) == ("JPEG", (320, 240))


def test_what_is_shown_is_bounded_and_the_size_is_the_full_one(tmp_path):
    shelf = Shelf(tmp_path, Limits())
    picture = shelf.add(jpeg(3000, 300), "wide.jpg")
    assert picture.size == (3000, 300)
    with Image.open(shelf.folder(picture.id) / "shown.jpg") as shown:
        assert shown.size == (2048, 205)


def test_the_same_picture_is_kept_once_with_its_pose(tmp_path):
    shelf = Shelf(tmp_path, Limits())
    one = shelf.add(jpeg(), "one.jpg")
    shelf.keep_pose(one, {"here": 1})
    two = shelf.add(jpeg(), "two.jpg")
    assert two == Picture(one.id, "two.jpg", one.size, one.file)
    assert shelf.get(one.id).name == "two.jpg"
    assert shelf.pose(two) == {"here": 1}


def test_the_oldest_go_when_there_are_too_many(tmp_path):
    shelf = Shelf(tmp_path, SMALL)
    ids = []
    for seed in range(5):
        ids.append(shelf.add(jpeg(seed=seed), "x").id)
        os.utime(tmp_path / ids[-1] / "about.json", (seed, seed))
    assert {path.name for path in tmp_path.iterdir()} == set(ids[2:])
    with pytest.raises(UserError, match="no longer kept"):
        shelf.get(ids[0])


@pytest.mark.parametrize("id", ["", "..", "../x", "a" * 20 + "/..", "A" * 20, "0" * 19, None, 5])
def test_what_is_no_id_opens_nothing(tmp_path, id):
    with pytest.raises(UserError, match="no such picture"):
        Shelf(tmp_path, Limits()).get(id)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot be written") as error:
        Shelf(tmp_path / "taken", Limits()).add(jpeg(), "x")
    assert str(tmp_path) not in str(error.value)


def test_a_canvas_is_white_ground_without_a_file(tmp_path):
    shelf = Shelf(tmp_path, Limits())
    picture = shelf.canvas(64, 48)
    assert shelf.get(picture.id) == picture
    assert (shelf.pixels(picture) == 255).all()
    assert shelf.pixels(picture).shape == (48, 64, 3)
