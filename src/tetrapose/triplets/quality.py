"""How good a library is, on a sample: points against labels, impossible limbs, words that differ.

Nothing is dropped here: what is found goes into a report, with the keys of what to look at.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tetrapose import geometry, skeletons
from tetrapose.evaluation import pck
from tetrapose.skeletons import Skeleton, mapping
from tetrapose.structures import Instances, PoseSet
from tetrapose.triplets import lists, shards
from tetrapose.triplets.library import Library
from tetrapose.triplets.rows import Triplet

NEAR = 0.1  # of the bbox's longer side: PCK@0.1
MOST_OF = 0.9  # of an animal's or picture's points, to be called right
SAME = 0.3  # overlap of boxes (IoU) from which a drawn animal is the labelled one
USUAL = 0.995  # share of labelled limbs that lie below a limb's bound
SLACK = 1.3  # and how much longer still passes
LEAST_SEEN = 50  # labelled limbs from which a bound is learned
LEAST_LIMBS = 4  # limbs from which an animal is judged
SHOWN = 50  # keys that are listed of each fault


@dataclass(frozen=True)
class LimbRanges:
    """How long limbs may be in a picture, over the median limb of the same animal, by edge.

    Only long ones can be told: any limb may point at the camera.
    """

    skeleton: str
    most: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Agreement:
    """Drawn points against labels: shares of those within PCK@0.1 of the bbox's longer side.

    ``points`` of all drawn points that are labelled too, ``counted`` of them; ``pictures`` of
    pictures in which 90 % of them are, ``whole`` of those in which all are; ``animals`` the mean
    over animals, ``in_groups`` the same in pictures with several drawn, ``right_in_groups`` the
    share of these animals with 90 % within. ``strangers`` is the share of drawn animals that are no
    labelled one, ``misnamed`` of the others the share that bear another species' name.
    """

    points: float
    pictures: float
    whole: float
    animals: float
    in_groups: float
    right_in_groups: float
    strangers: float
    misnamed: float
    counted: int


@dataclass(frozen=True)
class Report:
    """What a sample of ``triplets`` says; each share with the keys to look at.

    ``implausible`` counts animals with a limb too long, ``disagreeing`` triplets whose caption
    names other species than the animals drawn; each over those that could be judged.
    """

    triplets: int
    animals: int
    judged: int
    implausible: int
    captions_judged: int
    disagreeing: int
    agreement: Agreement | None = None
    implausible_keys: tuple[str, ...] = ()
    disagreeing_keys: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def sample(library: Library, count: int, *, seed: int = 0) -> Iterator[Triplet]:
    """``count`` of a library's triplets, the same ones for a seed, in the order of the shards."""

    def chance(key: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8], "big")

    def keys() -> Iterator[str]:
        for path in library.shards():
            yield from dict.fromkeys(name.partition(".")[0] for name, _ in shards.members(path))

    chosen = set(heapq.nsmallest(count, keys(), key=chance))
    for path in library.shards():
        yield from (one for one in shards.read(path) if one.key in chosen)


def skeletons_of(library: Library) -> dict[str, Skeleton]:
    """The skeletons that a library's points stand on, by name, as it defines them."""
    about = library.read_about()
    return {name: skeletons.from_dict(one) for name, one in about.get("skeletons", {}).items()}


def drawn(
    triplet: Triplet, known: Mapping[str, Skeleton] | None = None
) -> tuple[Instances, Skeleton]:
    """The animals that a triplet shows, in its picture's pixels, with their skeleton.

    ``known`` are a library's own skeletons; those that it lacks are looked up among the shipped.
    """
    name = triplet.points["skeleton"]
    skeleton = known[name] if known and name in known else skeletons.load(name)
    animals = triplet.points["animals"]
    n, k = len(animals), len(skeleton)
    table = np.array(
        [[(np.nan, np.nan, 0) if p[0] is None else p for p in one["keypoints"]] for one in animals],
        dtype=np.float64,
    ).reshape(n, k, 3)
    boxes = np.array([one["bbox"] for one in animals], dtype=np.float64).reshape(n, 4)
    return Instances(table[..., :2], table[..., 2].astype(np.uint8), boxes), skeleton


