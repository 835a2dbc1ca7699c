"""Every odd picture is read as it is shown, or refused in one line that names it."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from pictures_made import close, jpeg, scene, truth
from PIL import Image, ImageCms, ImageOps

from tetrapose import geometry, images
from tetrapose.images import ImageError

_TO_LAB = ImageCms.buildTransform(
    ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
)


# --- formats and modes -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", images.SUFFIXES)
def test_every_suffix_is_read(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    scene().save(path)
    pixels, size = images.read_image(path)
    assert size == (90, 60) == images.read_size(path)
    assert close(pixels, truth(scene()), 25 if suffix == ".gif" else 4)
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


def test_the_quick_way_gives_pillows_pixels(tmp_path):
    for mode in ("RGB", "L"):
        for progressive in (False, True):
            path = tmp_path / "picture.jpg"
            scene(91, 61).convert(mode).save(path, quality=80, progressive=progressive)
            with Image.open(path) as picture:
                expected = truth(picture)
            np.testing.assert_array_equal(images.read_image(path)[0], expected)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LAB"])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ("picture.tif" if mode in ("CMYK", "YCbCr", "LAB") else "picture.png")
    converted = scene().convert("RGB" if mode == "LAB" else mode)
    if mode == "LAB":
        converted = ImageCms.applyTransform(converted, _TO_LAB)
    # Pillow 12 cannot read the plain YCbCr TIFF that it writes
    converted.save(path, **({"compression": "tiff_lzw"} if mode == "YCbCr" else {}))
    expected = truth(scene()) if mode == "LAB" else truth(converted)
    assert close(images.read_image(path)[0], expected)


def test_cmyk_jpeg(tmp_path):
    path = tmp_path / "print.jpg"
    scene().convert("CMYK").save(path)
    assert close(images.read_image(path)[0], truth(scene()), 12)
    assert images.read_image(path, least=8)[1] == (90, 60)


@pytest.mark.parametrize("top, shown", [(65535, 255), (32768, 128), (255, 255), (200, 200), (0, 0)])
def test_sixteen_bit_grey(tmp_path, top, shown):
    values = np.zeros((6, 8), np.uint16)
    values[2, 3] = top
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), values)
    pixels, _ = images.read_image(path)
    assert pixels[2, 3].tolist() == [shown] * 3
    assert pixels.sum() == 3 * shown


def test_sixteen_bit_colour(tmp_path):
    values = (np.random.default_rng(0).integers(0, 65536, (6, 8, 3))).astype(np.uint16)
    for name in ("deep.png", "deep.tiff"):
        cv2.imwrite(str(tmp_path / name), values)
        pixels, _ = images.read_image(tmp_path / name)
        assert np.abs(pixels[..., ::-1].astype(int) - values / 257).max() <= 1


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_float_pictures(tmp_path, scale):
    values = np.linspace(0, scale, 12, dtype=np.float32).reshape(3, 4)
    values[0, 1] = np.nan
    Image.fromarray(values).save(tmp_path / "float.tiff")
    pixels, _ = images.read_image(tmp_path / "float.tiff")
    assert pixels[-1, -1].tolist() == [255] * 3
    assert pixels[0, 1].tolist() == [0] * 3


def test_transparency_is_laid_on_white(tmp_path):
    layer = scene().convert("RGBA")
    layer.putalpha(Image.linear_gradient("L").resize(layer.size))
    layer.save(tmp_path / "layer.png")
    pixels, _ = images.read_image(tmp_path / "layer.png")
    assert pixels[0].min() > 245  # clear at the top
    assert close(pixels[-1:], truth(scene())[-1:], 3)  # opaque at the bottom


@pytest.mark.parametrize("clear", [0, bytes([0, 255, 128, 255])])
def test_palette_with_transparency(tmp_path, clear):
    picture = Image.new("P", (4, 1))
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    picture.putdata([0, 1, 2, 3])
    picture.save(tmp_path / "palette.png", transparency=clear)
    pixels, _ = images.read_image(tmp_path / "palette.png")
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [200, 0, 0]
    if isinstance(clear, bytes):
        assert pixels[0, 2, 1] == pytest.approx(227, abs=2)  # half on white


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=50)
    pixels, size = images.read_image(tmp_path / "moving.gif")
    assert size == (12, 10)
    assert pixels[5, 5].tolist() == [255, 0, 0]


def test_one_pixel(tmp_path):
    for name in ("one.png", "one.jpg", "one.gif"):
        Image.new("RGB", (1, 1), (200, 200, 200)).save(tmp_path / name)
        pixels, size = images.read_image(tmp_path / name, least=256)
        assert pixels.shape == (1, 1, 3)
        assert size == (1, 1)
        assert abs(int(pixels[0, 0, 0]) - 200) <= 2


# --- orientation and reduced decoding --------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation, suffix):
    path = tmp_path / f"turned{suffix}"
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    scene().save(path, exif=exif)
    expected = truth(ImageOps.exif_transpose(_with_orientation(orientation)))
    pixels, size = images.read_image(path)
    assert close(pixels, expected)
    assert size == pixels.shape[1::-1] == images.read_size(path)


def _with_orientation(orientation: int) -> Image.Image:
    picture = scene()
    picture.getexif()[images.ORIENTATION] = orientation
    return picture


def test_an_orientation_out_of_range_is_none(tmp_path):
    exif = Image.Exif()
    exif[images.ORIENTATION] = 77
    scene().save(tmp_path / "odd.jpg", exif=exif)
    assert close(images.read_image(tmp_path / "odd.jpg")[0], truth(scene()))


@pytest.mark.parametrize("size", [(320, 240), (321, 243), (327, 247), (250, 400)])
@pytest.mark.parametrize("least, step", [(None, 1), (200, 1), (120, 2), (60, 4), (30, 8), (3, 8)])
def test_a_reduced_jpeg_keeps_what_was_asked(tmp_path, size, least, step):
    path = tmp_path / "large.jpg"
    scene(*size).save(path)
    pixels, full = images.read_image(path, least=least)
    assert full == size
    assert pixels.shape[1::-1] == (size[0] // step, size[1] // step)
    if least is not None and step > 1:
        assert min(pixels.shape[:2]) >= least


def test_what_is_not_jpeg_is_not_reduced(tmp_path):
    scene(320, 240).save(tmp_path / "large.png")
    assert images.read_image(tmp_path / "large.png", least=30)[0].shape == (240, 320, 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("least", [100, 50, 26])
def test_labels_fit_a_reduced_jpeg(tmp_path, least, orientation):
    """A spot is found where ``resize_matrix`` puts it, however odd the sides."""
    width, height, at = 327, 245, np.array([290.0, 215.0])
    rows, columns = np.mgrid[:height, :width]
    spot = 250 * np.exp(-((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / 200)
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    Image.fromarray(spot.astype(np.uint8)).save(tmp_path / "spot.jpg", quality=95, exif=exif)
    pixels, size = images.read_image(tmp_path / "spot.jpg", least=least)
    shown = {
        1: at,
        3: np.array([width - 1, height - 1]) - at,
        6: np.array([height - 1 - at[1], at[0]]),
        8: np.array([at[1], width - 1 - at[0]]),
    }[orientation]
    matrix = geometry.resize_matrix(size, pixels.shape[1::-1])
    expected = geometry.transform_points(matrix, shown[None])[0]
    weight = pixels[..., 0].astype(float) * (pixels[..., 0] > 8)
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    np.testing.assert_allclose(found, expected, atol=0.06)


# --- warp ------------------------------------------------------------------------------------


def test_the_whole_picture_warped_to_its_size_is_itself():
    pixels = truth(scene())
    matrix = geometry.crop_matrix(np.array([44.5, 29.5]), np.array([90, 60]), (90, 60))
    np.testing.assert_array_equal(images.warp(pixels, matrix, (90, 60)), pixels)


def test_a_mirrored_warp_is_the_picture_mirrored():
    pixels = truth(scene())
    matrix = geometry.crop_matrix(np.array([44.5, 29.5]), np.array([90, 60]), (90, 60), mirror=True)
    np.testing.assert_array_equal(images.warp(pixels, matrix, (90, 60)), pixels[:, ::-1])


@pytest.mark.parametrize("fill", [0, 114])
def test_beside_the_picture_is_the_filling(fill):
    pixels = np.full((20, 30, 3), 255, np.uint8)
    for size in (60, 600):  # at about the crop's scale, and averaged down
        matrix = geometry.crop_matrix(np.array([14.5, 9.5]), np.array([size, size]), (60, 60))
        crop = images.warp(pixels, matrix, (60, 60), fill=fill)
        assert (crop[0] == fill).all()
        assert (crop[:, 0] == fill).all()
        assert crop[30, 30, 0] > 200


@pytest.mark.parametrize("center", [(-500, -500), (900, 20), (14, 900)])
@pytest.mark.parametrize("size", [10, 1000])
def test_a_crop_far_beside_its_picture_is_filling_alone(center, size):
    pixels = np.full((20, 30, 3), 255, np.uint8)
    matrix = geometry.crop_matrix(np.array(center), np.array([size, size]) * 0.5, (64, 64))
    assert (images.warp(pixels, matrix, (64, 64), fill=7) == 7).all()


@pytest.mark.parametrize("rotation", [0, 30, 90])
@pytest.mark.parametrize("region", [50, 130, 250, 390])
def test_within_the_picture_there_is_no_filling(region, rotation):
    """Averaging down looks only at the part that shows, and at all of it."""
    pixels = np.full((600, 700, 3), 255, np.uint8)
    center, size = np.array([340.2, 299.7]), np.array([region, region])
    matrix = geometry.crop_matrix(center, size, (60, 60), rotation=rotation)
    assert (images.warp(pixels, matrix, (60, 60)) == 255).all()


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_fine_patterns_are_averaged_not_sampled(factor):
    """A checkerboard of single pixels shrinks to even grey."""
    board = (np.indices((600, 600)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = np.repeat(board[..., None], 3, axis=-1)
    size = np.array([60 * factor, 60 * factor])
    matrix = geometry.crop_matrix(np.array([300, 300]), size, (60, 60), rotation=10)
    crop = images.warp(pixels, matrix, (60, 60))
    assert crop.std() < (30 if factor == 3 else 12)
    assert abs(crop.mean() - 127.5) < 3


def test_the_picture_is_left_as_it_was():
    pixels = truth(scene()).copy()
    before = pixels.copy()
    matrix = geometry.crop_matrix(np.array([40, 30]), np.array([400, 400]), (32, 32))
    images.warp(pixels, matrix, (32, 32))
    np.testing.assert_array_equal(pixels, before)


# --- reduced without knowing the size; packs ----------------------------------------------------


@pytest.mark.parametrize("scale, step", [(1.0, 1), (0.6, 1), (0.5, 2), (0.3, 2), (0.25, 4), (0, 8)])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_scale_is_kept(tmp_path, scale, step, orientation):
    """A blob lies where the size given back says, however the picture is turned and reduced."""
    x, y = 243.0, 150.0
    down, across = np.mgrid[:331, :403]
    spot = 255 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * 30**2))
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    Image.fromarray(np.repeat(spot[..., None], 3, -1).astype(np.uint8)).save(
        path, quality=95, exif=exif
    )
    whole = images.read_image(path)[0][..., 0].astype(float)
    pixels, full = images.read_image(path, scale=scale)
    have = (pixels.shape[1], pixels.shape[0])
    assert have[0] == pytest.approx(whole.shape[1] / step, abs=1)
    assert all(0 <= a - b < 8 for a, b in zip(full, whole.shape[1::-1], strict=True))

    def middle(grey):
        grey = np.where(grey > 60, grey, 0)
        rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]]
        return np.array([(grey * columns).sum(), (grey * rows).sum()]) / grey.sum()

    placed = geometry.transform_points(geometry.resize_matrix(full, have), middle(whole)[None])
    np.testing.assert_allclose(placed[0], middle(pixels[..., 0].astype(float)), atol=0.1)


def test_a_picture_in_a_pack_is_a_picture(tmp_path):
    first, second = jpeg(), io.BytesIO()
    scene(33, 21).save(second, "png")
    pack = tmp_path / "set.pack"
    pack.write_bytes(first + second.getvalue())
    (tmp_path / "alone.jpg").write_bytes(first)
    names = [
        images.member(0, len(first), ".jpg"),
        images.member(len(first), len(second.getvalue()), ".png"),
    ]
    alone = images.read_image(tmp_path / "alone.jpg")[0]
    np.testing.assert_array_equal(images.read_image(pack / names[0])[0], alone)
    assert close(images.read_image(str(pack / names[1]))[0], truth(scene(33, 21)), 0.1)
    assert images.read_size(pack / names[1]) == (33, 21)
    pack.write_bytes(pack.read_bytes()[:-1])
    with pytest.raises(ImageError, match="pack ends before"):
        images.read_image(pack / names[1])
    with pytest.raises(ImageError, match="no such file"):
        images.read_image(tmp_path / "none.pack" / names[0])


def test_warping_does_not_depend_on_how_much_of_the_picture_is_at_hand():
    """The part that is cut out before the warp holds all that the crop shows."""
    rng = np.random.default_rng(0)
    picture = truth(scene(400, 300))
    for _ in range(40):
        region = rng.uniform(40, 900) * np.ones(2)
        matrix = geometry.crop_matrix(
            rng.uniform(-50, 400, 2), region, (64, 64), rotation=rng.uniform(-180, 180),
            mirror=bool(rng.integers(2)),
        )  # fmt: skip
        crop = images.warp(picture, matrix, (64, 64))
        grid = np.stack(np.meshgrid(np.arange(64.0), np.arange(64.0)), -1).reshape(-1, 2)
        seen = geometry.transform_points(geometry.invert(matrix), grid).reshape(64, 64, 2)
        wide = 2.0 * max(region[0] / 64, 1)
        inside = ((seen > wide) & (seen < np.array([399, 299]) - wide)).all(-1)
        outside = ((seen < -1 - wide) | (seen > np.array([400, 300]) + wide)).any(-1)
        plain = cv2.remap(picture, seen.astype(np.float32), None, cv2.INTER_LINEAR)
        assert not crop[outside].any()
        if inside.any():
            assert np.abs(crop[inside].astype(int) - plain[inside]).mean() < 6


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_headers_read_by_hand_agree_with_pillow(tmp_path, mode):
    for options in ({}, {"progressive": True}, {"subsampling": 0} if mode == "RGB" else {}):
        path = tmp_path / "a.jpg"
        scene(37, 22).convert(mode).save(path, **options)
        told = images.plain_jpeg(path.read_bytes())
        assert told == (None if mode == "CMYK" else (37, 22))
