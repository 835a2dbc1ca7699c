"""Pictures as arrays: reading whatever users have, and the one affine warp."""

from __future__ import annotations

import io
import math
import os
import re
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from tetrapose import geometry
from tetrapose.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
ORIENTATION = 0x0112  # EXIF tag
CV2_JPEG = {
    1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8,
}  # fmt: skip
MEMBER = re.compile(r"\d{12}-\d{10}\.\w+")
CV2_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # takes the place of IMREAD_COLOR; not in 4.9


class ImageError(UserError):
    """A picture that cannot be used; the message names the file and says why."""


def read_image(
    path: str | Path,
    *,
    least: int | None = None,
    scale: float | None = None,
    data: bytes | None = None,
) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels (H, W, 3) uint8 RGB and the size (width, height) of the full picture they stand for.

    EXIF orientation is applied; grey, palette, CMYK and 16-bit pictures become 8-bit RGB,
    transparency is laid on white, of several frames the first is taken. With ``least``, a JPEG may
    be decoded at 1/2, 1/4 or 1/8 as long as its shorter side keeps that many pixels; the returned
    size is still the full one, so that ``geometry.resize_matrix(size, pixels.shape[1::-1])`` places
    labels. ``scale`` asks for reduction without knowing the size: the pixels keep at least that
    share of the full resolution (0.3 allows 1/2, 1 allows none), and the size they stand for may
    be up to 7 pixels over the picture's own, since decoders round up.

    A picture inside a pack is named ``PACK/START-LENGTH.suffix`` (see ``member``). With ``data``
    the file's bytes are given, and the path is but its name. Pictures over
    twice ``PIL.Image.MAX_IMAGE_PIXELS`` (179 megapixels unless changed) are
    refused, as are those that end early. Raises ImageError.
    """
    with _told(path):
        data = _bytes(path) if data is None else data
        full, orientation = plain_jpeg(data), 1
        pixels, step = None, 1
        if full is not None:
            size, step = full, _step(full, least, scale)
            pixels = _quick_jpeg(data, step)
        if full is None or pixels is None:
            with _quiet(), Image.open(io.BytesIO(data)) as image:
                size, orientation = _upright_size(image)
                full = image.size
                step = _step(full, least, scale) if image.format == "JPEG" else 1
                if image.format == "JPEG" and image.mode in ("RGB", "L"):
                    pixels = _quick_jpeg(data, step)
                if pixels is None:
                    if step > 1:
                        image.draft(None, (full[0] // step, full[1] // step))
                    pixels = to_rgb(image)
    if scale is not None and orientation == 1:
        return pixels, (pixels.shape[1] * step, pixels.shape[0] * step)
    return _turn(_whole(pixels, full, step), orientation), size


def read_size(path: str | Path, *, data: bytes | None = None) -> tuple[int, int]:
    """Width and height of a picture as ``read_image`` gives it, from its header alone."""
    with _told(path), _quiet():
        if data is None and _in_pack(path):
            data = _bytes(path)
        source = _file(path) if data is None else io.BytesIO(data)
        with Image.open(source) as image:
            return _upright_size(image)[0]


def member(start: int, length: int, suffix: str) -> str:
    """The name by which ``read_image`` finds a picture of that place and length in a pack.

    A pack is one file of whole picture files, one after another; ``PACK/NAME`` with this name is
    read like any path, so that a set in a pack is a set like others.
    """
    return f"{start:012d}-{length:010d}{suffix}"


def _in_pack(path: str | Path) -> bool:
    folder, name = os.path.split(path)
    return MEMBER.fullmatch(name) is not None and os.path.isfile(folder)


def read_bytes(path: str | Path) -> bytes:
    """What lies in a picture file, or in its part of a pack. Raises ImageError."""
    with _told(path):
        return _bytes(path)


def _bytes(path: str | Path) -> bytes:
    if not _in_pack(path):
        with open(_file(path), "rb") as file:
            return file.read()
    folder, name = os.path.split(path)
    start, length = map(int, name.partition(".")[0].split("-"))
    with open(folder, "rb") as file:
        file.seek(start)
        data = file.read(length)
    if len(data) < length:
        raise ImageError(f"{path}: the pack ends before; copy it again")
    return data


def plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG that lies upright and is grey or colour; None where in doubt.

    Exif and XMP (APP1), which may turn it, and Adobe's own colours (APP14) are left to Pillow, as
    are pictures of 12 bits, of two or four channels, or over the bound of size.
    """
    if data[:3] != b"\xff\xd8\xff":
        return None
    place = 2
    while place + 9 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in (0xC0, 0xC1, 0xC2):
            bits, height, width, channels = struct.unpack_from(">BHHB", data, place + 4)
            usual = bits == 8 and channels in (1, 3) and height and width
            small = width * height <= 2 * (Image.MAX_IMAGE_PIXELS or math.inf)
            return (width, height) if usual and small else None
        if marker in (0xE1, 0xEE) or not 0xC4 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9:
            return None
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings: what matters is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _told(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong inside becomes an ImageError that names the file and the remedy."""
    try:
        yield
        return
    except ImageError:
        raise
    except FileNotFoundError:
        why = "no such file"
    except PermissionError:
        why = "may not be read (permission denied)"
    except UnidentifiedImageError:
        why = "not a picture that can be read (JPEG, PNG, WebP, BMP, GIF or TIFF is)"
    except Image.DecompressionBombError:
        bound = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        why = f"larger than the bound of {bound} megapixels; shrink it"
    except MemoryError:
        why = "too large for the memory at hand; shrink it"
    except Exception as error:  # noqa: BLE001 foreign bytes make decoders raise anything
        told = " ".join(str(error).split()) or type(error).__name__
        short = "truncated" in told or "not enough" in told or isinstance(error, EOFError)
        why = "ends early; copy or download it again" if short else f"cannot be decoded ({told})"
    raise ImageError(f"{path}: {why}")


def _file(path: str | Path) -> str | Path:
    """The path, if an ordinary file with something in it lies there."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: {'a folder' if stat.S_ISDIR(status.st_mode) else 'not a file'}")
    if status.st_size == 0:
        raise ImageError(f"{path}: the file is empty")
    return path