def learn(keypoints: np.ndarray, skeleton: Skeleton) -> LimbRanges:
    """Bounds from labelled animals (N, K, 2), NaN where not labelled.

    An edge that is labelled in fewer than ``LEAST_SEEN`` has none.
    """
    ratios = _ratios(keypoints, skeleton)
    most = {}
    for edge, column in zip(skeleton.edges, ratios.T, strict=True):
        seen = column[np.isfinite(column)]
        if len(seen) >= LEAST_SEEN:
            most["-".join(edge)] = float(np.quantile(seen, USUAL)) * SLACK
    return LimbRanges(skeleton.name, most)


def learn_from(truth: PoseSet, skeleton: Skeleton) -> LimbRanges:
    """Bounds on a skeleton from a labelled set, which may stand on another one."""
    way = mapping.between(truth.skeleton, skeleton).without_near()
    points = np.where(truth.visibility[..., None] > 0, truth.keypoints, np.nan)
    return learn(mapping.carried(points, way, empty=np.nan), skeleton)


def implausible(keypoints: np.ndarray, skeleton: Skeleton, ranges: LimbRanges) -> np.ndarray:
    """(N,) 1 where a limb is too long, 0 where none is, NaN where too few are seen to say."""
    bounds = np.array([ranges.most.get("-".join(edge), np.inf) for edge in skeleton.edges])
    ratios = _ratios(keypoints, skeleton)
    seen = np.isfinite(ratios) & np.isfinite(bounds)
    over = (np.where(seen, ratios, 0.0) > bounds).any(axis=1)
    return np.where(seen.sum(axis=1) >= LEAST_LIMBS, over.astype(float), np.nan)


def _ratios(keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(N, E) lengths of limbs over the median of the animal's own."""
    ends = keypoints[:, skeleton.edge_indices]
    lengths = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=-1)
    out = np.full(lengths.shape, np.nan)
    for row, own in enumerate(lengths):
        seen = own[np.isfinite(own)]
        if len(seen) >= LEAST_LIMBS and np.median(seen) > 0:
            out[row] = own / np.median(seen)
    return out


def disagrees(triplet: Triplet) -> bool | None:
    """Whether the caption names species and none of those drawn; None where one is silent.

    Captions made from the species themselves (templates) are not judged.
    """
    species = {one["species"] for one in triplet.points["animals"]} - {""}
    if triplet.provenance.get("caption_origin") in ("template", "dropped", ""):
        return None
    said = set(lists.named(triplet.caption))
    meant = set().union(*(set(lists.named(one)) for one in species)) if species else set()
    return said.isdisjoint(meant) if said and meant else None


def report(
    triplets: Iterable[Triplet],
    *,
    ranges: Sequence[LimbRanges] = (),
    truth: PoseSet | None = None,
    known: Mapping[str, Skeleton] | None = None,
) -> Report:
    """Everything that can be said of triplets, seen once; ``truth`` are labels of the same files.

    Limbs are judged on triplets of the skeletons of ``ranges``. ``known`` as in ``drawn``.
    """
    bounds = {one.skeleton: one for one in ranges}
    odd: list[str] = []
    wordy: list[str] = []
    number = animals = judged = bad = worded = 0
    pairs: list[_Paired] = []
    labels = _Labels(truth) if truth is not None else None
    for one in triplets:
        instances, skeleton = drawn(one, known)
        number, animals = number + 1, animals + len(instances)
        if skeleton.name in bounds:
            verdict = implausible(instances.keypoints, skeleton, bounds[skeleton.name])
            judged += int(np.isfinite(verdict).sum())
            wrong = int(np.nansum(verdict))
            bad += wrong
            odd += [one.key] * bool(wrong)
        said = disagrees(one)
        worded += said is not None
        wordy += [one.key] * bool(said)
        if labels is not None and (paired := labels.pair(one, instances, skeleton)) is not None:
            pairs.append(paired)
    return Report(
        number, animals, judged, bad, worded, len(wordy),
        _agreement(pairs) if pairs else None, tuple(odd[:SHOWN]), tuple(wordy[:SHOWN]),
    )  # fmt: skip


@dataclass(frozen=True)
class _Paired:
    """A picture's drawn animals that are labelled: distances (n, T), and how many are not.

    Of ``named`` pairs both names are known, of which ``misnamed`` differ.
    """

    table: np.ndarray
    strangers: int
    animals: int
    named: int
    misnamed: int


