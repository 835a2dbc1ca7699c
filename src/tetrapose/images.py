"""Pictures as arrays: reading whatever users have, and the one affine warp."""

from __future__ import annotations

import io
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


class ImageError(UserError):
    """A picture that cannot be used; the message names the file and says why."""


def read_image(path: str | Path, *, least: int | None = None) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels (H, W, 3) uint8 RGB and the picture's full size (width, height).

    EXIF orientation is applied; grey, palette, CMYK and 16-bit pictures become 8-bit RGB,
    transparency is laid on white, of several frames the first is taken. With ``least``, a JPEG may
    be decoded at 1/2, 1/4 or 1/8 as long as its shorter side keeps that many pixels; the returned
    size is still the full one, so that ``geometry.resize_matrix(size, pixels.shape[1::-1])`` places
    labels. Pictures over twice ``PIL.Image.MAX_IMAGE_PIXELS`` (179 megapixels unless changed) are
    refused, as are those that end early. Raises ImageError.
    """
    with _told(path):
        data = _file(Path(path)).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            size, orientation = _upright_size(image)
            full = image.size
            step = _step(full, least) if image.format == "JPEG" else 1
            pixels = _quick_jpeg(data, image, step)
            if pixels is None:
                if step > 1:
                    image.draft(None, (full[0] // step, full[1] // step))
                pixels = to_rgb(image)
    return _turn(_whole(pixels, full, step), orientation), size


def read_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a picture as ``read_image`` gives it, from its header alone."""
    with _told(path), Image.open(_file(Path(path))) as image:
        return _upright_size(image)[0]


@contextmanager
def _told(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong inside becomes an ImageError that names the file and the remedy."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is raised
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


def _file(path: Path) -> Path:
    """The path, if an ordinary file with something in it lies there."""
    status = path.stat()
    if not path.is_file():
        raise ImageError(f"{path}: {'a folder' if path.is_dir() else 'not a file'}")
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


def _step(size: tuple[int, int], least: int | None) -> int:
    """The largest of 8, 4, 2, 1 by which the shorter side can be divided and keep ``least``."""
    if not least:
        return 1
    return next(step for step in (8, 4, 2, 1) if step == 1 or min(size) >= step * least)


def _quick_jpeg(data: bytes, image: Image.Image, step: int) -> np.ndarray | None:
    """A plain JPEG by OpenCV, in two thirds of Pillow's time and with the same pixels; else None.

    Files without an end marker are left to Pillow, which refuses them: OpenCV 4 makes up what is
    missing (5 does not).
    """
    plain = image.format == "JPEG" and image.mode in ("RGB", "L")
    if not plain or not data[-64:].rstrip(b"\0\r\n ").endswith(b"\xff\xd9"):
        return None
    flags = CV2_JPEG[step] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


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
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    factor = int(1 / scale) if scale > 0 else 1
    if factor >= 2:
        left, top, right, bottom = _shown(matrix, out_size, image.shape, margin=2 * factor)
        part = image[top:bottom, left:right]
        old = (right - left, bottom - top)
        new = (max(old[0] // factor, 1), max(old[1] // factor, 1))
        image = cv2.resize(part, new, interpolation=cv2.INTER_AREA)
        back = geometry.invert(geometry.resize_matrix(old, new)) + [[0, 0, left], [0, 0, top]]
        matrix = geometry.compose(matrix, back)
    return cv2.warpAffine(
        image, matrix, out_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill),
    )  # fmt: skip


def _shown(
    matrix: np.ndarray, out_size: tuple[int, int], shape: tuple[int, ...], *, margin: int
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what a crop shows of its picture, at least one pixel."""
    box = geometry.whole_picture_box(*out_size)
    corners = geometry.transform_points(
        geometry.invert(matrix), box[[[0, 1], [2, 1], [0, 3], [2, 3]]]
    )
    limit = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(corners.min(axis=0)) - margin, 0, limit - 1)
    high = np.clip(np.ceil(corners.max(axis=0)) + margin, low + 1, limit)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
