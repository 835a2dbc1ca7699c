"""Pictures as arrays: reading whatever users have, and the one affine warp."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tetrapose.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
MAX_PIXELS = 400_000_000


class ImageError(UserError):
    """A picture that cannot be used; the message names the file and says why."""


def read_image(path: str | Path, *, least: int | None = None) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels (H, W, 3) uint8 RGB and the picture's full size (width, height).

    EXIF orientation is applied; grey, palette, CMYK and 16-bit pictures become 8-bit RGB,
    transparency is laid on white. With ``least``, a JPEG may be decoded at 1/2, 1/4 or 1/8 as long
    as its shorter side keeps that many pixels; the returned size is still the full one, so that
    ``geometry.resize_matrix(size, pixels.shape[1::-1])`` places labels. Raises ImageError.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(path, least)
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not a picture that can be read") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path}: cannot be decoded ({error})") from None


def read_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a picture as it is shown (EXIF applied), from its header alone."""
    try:
        with Image.open(path) as image:
            swapped = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = image.size
            return (height, width) if swapped else (width, height)
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not a picture that can be read") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{path}: cannot be opened ({error})") from None


def _decode(path: Path, least: int | None) -> tuple[np.ndarray, tuple[int, int]]:
    Image.MAX_IMAGE_PIXELS = None  # the bound is checked here, so that the message is ours
    with Image.open(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"{path}: {width}x{height} is over the bound of {MAX_PIXELS // 10**6} megapixels"
            )
        if least is not None and image.format == "JPEG":
            factor = min(width, height) / least
            if factor >= 2:
                step = 8 if factor >= 8 else 4 if factor >= 4 else 2
                image = _reduced(image, step)
        upright = ImageOps.exif_transpose(image)
        swapped = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        pixels = to_rgb(upright)
    return pixels, ((height, width) if swapped else (width, height))


def _reduced(image: Image.Image, step: int) -> Image.Image:
    """A JPEG decoded at 1/step that shows the whole picture and nothing beside it.

    The decoder rounds sides up and fills the part of a pixel that is over; left as it is, labels
    placed by ``resize_matrix`` would be off by up to ``step`` pixels.
    """
    width, height = image.size
    done = image.draft(None, (width // step, height // step))
    if done is None or (width % step == 0 and height % step == 0):
        return image
    return image.resize(
        (width // step, height // step),
        Image.Resampling.BILINEAR,
        box=(0, 0, width / step, height / step),
    )


def to_rgb(image: Image.Image) -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of an open picture of any mode, as it lies (EXIF not applied)."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I", "F"):
        values = np.asarray(image, dtype=np.float64)
        top = (
            65535.0 if values.max(initial=0) > 255 else 255.0
        )  # 16-bit scale only where it is used
        grey = np.clip(values / top * 255, 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
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
        height, width = image.shape[:2]
        small = (max(width // factor, 1), max(height // factor, 1))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        ratio = np.array([width / small[0], height / small[1]])
        # back from the small picture to the full one: x = (x' + 0.5) * ratio - 0.5
        offset = matrix[:, :2] @ (0.5 * ratio - 0.5) + matrix[:, 2]
        matrix = np.concatenate([matrix[:, :2] * ratio, offset[:, None]], axis=1)
    return cv2.warpAffine(
        image, matrix, out_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill),
    )  # fmt: skip
