"""The same library made on Ray as without it, to the byte; a run that stopped goes on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from piles import SMALL, labelled

from tetrapose.errors import UserError
from tetrapose.triplets.build import build
from tetrapose.triplets.cluster import on_ray
from tetrapose.triplets.library import Library

pytest.importorskip("ray", reason="tetrapose[cluster] is not installed")
pytest.importorskip("pyarrow", reason="tetrapose[triplets] is not installed")


def digests(root: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.glob("shards/*.tar"))
    }


@pytest.fixture(scope="module")
def one_core():
    """Ray on this machine with a single worker; its own warnings are not ours."""
    import logging

    import ray

    ray.init(
        num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        object_store_memory=80 * 2**20,
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_ray_makes_the_same_bytes_and_goes_on(tmp_path, one_core):
    spec = labelled(tmp_path / "set", 10)
    settings = replace(SMALL, part=4)
    plain = build([spec], tmp_path / "plain", settings)
    told = []

    class Stopped(Exception):
        pass

    def stop(part, did):
        told.append((part, did.items))
        raise Stopped

    with pytest.raises(Stopped):
        build([spec], tmp_path / "ray", settings, tell=stop, runner=on_ray)
    left = Library(tmp_path / "ray").parts_written()
    assert left
    again = build(
        [spec],
        tmp_path / "ray",
        settings,
        runner=on_ray,
        tell=lambda p, d: told.append((p, d.items)),
    )
    assert again.done == plain.done - len(left)
    assert again.about["counts"] == plain.about["counts"]
    assert digests(tmp_path / "ray") == digests(tmp_path / "plain") != {}
    assert again.clock.pictures["draw"] == sum(
        1 for part, _ in told if part not in left for _ in range(4 if part < 2 else 2)
    )


def test_no_workers_is_told():
    with pytest.raises(UserError, match="workers 0"):
        on_ray(None, workers=0)  # pyright: ignore