def _upright_size(image: Image.Image) -> tuple[tuple[int, int], int]:
    """Size (width, height) as shown, and the EXIF orientation that is still to be applied."""
    orientation = image.getexif().get(ORIENTATION, 1)
    if orientation not in range(2, 9):
        return image.size, 1
    if image.format == "TIFF":  # Pillow turns these itself while it loads
        image.load()
        return image.size, 1
    width, height = image.size
    return ((height, width) if orientation >= 5 else (width, height)), orientation


def _step(size: tuple[int, int], least: int | None, scale: float | None) -> int:
    """The largest of 8, 4, 2, 1 by which a picture may be divided.

    The shorter side keeps ``least``, and what is left is ``scale`` of the full resolution or more.
    """
    most = 8.0
    if least or scale is None:
        most = min(most, min(size) / least if least else 1.0)
    if scale is not None:
        most = min(most, 1 / max(scale, 1e-6))
    return next((step for step in (8, 4, 2) if step <= most), 1)


def _quick_jpeg(data: bytes, step: int) -> np.ndarray | None:
    """A plain JPEG by OpenCV, in two thirds of Pillow's time and with the same pixels; else None.

    Files without an end marker are left to Pillow, which refuses them: OpenCV 4 makes up what is
    missing (5 does not).
    """
    if not data[-64:].rstrip(b"\0\r\n ").endswith(b"\xff\xd9"):
        return None
    flags = CV2_JPEG[step] | cv2.IMREAD_IGNORE_ORIENTATION
    if CV2_RGB is not None:
        flags += CV2_RGB - cv2.IMREAD_COLOR
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None or CV2_RGB is not None:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _whole(pixels: np.ndarray, full: tuple[int, int], step: int) -> np.ndarray:
    """A JPEG decoded at 1/step so that it shows the whole picture and nothing beside it.

    The decoder rounds sides up and fills the part of a pixel that is over; left as it is, labels
    placed by ``resize_matrix`` would be off by up to ``step`` pixels.
    """
    width, height = full
    if step == 1 or (width % step == 0 and height % step == 0):
        return pixels
    size = (width // step, height // step)
    x, y = width / step / size[0], height / step / size[1]
    back = np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as shown, by EXIF orientation 1..8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def to_rgb(image: Image.Image) -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of an open picture of any mode, as it lies (EXIF not applied).

    Deep grey values are taken to span 0..65535, or 0..255 or (floats) 0..1 where none is larger.
    """
    if image.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        largest = values.max(initial=0)
        top = 65535.0 if largest > 255 else 1.0 if image.mode == "F" and largest <= 1 else 255.0
        grey = np.clip(values / top * 255, 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, layer)
    return np.array(image.convert("RGB"))


def warp(
    image: np.ndarray, matrix: np.ndarray, out_size: tuple[int, int], *, fill: int = 0
) -> np.ndarray:
    """Crop (h, w, 3) of ``out_size`` (width, height) whose pixel p shows picture pixel matrix^-1 p.

    Bilinear; when the crop is much smaller than its region, the picture is first averaged down by a
    whole factor, so that no fine pattern turns into noise.
    """
    (a, b, e), (c, d, f) = matrix.tolist()
    area = abs(a * d - b * c)
    factor = max(int(1 / area**0.5), 1) if area > 0 else 1
    left, top, right, bottom = _shown(matrix, out_size, image.shape, margin=2 * factor)
    part = image[top:bottom, left:right]
    matrix = np.array([[a, b, e + a * left + b * top], [c, d, f + c * left + d * top]])
    if factor >= 2:
        part = _whole_blocks(part, factor)
        old = (part.shape[1], part.shape[0])
        new = (old[0] // factor, old[1] // factor)
        part = cv2.resize(part, new, interpolation=cv2.INTER_AREA)
        matrix = geometry.compose(matrix, geometry.resize_matrix(new, old))
    # OpenCV warps four channels in less than half the time of three, to the same values
    four = cv2.warpAffine(
        cv2.cvtColor(part, cv2.COLOR_RGB2RGBA), matrix, out_size, flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=(fill, fill, fill, 0),
    )  # fmt: skip
    return cv2.cvtColor(four, cv2.COLOR_RGBA2RGB)


def _whole_blocks(part: np.ndarray, factor: int) -> np.ndarray:
    """With the last row and column repeated until both sides divide: averaged several times faster.

    What is added is less than a pixel of the crop.
    """
    high, wide = -part.shape[0] % factor, -part.shape[1] % factor
    if not high and not wide:
        return part
    return cv2.copyMakeBorder(part, 0, high, 0, wide, cv2.BORDER_REPLICATE)


def _shown(
    matrix: np.ndarray, out_size: tuple[int, int], shape: tuple[int, ...], *, margin: int
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what a crop shows of its picture, at least one pixel."""
    (a, b, e), (c, d, f) = matrix.tolist()
    det = (a * d - b * c) or 1e-12  # nothing is seen of a region without area
    corners = [(x - 0.5 - e, y - 0.5 - f) for x in (0, out_size[0]) for y in (0, out_size[1])]
    xs = [(d * x - b * y) / det for x, y in corners]
    ys = [(a * y - c * x) / det for x, y in corners]
    left = min(max(math.floor(min(xs)) - margin, 0), shape[1] - 1)
    top = min(max(math.floor(min(ys)) - margin, 0), shape[0] - 1)
    right = min(max(math.ceil(max(xs)) + margin, left + 1), shape[1])
    bottom = min(max(math.ceil(max(ys)) + margin, top + 1), shape[0])
    return left, top, right, bottom
