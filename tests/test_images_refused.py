"""Files that are no pictures, or not whole: named with the reason, and nothing else happens."""

from __future__ import annotations

import io
import os
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures_made import close, jpeg, scene, truth
from PIL import Image

from tetrapose import images
from tetrapose.images import ImageError


def png() -> bytes:
    stream = io.BytesIO()
    scene(200, 150).save(stream, "PNG")
    return stream.getvalue()


def huge_png() -> bytes:
    """A PNG of a few bytes that claims 40,000 x 40,000 pixels."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + end

    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


REFUSED = {
    "empty.jpg": (b"", "empty"),
    "text.jpg": (b"this is no picture, whatever its name says", "not a picture"),
    "page.png": (b"<html><body>404</body></html>", "not a picture"),
    "cut.jpg": (jpeg()[:1500], "ends early"),
    "nearly.jpg": (jpeg()[:-40], "ends early"),
    "without_end.jpg": (jpeg()[:-2], "ends early"),
    "header_only.jpg": (jpeg()[:300], "ends early|cannot be decoded|not a picture"),
    "cut.png": (png()[:2000], "ends early|cannot be decoded"),
    "cut_progressive.jpg": (jpeg(progressive=True)[:2500], "ends early"),
    "bomb.png": (huge_png(), "larger than the bound of 178 megapixels"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("least", [None, 16])
def test_what_cannot_be_read_is_named_with_the_reason(tmp_path, name, least):
    data, reason = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError, match=reason) as told:
        images.read_image(path, least=least)
    assert str(told.value).startswith(f"{path}: ")
    assert "\n" not in str(told.value)


def test_padding_after_the_end_marker_is_no_fault(tmp_path):
    for tail in (b"\0" * 16, b"\r\n", b"\0" * 4096, b"data of another program"):
        (tmp_path / "padded.jpg").write_bytes(jpeg() + tail)
        assert close(images.read_image(tmp_path / "padded.jpg")[0], truth(scene(200, 150)))


def test_missing_folder_and_pipe(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        images.read_image(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="a folder"):
        images.read_image(tmp_path)
    with pytest.raises(ImageError, match="no such file"):
        images.read_size(tmp_path / "absent.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(ImageError, match="not a file"):  # and does not wait for a writer
            images.read_image(tmp_path / "pipe.jpg")


def test_missing_permission(tmp_path, monkeypatch):
    path = tmp_path / "locked.jpg"
    path.write_bytes(jpeg())

    def refuse(*_):  # file modes do not stop the superuser
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(images, "open", refuse, raising=False)
    with pytest.raises(ImageError, match="permission denied"):
        images.read_image(path)


def test_the_bound_of_pillow_is_left_to_the_user(tmp_path, monkeypatch):
    (tmp_path / "fine.png").write_bytes(png())
    before = Image.MAX_IMAGE_PIXELS
    images.read_image(tmp_path / "fine.png")
    assert before == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="larger than the bound"):
        images.read_image(tmp_path / "fine.png")


SEEDS = [jpeg(), png(), jpeg(progressive=True)]
for _kind in ("GIF", "BMP", "WEBP", "TIFF"):
    _stream = io.BytesIO()
    scene(30, 20).save(_stream, _kind)
    SEEDS.append(_stream.getvalue())


@given(
    st.sampled_from(range(len(SEEDS))),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=4),
    st.floats(0, 1),
)
def test_spoiled_files_are_read_or_refused_and_nothing_else(tmp_path_factory, which, spoils, keep):
    data = bytearray(SEEDS[which])
    for where, junk in spoils:
        at = int(where * len(data))
        data[at : at + len(junk)] = junk
    path = tmp_path_factory.getbasetemp() / f"spoiled_{which}"
    path.write_bytes(bytes(data[: max(1, int(keep * 1.3 * len(data)))]))
    try:
        pixels, size = images.read_image(path)
    except ImageError:
        return
    assert pixels.shape == (size[1], size[0], 3)
