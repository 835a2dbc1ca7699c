"""What a figure was measured with: every result carries its protocol, for figures differ by it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np

from tetrapose import geometry
from tetrapose.errors import UserError
from tetrapose.evaluation import oks, pck
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet

SCORE_FLOOR = 0.2
# by place, whatever the points are: github.com/ultralytics/ultralytics utils/metrics.py OKS_SIGMA
PERSON_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
    0.087, 0.087, 0.089, 0.089,
)  # fmt: skip


@dataclass(frozen=True)
class Headline:
    """The figure that stands beside AP in a protocol's source.

    ``kind`` is "pck" by a definition, threshold and mean, or "pixels": the mean pixel error of
    predictions matched by likeness.
    """

    kind: Literal["pck", "pixels"]
    definition: str = ""
    threshold: float = 0.05
    mean: str = ""

    @property
    def name(self) -> str:
        """How a table calls it."""
        if self.kind == "pixels":
            return "pixel error (RMSE)"
        return f"PCK@{self.threshold} {self.definition}, mean over {self.mean}"


@dataclass(frozen=True)
class Protocol:
    """All that has to be equal before two results may be compared.

    ``sigmas`` names what ``sigmas_of`` knows; of several names the first that the skeleton has.
    ``area``, ``matching``, ``ranking`` and ``pooling`` are keys of the tables of words below.
    ``boxes`` and ``instance_score`` say in words where predictions came from and how one is scored;
    ``flip_test`` and ``decoder`` are None where nobody knows (predictions read from a file).
    ``source`` is the code whose figures these are, ``differs`` where ours depart from it.
    """

    name: str
    pooling: Literal["macro", "pooled"]
    sigmas: str | tuple[str, ...] = "own"
    area: Literal["set", "box", "extent", "box053"] = "set"
    matching: Literal["coco", "dlc", "ultralytics"] = "coco"
    ranking: Literal["instance", "keypoints"] = "instance"
    headline: Headline | None = None
    source: str = "pycocotools, COCOeval with iouType 'keypoints'"
    differs: str = ""
    boxes: str = "given: each labelled instance is predicted in its own bbox"
    instance_score: str = f"mean of the keypoint scores above {SCORE_FLOOR}, times the bbox score"
    pairing: str = "by row: each prediction belongs to the instance whose bbox it was made in"
    flip_test: bool | None = None
    decoder: str | None = None
    notes: tuple[str, ...] = field(default=())

    def describe(self, skeleton: Skeleton) -> dict[str, Any]:
        """The protocol as plain values, every rule spelled out."""
        name = sigma_set(skeleton, self.sigmas)
        values = sigmas_of(skeleton, name)
        ranges = oks.AREA_RANGES.items() if self.matching == "coco" else ()
        return {
            "name": self.name,
            "source": self.source,
            "differs": self.differs,
            "pooling": POOLING[self.pooling],
            "skeleton": skeleton.name,
            "sigmas": {
                "set": name,
                "source": skeleton.source.get("sigmas", "") if name == "own" else "",
                "values": dict(zip(skeleton.names, values.tolist(), strict=True)),
            },
            "area": {"rule": self.area, "means": AREAS[self.area]},
            "area_ranges": {key: list(limits) for key, limits in ranges if key != "all"},
            "oks_thresholds": [round(float(t), 2) for t in oks.THRESHOLDS],
            "matching": MATCHING[self.matching],
            "average_precision": INTEGRATION[self.matching],
            "max_detections": oks.MAX_DETECTIONS if self.matching == "coco" else None,
            "not_counted": NOT_COUNTED[self.matching],
            "ranking": RANKING[self.ranking],
            "headline": self.headline.name if self.headline else "",
            "boxes": self.boxes,
            "pairing": self.pairing,
            "instance_score": self.instance_score,
            "flip_test": self.flip_test,
            "decoder": self.decoder,
            "pck": {
                key: {
                    "length": d.length, "counts": d.counts, "mean": d.mean, "source": d.source,
                    "differs": d.differs,
                }
                for key, d in pck.DEFINITIONS.items()
            },
            "nme": "mean distance of labelled points found, over the square root of the set's area",
            "notes": list(self.notes),
        }  # fmt: skip


POOLING = {
    "macro": "mean over the species present of each species' figure, as COCO does over categories",
    "pooled": "all species as one category",
}
AREAS = {
    "set": "as the set gives it (its reader says how)",
    "box": "width x height of the bbox",
    "extent": "width x height of the box around the labelled points, no margin",
    "box053": "0.53 x width x height of the bbox",
}
MATCHING = {
    "coco": "by falling score to the nearest free instance, per picture and category",
    "dlc": "by falling score to the nearest instance; where that is taken, to none",
    "ultralytics": "by falling score to the nearest instance; where that is taken, to none",
}
INTEGRATION = {
    "coco": "mean of the precision envelope at 101 recalls",
    "dlc": "mean of the precision envelope at 101 recalls",
    "ultralytics": "area by trapezia at 101 recalls, precision read off the lines between the"
    " points of the curve, which starts at 1 and falls to 0 at the last recall: at most 0.995",
}
NOT_COUNTED = {
    "coco": "crowds and instances without labelled points",
    "dlc": "crowds and instances and predictions with less than two points; an instance whose"
    " labelled points span no area counts and cannot be found",
    "ultralytics": "crowds and instances without labelled points",
}
RANKING = {
    "instance": "by the instance score",
    "keypoints": "by the mean of all keypoint scores",
}

_BOX_GIVEN = (
    "it drops predictions of score below 0.001 and by NMS of their boxes at IoU 0.7, and keeps"
    " the best 300 of a picture: here all that are given count"
)
PROTOCOLS = {
    "coco-macro": Protocol(
        "coco-macro",
        "macro",
        differs="in nothing but rounding (tested to 1e-12)",
    ),
    "coco-pooled": Protocol(
        "coco-pooled",
        "pooled",
        source="pycocotools, with every category made one",
        differs="pycocotools' own switch (useCats=0) gives 0.0 for keypoints, since it then looks"
        " predictions and instances up under different keys; this is what it means",
    ),
    "dlc": Protocol(
        "dlc",
        "pooled",
        sigmas="0.1",
        area="extent",
        matching="dlc",
        ranking="keypoints",
        headline=Headline("pixels"),
        source="DeepLabCut 3.0, deeplabcut/core/metrics (compute_metrics with its defaults)",
        differs="AR50 and AR75 are ours, from its recalls; crowds, which its projects do not have,"
        " are left out; in projects of one animal its pixel error pairs without matching",
    ),
    "ultralytics": Protocol(
        "ultralytics",
        "macro",
        sigmas="ultralytics",
        area="box053",
        matching="ultralytics",
        source="Ultralytics main of September 2026, models/yolo/pose/val.py, utils/metrics.py",
        differs=f"{_BOX_GIVEN}; double precision, where it has single; among equal scores the"
        " file's order decides; its releases before April 2026 (pull request 24174) draw the curve"
        " from the last recall to (1, 0) and score higher, and older ones count instances without"
        " labelled points as missed",
    ),
    "freenet": Protocol(
        "freenet",
        "macro",
        sigmas=("freenet", "scarcenet", "own"),
        area="box",
        headline=Headline("pck", "heatmap", 0.05, "types"),
        source="github.com/yzrs/FreeNet, outer_tools (ScarceNet's): xtcocotools, and accuracy() of"
        " heatmaps",
        differs="its released Animal-Pose files hold corners under the name of x, y, width, height"
        " and areas of x2 * y2, so its published figures are higher; it scores mixes in the union's"
        " skeleton, here each set is scored in its own; it drops predictions of likeness above 0.9"
        " to a better one; for its PCK see pck: heatmap",
    ),
    "seed001": Protocol(
        "seed001",
        "macro",
        sigmas=("seed001", "own"),
        headline=Headline("pck", "box_area", 0.05, "instances"),
        source="github.com/yzrs/FreeNet at bf88336, train_utils/validation_mix.py and"
        " info/keypoints_definition.json",
        differs="instances that were not predicted count as missed in PCK, where it passes over"
        " them",
    ),
}


def protocol(name: str = "coco-macro", **changes: Any) -> Protocol:
    """A named protocol, with fields of it changed."""
    if name not in PROTOCOLS:
        raise UserError(f"no protocol {name!r}; there are: {', '.join(PROTOCOLS)}")
    return replace(PROTOCOLS[name], **changes)


def sigma_set(skeleton: Skeleton, names: str | tuple[str, ...]) -> str:
    """The first of ``names`` that stands for sigmas of the skeleton; UserError tells what does."""
    given = (names,) if isinstance(names, str) else names
    for name in given:
        if name in ("own", "1/K", "ultralytics", *skeleton.sigma_sets) or _uniform(name):
            return name
    known = ("own", *skeleton.sigma_sets)
    near = get_close_matches(given[0], known, n=1) or known
    raise UserError(
        f"skeleton {skeleton.name} has no sigmas {given[0]!r}; choose: {', '.join(near)}"
        " (or 1/K, or one number for all)"
    )


def sigmas_of(skeleton: Skeleton, names: str | tuple[str, ...]) -> np.ndarray:
    """(K,) the sigmas of that name; UserError lists those there are.

    "own", a sigma set of the skeleton, a number for every point ("0.1"), "1/K" for K points, or
    "ultralytics": 1/K, but COCO's for people, in their order, where there are 17 points.
    """
    name = sigma_set(skeleton, names)
    count = len(skeleton)
    if name == "own":
        return skeleton.sigmas
    if name in skeleton.sigma_sets:
        return np.array(skeleton.sigma_sets[name], dtype=np.float64)
    if name == "ultralytics" and count == len(PERSON_SIGMAS):
        return np.array(PERSON_SIGMAS, dtype=np.float64)
    return np.full(count, _uniform(name) or 1 / count)


def _uniform(name: str) -> float | None:
    try:
        value = float(name)
    except ValueError:
        return None
    return value if 0 < value < 1 else None


def areas_of(pose_set: PoseSet, rule: str) -> np.ndarray:
    """(N,) px^2 of the instances by a rule of ``AREAS``; 0 where it gives none."""
    if rule == "set":
        return np.asarray(pose_set.areas, dtype=np.float64)
    if rule == "extent":
        points = np.where(pose_set.labelled[..., None], pose_set.keypoints, np.nan)
        return oks.keypoint_extent(np.asarray(points, dtype=np.float64))
    area = geometry.box_area(np.asarray(pose_set.bboxes, dtype=np.float64))
    return area * (0.53 if rule == "box053" else 1.0)
