"""Identities: laws of the tracker, and films of crossing animals beside a plain IoU tracker."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tetrapose import skeletons
from tetrapose.evaluation.tracks import Step, track_figures
from tetrapose.geometry import box_iou
from tetrapose.synth.crossing import HIDDEN, crossing, sighted
from tetrapose.tracking import motion
from tetrapose.tracking.similarity import near, pose_similarity
from tetrapose.tracking.tracker import PLAIN, Detections, Rules, Tracker

SIGMAS = skeletons.load("ap10k").sigmas
K = len(SIGMAS)


def seen(*boxes, score=0.9):
    boxes = np.array(boxes, dtype=float).reshape(-1, 4)
    spots = np.random.default_rng(0).random((K, 2))
    points = boxes[:, None, :2] + spots * (boxes[:, 2:] - boxes[:, :2])[:, None]
    scores = np.broadcast_to(np.asarray(score, dtype=float), (len(boxes),)).copy()
    return Detections(boxes, scores, points, np.full((len(boxes), K), 0.8))


def box(x, y=100.0, side=50.0):
    return [x, y, x + side, y + side]


def follow(frames, rules=None):
    """Ids of each frame's detections, 0 for nobody's."""
    tracker = Tracker(SIGMAS, rules or Rules())
    rows = [tracker.step(clock, one) for clock, one in enumerate(frames)]
    return [[tracker.ids().get(int(s), 0) for s in serials] for serials in rows]


def test_two_that_walk_keep_their_names_whatever_the_order_they_are_told_in():
    frames = [seen(box(10 + 3 * t), box(300 - 3 * t)) for t in range(20)]
    assert follow(frames) == [[1, 2]] * 20
    turned = [seen(*(f.bboxes[::-1] if t % 2 else f.bboxes)) for t, f in enumerate(frames)]
    assert follow(turned) == [[2, 1] if t % 2 else [1, 2] for t in range(20)]


def test_what_flickers_up_is_nobody_and_unsure_boxes_begin_nothing():
    frames = [seen(box(10), box(300)) if t == 5 else seen(box(10)) for t in range(12)]
    assert follow(frames)[5] == [1, 0]
    assert {i for row in follow(frames) for i in row} == {0, 1}
    assert follow([seen(box(10), score=0.3)] * 5) == [[0]] * 5
    unsure = [seen(box(10), score=0.3 if t > 2 else 0.9) for t in range(8)]
    assert follow(unsure) == [[1]] * 8  # but they go on what is there


def test_a_gap_is_bridged_up_to_patience():
    def film(gap):
        there = [seen(box(10 + 4 * t)) for t in range(10)]
        back = [seen(box(10 + 4 * (10 + gap + t))) for t in range(4)]
        return there + [seen()] * gap + back

    assert follow(film(8))[-1] == [1]
    assert follow(film(8), Rules(patience=5))[-1] == [2]


def test_an_uneven_clock_is_what_motion_goes_by():
    clocks = np.cumsum(np.tile([1.0, 3.0, 0.5], 6))
    tracker = Tracker(SIGMAS)
    for clock in clocks:
        tracker.step(clock, seen(box(10 + 5 * clock)))
    serials, boxes = tracker.ahead(clocks[-1] + 4)
    assert serials.tolist() == [1]
    assert boxes[0, 0] == pytest.approx(10 + 5 * (clocks[-1] + 4), abs=2)


def test_one_gone_on_from_its_state_is_the_same_to_the_bit():
    sightings = sighted(crossing(3, 3, 80), 3)
    frames = [Detections(s.bboxes, s.scores, s.keypoints, s.sure) for s in sightings]
    whole, first = Tracker(SIGMAS), Tracker(SIGMAS)
    rows = [whole.step(t, f).tolist() for t, f in enumerate(frames)]
    for t in range(40):
        first.step(t, frames[t])
    second = Tracker(SIGMAS)
    second.restore(json.loads(json.dumps(first.state())))
    assert [second.step(t, frames[t]).tolist() for t in range(40, 80)] == rows[40:]
    assert second.state() == whole.state()
    assert json.dumps(second.state()) == json.dumps(whole.state())


def test_what_is_kept_does_not_grow_with_the_film():
    tracker, sizes = Tracker(SIGMAS), []
    for t in range(400):
        tracker.step(t, seen(box(10), box(200 + (t % 7) * 60, 300)))
        sizes.append(len(tracker.state()["tracks"]))
    assert max(sizes) == max(sizes[:60])


def test_followed_boxes_keep_the_serials_they_came_with():
    tracker = Tracker(SIGMAS)
    tracker.step(0, seen(box(10), box(200)))
    serials, _ = tracker.ahead(1)
    assert tracker.step(1, seen(box(200)), known=serials[1:]).tolist() == [2]
    assert tracker.ahead(2)[0].tolist() == [2]
    tracker.step(2, seen())
    assert tracker.ahead(3)[0].size == 0


def test_motion_finds_a_steady_pace():
    state = motion.start(np.array(box(0.0)))
    for t in range(1, 30):
        state = motion.update(motion.predict(state, 1), np.array(box(2.0 * t)))
    np.testing.assert_allclose(motion.predict(state, 10).box, box(2.0 * 39), atol=1.5)
    assert (np.linalg.eigvalsh(state.cov) > 0).all()
    later = motion.predict(state, 5)
    assert (later.cov[:, 0, 0] > state.cov[:, 0, 0]).all()


def test_pose_tells_apart_what_boxes_do_not():
    one = seen(box(10)).keypoints
    turned = one.copy()
    turned[..., 0] = one[..., 0].max() + one[..., 0].min() - one[..., 0]
    both = np.concatenate([one, turned])
    likeness = pose_similarity(one, both, np.array([2500.0]), SIGMAS)
    assert likeness[0, 0] == pytest.approx(1)
    assert likeness[0, 1] < 0.5
    lacking = one.copy()
    lacking[:, : K // 2] = np.nan
    assert pose_similarity(one, lacking, np.array([2500.0]), SIGMAS)[0, 0] == pytest.approx(1)
    assert pose_similarity(one, lacking * np.nan, np.array([2500.0]), SIGMAS)[0, 0] == 0


def test_near_falls_with_distance_and_size():
    here = np.array([box(0.0)])
    others = np.array([box(0.0), box(20.0), box(60.0), box(0.0, side=150.0)])
    values = near(here, others, np.array([0.5]))[0]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2]
    assert values[3] < 0.3


def figures(animals, seed, rules):
    moments = crossing(seed, animals, 150)
    sightings = sighted(moments, seed)
    tracker = Tracker(SIGMAS, rules)
    rows = [
        tracker.step(t, Detections(s.bboxes, s.scores, s.keypoints, s.sure))
        for t, s in enumerate(sightings)
    ]
    ids, steps = tracker.ids(), []
    for moment, one, serials in zip(moments, sightings, rows, strict=True):
        named = np.array([ids.get(int(s), 0) for s in serials])
        there = np.flatnonzero(moment.seen >= HIDDEN)
        iou = box_iou(moment.bboxes[there], one.bboxes[named > 0])
        steps.append(Step(there, named[named > 0], iou))
    return track_figures(steps)


def test_crossing_animals_are_mixed_up_less_than_by_a_plain_tracker():
    ours = [figures(animals, seed, Rules()) for animals in (2, 4) for seed in range(5)]
    plain = [figures(animals, seed, PLAIN) for animals in (2, 4) for seed in range(5)]
    assert sum(f.switches for f in ours) < sum(f.switches for f in plain)
    assert np.mean([f.idf1 for f in ours]) > np.mean([f.idf1 for f in plain])


def test_crossing_films_are_what_they_say():
    moments = crossing(1, 3, 60)
    again = crossing(1, 3, 60)
    assert all((a.keypoints == b.keypoints).all() for a, b in zip(moments, again, strict=True))
    for moment, one in zip(moments, sighted(moments, 1), strict=True):
        assert ((moment.seen >= 0) & (moment.seen <= 1)).all()
        assert (moment.seen[one.animal[one.animal >= 0]] >= HIDDEN).all()
        points = moment.keypoints
        low, high = moment.bboxes[:, None, :2], moment.bboxes[:, None, 2:]
        assert ((points >= low) & (points <= high)).all()
