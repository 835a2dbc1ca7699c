"""Networks that fit into a test."""

from __future__ import annotations

import checkpoints as made
import pytest
from torch import nn

from tetrapose.models import vitpose as vit


@pytest.fixture(scope="module")
def hrnet() -> nn.Module:
    return made.small_hrnet()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ViTPose that fits into a test, among the sizes that are known."""
    monkeypatch.setitem(vit.SIZES, "tiny", (16, 2, 2, 0.0))
