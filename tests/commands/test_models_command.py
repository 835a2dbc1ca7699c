"""`tetrapose models`: what is listed is what is built."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

from tetrapose import cli
from tetrapose.commands import models
from tetrapose.weights import zoo

CHEAP = ["efficientnet_lite0", "finder", "hourglass_2", "vitpose_s"]


@pytest.fixture(scope="module")
def facts() -> dict[str, models.Facts]:
    networks = models.available()
    return {name: models.facts_of(networks[name], models.KEPT_SIZE) for name in CHEAP}


def test_every_network_of_the_configuration_is_there() -> None:
    networks = models.available()
    assert {"small", "cpm", "cpm_paper", "hourglass_8", "hrnet_w18", "hrnet_w32_parts"} <= set(
        networks
    )
    assert {f"vitpose_{s}{h}" for s in "sblh" for h in ("", "_simple")} <= set(networks)
    assert all(network.words for network in networks.values())


def test_costs_that_are_kept_are_those_that_are_counted() -> None:
    counted = {n: models.count(one, models.KEPT_SIZE) for n, one in models.available().items()}
    lines = "\n".join(f"{n}: {json.dumps(asdict(cost))}" for n, cost in counted.items())
    assert models._kept_costs() == counted, f"model_costs.yaml should hold\n{lines}"


def test_the_whole_list_is_not_counted_anew(monkeypatch, capsys) -> None:
    def never(*_: object) -> None:
        raise AssertionError("counted")

    monkeypatch.setattr(models, "count", never)
    assert cli.main(["models"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(models.available()) + 3


def test_costs_are_counted_by_hand_the_same(facts) -> None:
    """ViTPose-S by its formula: patches, four products a block and the attention, the head."""
    tokens, channels, blocks = 192, 384, 12
    head = 4 * tokens * 4 * channels * 256 + 16 * tokens * 4 * 256 * 256 + 16 * tokens * 256 * 17
    body = tokens * channels * 3 * 256
    body += blocks * (12 * tokens * channels**2 + 2 * tokens**2 * channels)
    row = facts["vitpose_s"]
    assert row.gmacs == pytest.approx((body + head) / 1e9, rel=1e-6)
    assert row.gflops == 2 * row.gmacs
    assert row.parameters == 24_290_577


def test_strides_and_places_of_teaching(facts) -> None:
    assert facts["finder"].strides == (8, 16, 32)
    assert facts["hourglass_2"].strides == (4,)
    assert facts["hourglass_2"].outputs == 2
    assert facts["vitpose_s"].outputs == 1


def test_weights_are_those_that_fit(facts) -> None:
    assert facts["efficientnet_lite0"].weights == ("imagenet:efficientnet_lite0",)
    assert "imagenet:efficientnet_lite0" in facts["finder"].weights
    assert facts["hourglass_2"].weights == ()
    assert "vitpose_s_ap10k" in facts["vitpose_s"].published
    shipped = [models.weights_of(network) for network in models.available().values()]
    assert sum("default" in names for names in shipped) == 1


def test_every_published_file_belongs_to_a_network() -> None:
    networks = models.available()
    strangers = [name for name in zoo.entries() if models.network_of(name) not in networks]
    assert strangers == []
    assert models.network_of("superanimal_quadruped_hrnet_w32") == "hrnet_w32"
    assert models.network_of("imagenet_resnet18") == "simple_baseline_18"
    assert models.network_of("vitpose_plus_h_backbone") == "vitpose_h"
    assert models.network_of("mine") is None


def test_the_list_and_one_in_detail(capsys) -> None:
    assert cli.main(["models", "efficientnet_lite0", "vitpose_s"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["network", "parameters", "GMACs", "GFLOPs", "stride", "weights"]
    assert [line.split()[0] for line in lines[1:3]] == ["efficientnet_lite0", "vitpose_s"]
    assert "papers print MACs as FLOPs" in lines[-1]
    assert cli.main(["models", "hourglass_2", "--size", "96", "128"]) == 0
    told = capsys.readouterr().out
    assert "taught at   2 outputs" in told
    assert "6,731,682" in told
    assert "96 x 128" in told


def test_speed_is_measured_on_request(capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    command = ["models", "efficientnet_lite0", "--measure", "--batch", "1", "--threads", "1"]
    assert cli.main([*command, "--size", "64", "64", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["pictures_per_second"] > 0
    assert row["input_size"] == [64, 64]
    assert row["weights"] == ["imagenet:efficientnet_lite0"]


@pytest.mark.parametrize(
    "words, told",
    [
        (["hrnet_w33"], "no network 'hrnet_w33'; did you mean hrnet_w32?"),
        (["--size", "100", "64"], "multiples of 32"),
        (["--size", "32", "32"], "at least 64"),
        (["small", "--batch", "0"], "--batch must be 1 or more"),
        (["small", "--threads", "0"], "--threads must be 1 or more"),
    ],
)
def test_wrong_use_is_told_in_one_line(words: list[str], told: str, capsys) -> None:
    assert cli.main(["models", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
