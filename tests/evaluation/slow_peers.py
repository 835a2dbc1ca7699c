"""DeepLabCut's and Ultralytics' average precision, slowly, one pair at a time, from their formulas.

Written from the rules that ``tetrapose.evaluation.nearest`` names, without its code.
"""

from __future__ import annotations

import math

import numpy as np

LEVELS = [0.5 + 0.05 * i for i in range(10)]


def deeplabcut(pictures, sigma=0.1):
    """(AP, AR, pixel error): pictures are (labels, guesses), each (n, K, 3) with x, y, flag/score.

    A label's flag 0 is not labelled; guesses with NaN places were not found.
    """
    total, scored, far = 0, [], []
    for labels, guesses in pictures:
        labels = [g for g in labels if sum(p[2] > 0 for p in g) > 1]
        guesses = [g for g in guesses if sum(not math.isnan(p[0]) for p in g) > 1]
        guesses.sort(key=lambda g: -_mean_score(g))
        total += len(labels)
        likeness = [[_dlc_oks(guess, label, sigma) for label in labels] for guess in guesses]
        best = []
        for row in likeness:
            known = [(value, -j) for j, value in enumerate(row) if not math.isnan(value)]
            best.append(max(known, default=None))
        scored.append(([_mean_score(g) for g in guesses], best))
        taken = set()
        for guess, found in zip(guesses, best, strict=True):
            if found and found[0] >= 1e-6 and -found[1] not in taken:
                taken.add(-found[1])
                label = labels[-found[1]]
                far += [
                    math.dist(p[:2], q[:2])
                    for p, q in zip(guess, label, strict=True)
                    if q[2] > 0 and not math.isnan(p[0])
                ]
    curves = [_dlc_curve(scored, level, total) for level in LEVELS]
    aps = [_looked_up(recall, precision) for recall, precision in curves]
    ars = [recall[-1] if recall else 0.0 for recall, _ in curves]
    return sum(aps) / 10, sum(ars) / 10, (sum(far) / len(far) if far else math.nan)


def _dlc_curve(scored, level, total):
    marks = []
    for scores, best in scored:
        taken = set()
        for score, found in zip(scores, best, strict=True):
            hit = bool(found) and found[0] >= level and found[1] not in taken
            if hit:
                taken.add(found[1])
            marks.append((score, hit))
    marks.sort(key=lambda mark: -mark[0])
    return _curve([hit for _, hit in marks], total)


def _looked_up(recall, precision):
    heights = []
    for step in range(101):
        reached = [p for r, p in zip(recall, precision, strict=True) if r >= step / 100 - 1e-12]
        heights.append(max(reached, default=0.0))
    return sum(heights) / 101


def _dlc_oks(guess, label, sigma):
    points = [(p, q) for p, q in zip(guess, label, strict=True) if q[2] > 0]
    xs, ys = [q[0] for _, q in points], [q[1] for _, q in points]
    area = (max(xs) - min(xs)) * (max(ys) - min(ys))
    if area <= 1e-8:
        return math.nan
    terms = [
        0.0
        if math.isnan(p[0])
        else math.exp(-(math.dist(p[:2], q[:2]) ** 2) / (2 * area * (2 * sigma) ** 2))
        for p, q in points
    ]
    return sum(terms) / len(terms)


def _mean_score(guess):
    found = [p[2] for p in guess if not math.isnan(p[0])]
    return sum(found) / len(found)


def _curve(hits, total):
    recall, precision, so_far = [], [], 0
    for number, hit in enumerate(hits, 1):
        so_far += hit
        recall.append(so_far / total)
        precision.append(so_far / number)
    return recall, precision


def ultralytics(pictures, sigmas):
    """AP by level: pictures are (labels, boxes, classes), (guesses, scores, classes).

    Labels (n, K, 3) with a flag; boxes x1 y1 x2 y2. Instances without points take one guess of
    their class in their doubled box out of the count.
    """
    kinds = sorted(
        {
            c
            for (labels, _, classes), _ in pictures
            for g, c in zip(labels, classes, strict=True)
            if _bare(g) is False
        }
    )
    means = []
    for level in LEVELS:
        each = []
        for kind in kinds:
            marks, total = [], 0
            for truth, guessed in pictures:
                found, count = _one_picture(truth, guessed, sigmas, kind, level)
                marks += found
                total += count
            marks.sort(key=lambda mark: -mark[0])
            each.append(_drawn_area([hit for _, hit in marks], total))
        means.append(sum(each) / len(each))
    return means


def _bare(label):
    return all(p[2] == 0 for p in label)


def _one_picture(truth, guessed, sigmas, kind, level):
    mine = [(g, b) for g, b, c in zip(*truth, strict=True) if c == kind]
    full = [(g, b) for g, b in mine if not _bare(g)]
    bare = [b for g, b in mine if _bare(g)]
    guesses = [(g, s) for g, s, c in zip(*guessed, strict=True) if c == kind]
    guesses.sort(key=lambda pair: -pair[1])
    taken, absorbed, marks, left = set(), set(), [], []
    for guess, score in guesses:
        values = [_ultra_oks(guess, label, box, sigmas) for label, box in full]
        best = int(np.argmax(values)) if values else -1
        hit = best >= 0 and values[best] >= level and best not in taken
        if hit:
            taken.add(best)
        left.append((guess, score, hit))
    for guess, score, hit in left:
        if not hit:
            values = [
                -1.0 if j in absorbed else _ultra_outside(guess, box, sigmas)
                for j, box in enumerate(bare)
            ]
            if values and max(values) >= level:
                absorbed.add(int(np.argmax(values)))
                continue
        marks.append((score, hit))
    return marks, len(full)


def _area(box):
    return 0.53 * (box[2] - box[0]) * (box[3] - box[1])


def _ultra_oks(guess, label, box, sigmas):
    total, number = 0.0, 0
    for p, q, sigma in zip(guess, label, sigmas, strict=True):
        if q[2] > 0:
            number += 1
            if not math.isnan(p[0]):
                squared = math.dist(p[:2], q[:2]) ** 2
                total += math.exp(-squared / ((2 * sigma) ** 2 * (_area(box) + 1e-7) * 2))
    return total / (number + 1e-7)


def _ultra_outside(guess, box, sigmas):
    low, high = np.array(box[:2]), np.array(box[2:])
    side = high - low
    total = 0.0
    for p, sigma in zip(guess, sigmas, strict=True):
        if not math.isnan(p[0]):
            place = np.array(p[:2])
            out = np.maximum(low - side - place, 0) + np.maximum(place - high - side, 0)
            total += math.exp(-(out @ out) / ((2 * sigma) ** 2 * (_area(box) + 1e-7) * 2))
    return total / len(sigmas)


def _drawn_area(hits, total):
    """Trapezia over 101 recalls of the straight lines between the points of the curve."""
    if not hits:
        return 0.0
    recall, precision = _curve(hits, total)
    recall = [0.0, *recall, recall[-1], 1.0]
    precision = [1.0, *precision, 0.0, 0.0]
    for i in range(len(precision) - 1, 0, -1):
        precision[i - 1] = max(precision[i - 1], precision[i])
    heights = []
    for step in range(101):
        x = step / 100
        if x >= recall[-1]:
            heights.append(precision[-1])
            continue
        i = max(j for j in range(len(recall)) if recall[j] <= x)
        share = (x - recall[i]) / (recall[i + 1] - recall[i])
        heights.append(precision[i] + share * (precision[i + 1] - precision[i]))
    return sum((a + b) / 2 for a, b in zip(heights[:-1], heights[1:], strict=True)) / 100
