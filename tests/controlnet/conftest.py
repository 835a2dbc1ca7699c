"""One miniature of Stable Diffusion and one library for all tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_sd


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    pytest.importorskip("diffusers")
    return tiny_sd.base(tmp_path_factory.mktemp("sd") / "tiny")


@pytest.fixture(scope="session")
def tiny_xl(tmp_path_factory) -> Path:
    pytest.importorskip("diffusers")
    return tiny_sd.base_xl(tmp_path_factory.mktemp("sdxl") / "tiny")


@pytest.fixture(scope="session")
def tiny_library(tmp_path_factory) -> Path:
    pytest.importorskip("pyarrow")
    return tiny_sd.library(tmp_path_factory.mktemp("triplets"))
