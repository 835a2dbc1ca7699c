"""The animals of pictures: labelled ones as they are, others found and their points predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tetrapose import geometry, skeletons
from tetrapose.render.pose_picture import drawn_points
from tetrapose.skeletons import Skeleton, mapping
from tetrapose.structures import Instances
from tetrapose.triplets.rows import DROPPED, KEPT, Decision, Item
from tetrapose.triplets.settings import Settings
from tetrapose.triplets.timing import Clock

if TYPE_CHECKING:
    from tetrapose.inference.finder import Finder
    from tetrapose.inference.predictor import Predictor

SHORT = 12  # characters of a digest that name a version


@dataclass(frozen=True)
class Animals:
    """The animals of one picture in its pixels, with who said so; ``species`` one for each."""

    instances: Instances
    skeleton: Skeleton
    species: tuple[str, ...]
    labelled: bool

    def only(self, rows: np.ndarray) -> Animals:
        """Some of them, by index."""
        one = self.instances
        some = Instances(
            one.keypoints[rows], one.visibility[rows], one.bboxes[rows],
            None if one.scores is None else one.scores[rows],
            None if one.bbox_scores is None else one.bbox_scores[rows],
        )  # fmt: skip
        return replace(self, instances=some, species=tuple(self.species[row] for row in rows))

    def moved(self, matrix: np.ndarray, size: tuple[int, int]) -> Animals:
        """In pixels of a crop of ``size``: points outside are gone, boxes end at its borders."""
        one = self.instances
        points = geometry.transform_points(matrix, one.keypoints)
        limit = np.array(size, dtype=np.float64) - 0.5
        inside = np.all((points >= -0.5) & (points < limit), axis=-1)  # False where NaN
        corners = geometry.transform_points(matrix, one.bboxes.reshape(-1, 2, 2))
        boxes = np.clip(corners, -0.5, limit).reshape(-1, 4)
        seen = replace(
            one,
            keypoints=np.where(inside[..., None], points, np.nan),
            visibility=np.where(inside, one.visibility, 0).astype(np.uint8),
            bboxes=boxes,
        )
        return replace(self, instances=seen)

    def shares(self, threshold: float) -> np.ndarray:
        """(N,) share of the skeleton's points that are drawn of each."""
        drawn = drawn_points(self.instances, threshold=threshold)
        return drawn.mean(axis=1) if len(drawn) else np.zeros(0)


class Networks:
    """The finder and the predictor of a worker, opened when the first picture asks for them."""

    def __init__(self, settings: Settings, threads: int = 1) -> None:
        self.settings, self._threads = settings, threads
        self._finder: Finder | None = None
        self._predictor: Predictor | None = None

    @property
    def finder(self) -> Finder:
        """Says where animals are."""
        if self._finder is None:
            from tetrapose.inference.finder import load_finder

            self._set_threads()
            self._finder = load_finder(self.settings.finder, least=self.settings.least_score)
        return self._finder

    @property
    def predictor(self) -> Predictor:
        """Says where their points are."""
        if self._predictor is None:
            from tetrapose.inference.predictor import load

            self._set_threads()
            self._predictor = load(self.settings.model, flip=self.settings.flip)
        return self._predictor

    def _set_threads(self) -> None:
        # sums come out in another order on other numbers of threads, and the bytes with them
        import torch

        torch.set_num_threads(self._threads)

    def finds(self, outcome: str, reason: str = "") -> Decision:
        """What the finder decided."""
        version = str(self.finder.protocol.get("weights_sha256") or "")[:SHORT]
        return Decision("find", outcome, reason, self.settings.finder, version)  # type: ignore[arg-type]

    def points(self, reason: str = "") -> Decision:
        """That the predictor gave points."""
        version = str(self.predictor.card.get("sha256") or "")[:SHORT]
        return Decision("points", KEPT, reason, self.settings.model, version)


def labelled(item: Item, matrix: np.ndarray, known: Mapping[str, Skeleton]) -> Animals | None:
    """The animals of an item whose points are labelled, moved by ``matrix``; None if none are."""
    if item.instances is None:
        return None
    rows = np.flatnonzero((item.instances.visibility > 0).any(axis=1))
    if not len(rows):
        return None
    names = species_of(item, len(item.instances))
    animals = Animals(item.instances, known[item.skeleton], names, True).only(rows)
    one = animals.instances
    corners = geometry.transform_points(matrix, one.bboxes.reshape(-1, 2, 2)).reshape(-1, 4)
    points = geometry.transform_points(matrix, one.keypoints)
    return replace(animals, instances=replace(one, keypoints=points, bboxes=corners))


def species_of(item: Item, count: int) -> tuple[str, ...]:
    """A name for each of ``count`` animals, "" where the source tells none."""
    if len(item.species) == count:
        return item.species
    return item.species * count if len(item.species) == 1 else ("",) * count


