"""One fault at a time is planted, and a test of this suite must fail for it.

Each row names a fault that has been made in some pose project, or could be, and the test that is to
catch it. The test runs first without the fault, so that it fails for the fault and nothing else.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch

from tetrapose import geometry, images
from tetrapose.codecs import Heatmap, heatmap, peaks
from tetrapose.evaluation import oks
from tetrapose.models import hrnet
from tetrapose.skeletons import Skeleton
from tetrapose.weights import card

TESTS = Path(__file__).parent
HEATMAP = Heatmap(3, (128, 96))
Patch = pytest.MonkeyPatch

hypothesis.settings.register_profile(  # examples of planted faults are not kept nor made smaller
    "planted", deadline=None, database=None, derandomize=True, max_examples=50,
    phases=[hypothesis.Phase.generate], report_multiple_bugs=False,
)  # fmt: skip


@cache
def load(file: str) -> ModuleType:
    """A test file as a module of its own, whatever pytest has collected."""
    spec = importlib.util.spec_from_file_location(f"planted_{Path(file).stem}", TESTS / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _planted_profile() -> Iterator[None]:
    hypothesis.settings.load_profile("planted")
    yield
    hypothesis.settings.load_profile("tetrapose")


def wrap(patch: Patch, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a function by one that gets it first, then its arguments."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **kwargs: wrapper(original, *args, **kwargs))


# Codecs


def points_encoded_half_a_pixel_off(patch: Patch) -> None:
    wrap(
        patch, heatmap, "draw_gaussians", lambda draw, points, *a, **k: draw(points + 0.5, *a, **k)
    )


def cells_taken_for_pixels_over_the_stride(patch: Patch) -> None:
    """x / 4 on the way in and 4 x on the way out, as in most systems: no round trip shows it."""

    def decode(original: Any, self: Heatmap, output: torch.Tensor) -> Any:
        points, scores = original(self, output)
        return points - 1.5, scores

    wrap(
        patch, heatmap, "draw_gaussians", lambda draw, points, *a, **k: draw(points + 1.5, *a, **k)
    )
    wrap(patch, Heatmap, "decode", decode)


def centres_rounded_to_cells(patch: Patch) -> None:
    wrap(
        patch, heatmap, "draw_gaussians",
        lambda draw, *a, **k: draw(*a, **{**k, "whole_cells": True}),
    )  # fmt: skip


def unlabelled_taken_for_the_corner(patch: Patch) -> None:
    wrap(
        patch, heatmap, "draw_gaussians",
        lambda draw, points, *a, **k: draw(points.nan_to_num(0.0), *a, **k),
    )  # fmt: skip


def weights_ignored_by_the_loss(patch: Patch) -> None:
    wrap(
        patch, Heatmap, "loss",
        lambda loss, self, output, target, weights: loss(
            self, output, target, torch.ones_like(weights)
        ),
    )  # fmt: skip


def mirror_without_exchange(patch: Patch) -> None:
    patch.setattr(Heatmap, "mirror", lambda self, output, flip_indices: output.flip(-1))


def mirrored_maps_shifted_by_a_cell(patch: Patch) -> None:
    """HRNet's flip test moves the mirrored map, which makes up for a warp that is off."""
    wrap(patch, Heatmap, "mirror", lambda mirror, *args: mirror(*args).roll(1, -1))


def columns_taken_for_rows(patch: Patch) -> None:
    def exchanged(find: Any, *args: Any, **kwargs: Any) -> Any:
        cells, values = find(*args, **kwargs)
        return cells.flip(-1), values

    wrap(patch, heatmap, "find_peaks", exchanged)


def decoding_by_argmax_alone(patch: Patch) -> None:
    wrap(patch, heatmap, "find_peaks", lambda find, maps, decoder, **k: find(maps, "argmax", **k))


