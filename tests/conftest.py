"""What every test shares: one thread each, no network, and the real data where it is at hand."""

from __future__ import annotations

import os
import socket
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: workers share the cores
os.environ.setdefault("MPLBACKEND", "Agg")

import cv2
import hypothesis
import miniatures
import pytest
import torch

from tetrapose.cli import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]

keep_freed_memory()
torch.set_num_threads(1)
cv2.setNumThreads(1)
hypothesis.settings.register_profile(
    "tetrapose", deadline=None, derandomize="CI" in os.environ, max_examples=50
)
hypothesis.settings.load_profile("tetrapose")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled pictures; skips the test where the machine has none.

    TETRAPOSE_SHARED names it; else it is looked for beside the repository.
    """
    folder = Path(os.environ.get("TETRAPOSE_SHARED") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (TETRAPOSE_SHARED may name it)")
    return folder


@pytest.fixture
def tiny_animal_pose(tmp_path: Path) -> Path:
    """A folder in Animal-Pose's layout: 4 pictures, 4 animals."""
    return miniatures.animal_pose(tmp_path / "animal_pose")


@pytest.fixture
def tiny_akd_cats(tmp_path: Path) -> Path:
    """A folder in the AKD cats' layout: 4 pictures, 3 cats."""
    return miniatures.akd_cats(tmp_path / "akd_cats")


@pytest.fixture
def tiny_coco(tmp_path: Path) -> Path:
    """A COCO label file of AP-10K's points beside its images/: 4 pictures, 4 animals."""
    return miniatures.coco(tmp_path / "coco")


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    """A test that reaches beyond this machine fails, wherever it runs."""
    connect = socket.socket.connect

    def guarded(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] != "127.0.0.1":
            raise AssertionError(f"a test tried to reach {address[0]}: the suite runs offline")
        return connect(self, address, *rest)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()
