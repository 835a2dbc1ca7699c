"""The same library made on Ray as without it, to the byte; a run that stopped goes on."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from piles import SMALL, labelled

from tetrapose.errors import UserError
from tetrapose.triplets.build import build
from tetrapose.triplets.cluster import on_ray
from tetrapose.triplets.library import Library

pytest.importorskip("pyarrow", reason="tetrapose[triplets] is not installed")


def digests(root: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.glob("shards/*.tar"))
    }


asked = pytest.mark.skipif(
    "TETRAPOSE_RAY" not in os.environ,
    reason="starts Ray: TETRAPOSE_RAY=1 pytest tests/triplets/test_triplet_cluster.py",
)


@pytest.fixture(scope="module")
def one_core():
    """Ray on this machine with a single worker; its own warnings are not ours."""
    import logging

    ray = pytest.importorskip("ray", reason="tetrapose[cluster] is not installed")
    ray.init(
        num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        object_store_memory=80 * 2**20,
    )  # fmt: skip
    yield
    ray.shutdown()


@asked
@pytest.mark.filterwarnings("ignore")
def test_ray_goes_on_with_what_was_begun_to_the_same_bytes(tmp_path, one_core):
    spec = labelled(tmp_path / "set", 10)
    settings = replace(SMALL, part=4)
    plain = build([spec], tmp_path / "plain", settings)

    class Stopped(Exception):
        pass

    def stop(part, did):
        raise Stopped

    with pytest.raises(Stopped):
        build([spec], tmp_path / "ray", settings, tell=stop)
    left = len(Library(tmp_path / "ray").parts_written())
    assert 0 < left < 3
    told = []
    again = build(
        [spec], tmp_path / "ray", settings, runner=on_ray, tell=lambda *now: told.append(now)
    )
    assert sorted((part, did.items) for part, did in told) == [(1, 4), (2, 2)][left - 1 :]
    assert (again.done, again.about["counts"]) == (3 - left, plain.about["counts"])
    assert digests(tmp_path / "ray") == digests(tmp_path / "plain") != {}
    assert again.clock.pictures["draw"] == 10 - 4 * left


def test_no_workers_is_told():
    with pytest.raises(UserError, match="workers 0"):
        on_ray(None, workers=0)  # pyright: ignore
