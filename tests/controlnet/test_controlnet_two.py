"""Two processes that train together, against one that takes their batches one after another."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")

import two_processes  # noqa: E402

from tetrapose.controlnet import training  # noqa: E402
from tetrapose.controlnet.folder import alone, read_card, read_checkpoint  # noqa: E402
from tetrapose.errors import UserError  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def losses(folder):
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_library, tmp_path_factory):
    """The folder of a run by two processes, begun as torchrun begins them."""
    out = tmp_path_factory.mktemp("pair") / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    words = [sys.executable, two_processes.__file__, str(tiny_base), str(tiny_library), str(out)]
    both = [
        subprocess.Popen(
            words, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        told = [one.communicate(timeout=300)[0] for one in both]
    finally:
        for one in both:
            one.kill()
    assert [one.returncode for one in both] == [0, 0], "\n".join(told)
    return out


def test_two_that_were_stopped_learn_to_the_bit_what_one_learns_in_one_go(
    pair, tiny_base, tiny_library, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "_loss", training._loss)
    two_processes.spoil(4, rank=0)  # the second batch of the second step: the other process's
    alone = replace(two_processes.settings(str(tiny_base)), accumulate=2)
    card = training.train([tiny_library], tmp_path / "one", alone)
    one, two = read_checkpoint(tmp_path / "one"), read_checkpoint(pair)
    for part in ("weights", "average"):
        assert one[part].keys() == two[part].keys()
        assert all(torch.equal(one[part][name], two[part][name]) for name in one[part])
    assert losses(pair) == pytest.approx(losses(tmp_path / "one"), rel=1e-6)
    assert len(losses(pair)) == 4
    # six batches an epoch and five steps: the fourth of two opens the second epoch
    assert two["position"] == [1, 2]
    assert one["position"] == [1, 4]
    both = read_card(pair / "controlnet")
    for name in ("steps", "pictures_seen", "skipped", "back", "unreadable"):
        assert both[name] == card[name], name
    assert (both["skipped"], both["back"]) == (1, 0)
    # at the end of either half; the second process does not wait for what the first paints
    assert (pair / "validation.html").read_text().count("data:image/jpeg") == 2


def test_processes_that_do_not_know_of_one_another_are_refused(
    tiny_base, tiny_library, tmp_path, monkeypatch
):
    # accelerate's state is there by now: of one process
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    with pytest.raises(UserError, match="2 processes were begun that do not know of one another"):
        training.train([tiny_library], tmp_path / "run", two_processes.settings(str(tiny_base)))
    assert not (tmp_path / "run").exists()


HOLDS = """
import sys, time
from pathlib import Path
from tetrapose.controlnet.folder import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_that_another_process_trains_in_is_left_alone(tiny_base, tiny_library, tmp_path):
    words = [sys.executable, "-c", HOLDS, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(UserError, match="another process is training there"):
                training.train(
                    [tiny_library], tmp_path / "run", two_processes.settings(str(tiny_base))
                )
        finally:
            other.kill()
    with alone(tmp_path / "run"):  # a killed one holds nothing
        pass


def test_a_run_of_two_is_no_run_of_one(pair, tiny_base, tiny_library):
    with pytest.raises(UserError, match="processes: 2 there, 1 here"):
        training.train([tiny_library], pair, two_processes.settings(str(tiny_base)))