def dark_without_its_blur(patch: Patch) -> None:
    patch.setattr(peaks, "_bands", peaks._bands.__wrapped__)  # else tables made before are used
    patch.setattr(peaks, "blur_weights", lambda kernel: torch.eye(kernel).double()[kernel // 2])


def quarter_shift_away_from_the_larger(patch: Patch) -> None:
    wrap(patch, peaks, "_gradient", lambda gradient, *args: -gradient(*args))


def loss_summed_over_points(patch: Patch) -> None:
    def summed(loss: Any, self: Heatmap, *args: torch.Tensor) -> torch.Tensor:
        return loss(self, *args) * args[-1].sum()

    wrap(patch, Heatmap, "loss", summed)


# Crops


def blue_for_red(patch: Patch) -> None:
    def reversed_colours(read: Any, *args: Any, **kwargs: Any) -> Any:
        pixels, size = read(*args, **kwargs)
        return np.ascontiguousarray(pixels[..., ::-1]), size

    wrap(patch, images, "read_image", reversed_colours)


def flip_without_exchange(patch: Patch) -> None:
    patch.setattr(Skeleton, "flip_indices", property(lambda self: np.arange(len(self))))


def pixels_mirrored_and_points_not(patch: Patch) -> None:
    wrap(patch, images, "warp", lambda warp, *args, **k: warp(*args, **k)[:, ::-1])


def pixels_half_a_pixel_beside_their_points(patch: Patch) -> None:
    wrap(
        patch, images, "warp",
        lambda warp, image, matrix, *a, **k: warp(image, matrix + [[0, 0, 0.5]], *a, **k),
    )  # fmt: skip


def a_region_one_pixel_short(patch: Patch) -> None:
    """Corners mapped to size - 1 in place of the crop's border: the points follow, so only a law
    about the border itself can tell.
    """
    wrap(
        patch, geometry, "crop_matrix",
        lambda crop, center, size, out, **k: crop(
            center, np.asarray(size) * np.array(out) / (np.array(out) - 1), out, **k
        ),
    )  # fmt: skip


def a_reduced_picture_placed_without_half_pixels(patch: Patch) -> None:
    patch.setattr(
        geometry, "resize_matrix",
        lambda old, new: np.array([[new[0] / old[0], 0, 0], [0, new[1] / old[1], 0.0]]),
    )  # fmt: skip


def mirrored_about_the_width(patch: Patch) -> None:
    wrap(
        patch,
        geometry,
        "mirror_points",
        lambda mirror, points, width, *a: mirror(points, width + 1, *a),
    )


def padding_left_out(patch: Patch) -> None:
    wrap(
        patch,
        geometry,
        "box_to_region",
        lambda region, boxes, *, aspect, padding: region(boxes, aspect=aspect, padding=1.0),
    )


def the_same_draw_in_every_epoch(patch: Patch) -> None:
    wrap(
        patch, np.random, "default_rng",
        lambda make, key=None: make(key[::2] if isinstance(key, tuple) else key),
    )  # fmt: skip


def draws_after_earlier_draws(patch: Patch) -> None:
    shared = np.random.default_rng(0)
    patch.setattr(np.random, "default_rng", lambda key=None: shared)


# Evaluation


def sigmas_one_place_off(patch: Patch) -> None:
    """MMPose's Animal-Pose."""
    wrap(
        patch, oks, "evaluate",
        lambda run, truth, found, sigmas, **k: run(truth, found, np.roll(sigmas, 1), **k),
    )  # fmt: skip


def area_of_the_box_for_that_of_the_label(patch: Patch) -> None:
    wrap(
        patch, oks, "evaluate",
        lambda run, truth, *a, **k: run(
            replace(truth, areas=geometry.box_area(truth.bboxes)), *a, **k
        ),
    )  # fmt: skip


# Networks and weights


def a_block_less_than_published(patch: Patch) -> None:
    patch.setattr(hrnet, "BLOCKS", hrnet.BLOCKS - 1)


def pickles_read_in_full(patch: Patch) -> None:
    wrap(patch, torch, "load", lambda read, *a, **k: read(*a, **{**k, "weights_only": False}))


def any_file_for_the_cards_own(patch: Patch) -> None:
    class Alike(str):
        __hash__ = str.__hash__

        def __ne__(self, other: object) -> bool:
            return False

    def digest(data: bytes) -> SimpleNamespace:
        return SimpleNamespace(hexdigest=lambda: Alike(hashlib.sha256(data).hexdigest()))

    patch.setattr(card, "hashlib", SimpleNamespace(sha256=digest))


def any_function_for_a_builder(patch: Patch) -> None:
    def find(name: Any, path: Path) -> Any:
        module, _, function = name.partition(":")
        return getattr(importlib.import_module(module), function)

    patch.setattr(card, "_find_builder", find)


LAWS, DECODERS, CROPS = "codecs/test_laws.py", "codecs/test_decoders.py", "data/test_crops.py"
GEOMETRY, OKS, CARD = "test_geometry.py", "evaluation/test_oks.py", "weights/test_card.py"
ROWS: list[tuple[Callable[[Patch], None], str, str]] = [
    (points_encoded_half_a_pixel_off, LAWS, "test_round_trip"),
    (cells_taken_for_pixels_over_the_stride, LAWS, "test_a_cell_stands_over_its_own_pixels"),
    (cells_taken_for_pixels_over_the_stride, LAWS, "test_mirror_commutes_with_encode"),
    (centres_rounded_to_cells, LAWS, "test_round_trip"),
    (unlabelled_taken_for_the_corner, LAWS, "test_unlabelled_and_outside_weigh_nothing"),
    (weights_ignored_by_the_loss, LAWS, "test_a_point_of_weight_nothing_teaches_nothing"),
    (weights_ignored_by_the_loss, LAWS, "test_weights_share_the_loss_out"),
    (loss_summed_over_points, LAWS, "test_weights_share_the_loss_out"),
    (mirror_without_exchange, LAWS, "test_mirror_commutes_with_encode"),
    (mirrored_maps_shifted_by_a_cell, LAWS, "test_mirror_commutes_with_decode"),
    (columns_taken_for_rows, LAWS, "test_round_trip_up_to_the_border"),
    (decoding_by_argmax_alone, LAWS, "test_round_trip"),
    (dark_without_its_blur, DECODERS, "test_dark_is_the_papers"),
    (quarter_shift_away_from_the_larger, DECODERS, "test_the_quarter_shift_is_the_papers"),
    (blue_for_red, CROPS, "test_colours_are_red_green_blue"),
    (flip_without_exchange, CROPS, "test_a_point_goes_where_its_pixel_goes"),
    (pixels_mirrored_and_points_not, CROPS, "test_a_point_goes_where_its_pixel_goes"),
    (pixels_half_a_pixel_beside_their_points, CROPS, "test_a_point_goes_where_its_pixel_goes"),
    (pixels_half_a_pixel_beside_their_points, GEOMETRY, "test_a_point_goes_where_its_pixel_goes"),
    (a_region_one_pixel_short, GEOMETRY, "test_a_regions_border_falls_on_the_crops_border"),
    (a_region_one_pixel_short, CROPS, "test_padding_is_the_share_of_the_box_that_is_seen"),
    (a_reduced_picture_placed_without_half_pixels, CROPS, "test_so_it_does_in_a_large_picture"),
    (mirrored_about_the_width, GEOMETRY, "test_a_mirrored_point_is_where_its_pixel_is"),
    (padding_left_out, CROPS, "test_padding_is_the_share_of_the_box_that_is_seen"),
    (the_same_draw_in_every_epoch, CROPS, "test_draws_depend_on_seed_epoch_and_row_alone"),
    (draws_after_earlier_draws, CROPS, "test_draws_depend_on_seed_epoch_and_row_alone"),
    (sigmas_one_place_off, OKS, "test_equals_pycocotools"),
    (area_of_the_box_for_that_of_the_label, OKS, "test_equals_pycocotools"),
    (a_block_less_than_published, "models/test_models.py", "test_the_layers_are_the_published"),
    (pickles_read_in_full, CARD, "test_a_malicious_pickle_is_refused_and_never_run"),
    (any_file_for_the_cards_own, CARD, "test_one_changed_bit_is_noticed"),
    (any_function_for_a_builder, CARD, "test_a_card_names_no_code_but_a_network"),
]
GIVEN = {
    "codec": HEATMAP, "kernel": 11, "missing": (torch.nan, torch.nan), "mirror": True, "block": 0,
    "name": "hrnet_w32", "builder": "os:getpid",
}  # fmt: skip


def run(file: str, test: str, folder: Path) -> None:
    """Call a test with what its parameters and fixtures would have given it."""
    module = load(file)
    folder.mkdir()
    saved = folder / "cat.v1.safetensors"
    fixtures: dict[str, Callable[[], Any]] = {
        "tmp_path": lambda: folder,
        "malicious": lambda: module.write_malicious(folder, "zip"),
        "saved": lambda: card.save(saved, module.make_model(), module.make_card()) and saved,
    }
    function = getattr(module, test)
    function(
        **{
            name: GIVEN[name] if name in GIVEN else fixtures[name]()
            for name in inspect.signature(function).parameters
        }
    )


@pytest.mark.parametrize(
    "fault, file, test", [pytest.param(*row, id=f"{row[0].__name__}-{row[2]}") for row in ROWS]
)
def test_the_suite_catches(
    fault: Callable[[Patch], None], file: str, test: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    run(file, test, tmp_path / "without")
    fault(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(file, test, tmp_path / "with")
