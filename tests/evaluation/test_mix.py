"""Several sets as one mix: parts, weights, and the arithmetic of the overall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tetrapose.evaluation import mix, oks
from tetrapose.evaluation.predictions import in_given_boxes
from tetrapose.evaluation.protocols import PROTOCOLS, protocol
from tetrapose.evaluation.score import score, side_by_side


def made(made_up, seed, *, noise=4.0, **options):
    make_set, near = made_up
    pose_set = make_set(seed, **options)
    return pose_set, in_given_boxes(pose_set, *near(pose_set, noise))


def results_of(parts):
    return {p.name: score(p.truth, p.predictions, p.rules) for p in parts}


def test_species_can_count_as_sets(made_up):
    pose_set, rows = made(made_up, 3)
    tigdog = replace(pose_set, species_names=("horse", "tiger", "none"))
    parts = mix.parts_of("tigdog", tigdog, rows, protocol(), species_apart=True)
    assert [p.name for p in parts] == ["tigdog_horse", "tigdog_tiger", "tigdog_none"]
    assert sum(len(p.truth) for p in parts) == len(pose_set)
    whole = score(pose_set, rows, protocol())
    for part, (name, figures) in zip(parts, whole["per_species"].items(), strict=True):
        own = score(part.truth, part.predictions, part.rules)
        for key in (*oks.FIGURES, "pck", "nme", "oks", "swap_rate"):
            assert own[key] == figures[key], (name, key)
    (one,) = mix.parts_of("ap10k", pose_set, rows, protocol())
    assert one.truth is pose_set


def test_a_species_keeps_the_pictures_where_it_was_wrongly_seen(made_up):
    pose_set, rows = made(made_up, 3)
    stray = np.flatnonzero(rows.species != 0)[0]
    species = rows.species.copy()
    species[stray] = 0
    instance = rows.instance.copy()
    instance[stray] = -1
    rows = replace(rows, species=species, instance=instance)
    truth, guessed = mix.only(pose_set, rows, 0)
    assert pose_set.files[rows.image[stray]] in truth.files
    ours = oks_of(truth, guessed)
    assert ours == pytest.approx(score(pose_set, rows, protocol())["per_species"]["dog"]["AP"])


def oks_of(truth, guessed):
    return score(truth, guessed, protocol())["AP"]


def test_overall_is_weighted_by_animals(made_up):
    sets = {
        "a": made(made_up, 1, instances=40),
        "b": made(made_up, 2, instances=10, skeleton="ap10k", noise=12.0),
    }
    parts = [p for k, (t, r) in sets.items() for p in mix.parts_of(k, t, r, PROTOCOLS["seed001"])]
    results = results_of(parts)
    got = mix.overall(results)
    n, m = 40 - 2, 10 - 2  # a crowd and an instance without labels in each
    assert got["weights"] == {"a": n, "b": m}
    a, b = results["a"], results["b"]
    assert a["AP"] != b["AP"]
    assert got["AP"] == pytest.approx((n * a["AP"] + m * b["AP"]) / (n + m))
    for key in ("box_area", "heatmap"):
        pair = a["pck"][key]["0.05"], b["pck"][key]["0.05"]
        assert got["pck"][key]["0.05"] == pytest.approx((n * pair[0] + m * pair[1]) / (n + m))
    assert got["headline"]["value"] == pytest.approx(got["pck"]["box_area"]["0.05"])
    assert got["counts"]["keypoints"] == a["counts"]["keypoints"] + b["counts"]["keypoints"]


def test_a_set_without_a_figure_does_not_weigh_in_it(made_up):
    truth, rows = made(made_up, 1)
    results = results_of(mix.parts_of("a", truth, rows, protocol()))
    small = replace(truth, areas=np.full(len(truth), 500.0))  # below what COCO calls medium
    results |= results_of(mix.parts_of("b", small, rows, protocol()))
    assert results["b"]["APM"] == -1
    got = mix.overall(results)
    assert got["APL"] == pytest.approx(results["a"]["APL"])
    bare = truth.select_instances(np.zeros(len(truth), bool))
    none = in_given_boxes(bare, bare.keypoints, np.zeros(bare.keypoints.shape[:2]))
    empty = mix.overall(results_of(mix.parts_of("c", bare, none, protocol())))
    assert empty["AP"] == -1
    assert empty["nme"] is None


def test_heads_of_every_protocol(made_up):
    sets = {name: made(made_up, seed) for seed, name in enumerate("ab")}
    each = {
        name: side_by_side(truth, rows, list(PROTOCOLS.values()))
        for name, (truth, rows) in sets.items()
    }
    weights = {"a": 3, "b": 1}
    for key in PROTOCOLS:
        got = mix.heads({name: one[key] for name, one in each.items()}, weights)
        assert got["AP"] == pytest.approx(0.75 * each["a"][key]["AP"] + 0.25 * each["b"][key]["AP"])
        if each["a"][key]["headline"]:
            values = [each[name][key]["headline"]["value"] for name in "ab"]
            assert got["headline"]["value"] == pytest.approx(np.average(values, weights=[3, 1]))


def test_names_differ():
    assert mix.names_of(["coco", "coco", "x", "coco"]) == ["coco", "coco 2", "x", "coco 3"]