def looked_at(
    items: Sequence[Item],
    pixels: Sequence[np.ndarray],
    matrices: Sequence[np.ndarray],
    networks: Networks,
    clock: Clock,
) -> list[tuple[Animals | None, tuple[Decision, ...]]]:
    """The animals of pictures (H, W, 3) without labelled points, with what was decided of each.

    ``matrices`` take the labels' pixels to those of ``pixels``. Boxes that a source labels are
    looked at; elsewhere the finder says where. None where there is no animal.
    """
    from tetrapose.inference.cutting import Item as Look

    found: list[tuple[np.ndarray, np.ndarray | None, tuple[str, ...], tuple[Decision, ...]]] = []
    for item, picture, matrix in zip(items, pixels, matrices, strict=True):
        if item.instances is not None and len(item.instances):
            corners = geometry.transform_points(matrix, item.instances.bboxes.reshape(-1, 2, 2))
            size = np.array(picture.shape[1::-1]) - 0.5
            boxes = np.clip(corners, -0.5, size).reshape(-1, 4)
            there = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] > 1).all(axis=1))
            names = species_of(item, len(boxes))
            told = () if len(there) else (Decision("find", DROPPED, "no_animal", "labels"),)
            found.append((boxes[there], None, tuple(names[row] for row in there), told))
            continue
        with clock.step("find"):
            seen = networks.finder.find(picture)
        told = (networks.finds(KEPT) if len(seen) else networks.finds(DROPPED, "no_animal"),)
        # a source that names one animal knows better than the finder what it is
        names = item.species * len(seen) if len(item.species) == 1 else seen.groups
        found.append((seen.bboxes, seen.scores, names, told))
    looks = [
        Look(picture, boxes, key=row)
        for row, (picture, (boxes, *_)) in enumerate(zip(pixels, found, strict=True))
        if len(boxes)
    ]
    posed: dict[int, Instances] = {}
    with clock.step("points", len(looks)):
        if looks:
            for one in networks.predictor.stream(looks):
                posed[int(one.key)] = one.instances
    out: list[tuple[Animals | None, tuple[Decision, ...]]] = []
    for row, (_, scores, names, told) in enumerate(found):
        if row not in posed:
            out.append((None, told))
            continue
        instances = replace(posed[row], bbox_scores=scores)
        animals = Animals(instances, networks.predictor.skeleton, names, False)
        stay = np.arange(len(names)) if scores is None else once(animals, networks.settings)
        again = len(names) - len(stay)
        told = (*told, networks.points(f"found_again:{again}" if again else ""))
        out.append((animals.only(stay), told))
    return out


def once(animals: Animals, settings: Settings) -> np.ndarray:
    """The rows of found animals without those whose points another one has too.

    A finder tells one animal as two boxes now and then, and its points then come out alike. Of two
    that are ``settings.same`` alike or more, the one with the better box stays; ``alike`` says how.
    """
    one = animals.instances
    assert one.bbox_scores is not None
    drawn = drawn_points(one, threshold=settings.threshold)
    points = np.where(drawn[..., None], one.keypoints, np.nan)
    areas = geometry.box_area(one.bboxes)
    stay: list[int] = []
    for row in np.argsort(-one.bbox_scores, kind="stable").tolist():
        before = (
            alike(points[row], points[other], min(areas[row], areas[other]), animals.skeleton)
            for other in stay
        )
        if all(value < settings.same for value in before):
            stay.append(row)
    return np.array(sorted(stay), dtype=np.int64)


def alike(one: np.ndarray, other: np.ndarray, area: float, skeleton: Skeleton) -> float:
    """OKS of two sets of points (K, 2), NaN where not drawn, over those of the one with fewer.

    So a head alone is the animal that has it. Source: pose non-maximum suppression by OKS
    (Papandreou et al., Towards Accurate Multi-person Pose Estimation in the Wild, 2017).
    """
    there = [np.isfinite(points).all(axis=-1) for points in (one, other)]
    both = there[0] & there[1]
    if not both.any():
        return 0.0
    square = np.square(one[both] - other[both]).sum(axis=-1)
    spread = 2 * max(area, 1.0) * np.square(2 * skeleton.sigmas[both])
    return float(np.exp(-square / spread).sum() / min(mask.sum() for mask in there))


def carried(animals: Animals, skeleton: str) -> Animals:
    """The animals on another skeleton, by name; "" leaves them as they are."""
    if not skeleton or skeleton == animals.skeleton.name:
        return animals
    target = skeletons.load(skeleton)
    how = mapping.between(animals.skeleton, target)
    one = animals.instances
    moved = replace(
        one,
        keypoints=mapping.carried(one.keypoints, how, empty=np.nan),
        visibility=mapping.carried(one.visibility, how, empty=0),
        scores=None if one.scores is None else mapping.carried(one.scores, how, empty=0.0),
    )
    return replace(animals, instances=moved, skeleton=target)