class _Labels:
    """Labelled pictures by the name of their file."""

    def __init__(self, truth: PoseSet) -> None:
        self._set = truth
        self._rows = {str(file): i for i, file in enumerate(truth.files)}
        self._maps: dict[str, mapping.Mapping] = {}

    def pair(self, one: Triplet, instances: Instances, skeleton: Skeleton) -> _Paired | None:
        row = self._rows.get(str(one.provenance.get("key", "")))
        if row is None:
            return None
        labels = self._set.record(row).instances
        matrix = np.array(one.provenance["matrix"], dtype=np.float64)
        known = geometry.transform_points(matrix, labels.keypoints.astype(np.float64))
        corners = labels.bboxes.astype(np.float64).reshape(-1, 2, 2)
        boxes = geometry.transform_points(matrix, corners).reshape(-1, 4)
        far = np.tile(np.array(one.points["size"], dtype=np.float64) - 0.5, 2)
        matches = _matched(*(np.clip(box, -0.5, far) for box in (instances.bboxes, boxes)))
        if skeleton.name not in self._maps:
            self._maps[skeleton.name] = mapping.between(self._set.skeleton, skeleton).without_near()
        way = self._maps[skeleton.name]
        own = np.array([label for _, label in matches], dtype=np.int64)
        guess = instances.keypoints[[drawn for drawn, _ in matches]]
        truth = mapping.carried(known[own], way, empty=np.nan)
        there = mapping.carried(labels.visibility[own], way, empty=0) > 0
        there &= np.isfinite(truth).all(axis=-1) & np.isfinite(guess).all(axis=-1)
        box = boxes[own]
        pairs = pck.Pairs(
            truth, there, guess, box, geometry.box_area(box), np.zeros((len(own), 2))
        )  # fmt: skip
        table = pck.distances(pairs, "box_side")
        apart = [
            _apart(one.points["animals"][drawn]["species"], self._species(row, label))
            for drawn, label in matches
        ]
        judged = [verdict for verdict in apart if verdict is not None]
        return _Paired(
            table, len(instances) - len(matches), len(instances), len(judged), sum(judged)
        )

    def _species(self, row: int, label: int) -> str:
        """Of a label, by its place among the labels of its picture."""
        there = np.flatnonzero(self._set.image_index == row)[label]
        return self._set.species_names[self._set.species[there]]


def _apart(one: str, other: str) -> bool | None:
    """Whether two names are of different species; None where one says nothing."""
    first, second = (set(lists.named(name)) for name in (one, other))
    return first.isdisjoint(second) if first and second else None


def _matched(drawn: np.ndarray, labelled: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of boxes by overlap, the greatest first, each box once."""
    overlap = geometry.box_iou(drawn, labelled)
    pairs = []
    while overlap.size and overlap.max() >= SAME:
        i, j = np.unravel_index(int(overlap.argmax()), overlap.shape)
        pairs.append((int(i), int(j)))
        overlap[i, :] = overlap[:, j] = -1
    return pairs


def _agreement(pairs: Sequence[_Paired]) -> Agreement:
    tables = [one.table for one in pairs if one.table.size]
    every = np.concatenate([one.ravel() for one in tables]) if tables else np.zeros(0)
    pictures = _within([one.ravel()[None] for one in tables])
    groups = [one.table for one in pairs if one.animals > 1 and one.table.size]
    grouped = _within(groups)
    total = sum(one.animals for one in pairs)
    named = sum(one.named for one in pairs)
    return Agreement(
        points=pck.shares(every[None], NEAR)["points"],
        pictures=_mean(pictures >= MOST_OF),
        whole=_mean(pictures == 1),
        animals=_mean(_within(tables)),
        in_groups=_mean(grouped),
        right_in_groups=_mean(grouped >= MOST_OF),
        strangers=_share(sum(one.strangers for one in pairs), total),
        misnamed=_share(sum(one.misnamed for one in pairs), named),
        counted=int((~np.isnan(every)).sum()),
    )


def _within(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Share of each row's points that are within; rows without any are left out."""
    rows = [row[~np.isnan(row)] for table in tables for row in table]
    return np.array([np.mean(row < NEAR) for row in rows if len(row)])


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
