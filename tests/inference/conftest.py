"""A film of two animals and what finds them."""

from __future__ import annotations

import pytest
from films_made import boxes, film, model, settings_of

from tetrapose.inference.predictor import load

SIZE = (96, 72)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(model(tmp_path_factory.mktemp("model") / "tiny.safetensors"), flip=False)


@pytest.fixture
def made(tmp_path, predictor):
    """A film of two animals, and settings that know their boxes."""
    path = film(tmp_path / "a.mp4", 60, size=SIZE, spots=2)
    table = boxes(tmp_path / "boxes.csv", "a.mp4", 60, size=SIZE, spots=2)
    return path, settings_of(predictor, table)
