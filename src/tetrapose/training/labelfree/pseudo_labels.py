"""What a model says of pictures that nobody labelled, looked at several times, and how sure it is.

Each animal is cut out several times, turned, nearer and farther, and each cut is looked at mirrored
as well; the answers are carried back to the picture, and where most of them lie together is the
pseudo-label. ``pseudo_files`` keeps them.

Source: Li and Lee, ScarceNet, CVPR 2023, and its code (lib/utils/consistency.py): five transforms,
the first of which changes nothing, scale N(1, 0.25) cut at 0.25, rotation N(0, 30) degrees cut at
60, each with its mirror image, maps turned back and averaged. Here points are averaged, by the mode
of their mixture, which is the same for maps that are Gaussians and works for codecs without maps;
the code's maps come back up to half a cell aside, and a point that a view does not show counts
there as a view that denies it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tetrapose import geometry, images
from tetrapose.codecs import Codec
from tetrapose.data.crops import Files, Pictures
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet
from tetrapose.training.labelfree.consensus import agree
from tetrapose.weights.card import Loaded

ON_CPU, ON_GPU = 8, 64  # crops in a batch


@dataclass(frozen=True)
class Looks:
    """How an animal is looked at: ``count`` cuts, the first as it is, each ``mirror``ed as well.

    ``scale`` and ``rotation`` (degrees) are the standard deviations of the others' region size and
    turn, cut at once and twice as much. ``width`` is how far, in box sizes, answers may lie apart
    and still speak for the same place. An animal's draws follow from ``seed`` and its annotation id
    alone.
    """

    count: int = 5
    scale: float = 0.25
    rotation: float = 30.0
    mirror: bool = True
    width: float = 0.04
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"looks must be 1 or more, not {self.count}")
        if not (0 <= self.scale < 1 and self.rotation >= 0 and self.width > 0):
            raise UserError("looks: scale is in 0..1, rotation 0 or more, width above 0")

    @property
    def answers(self) -> int:
        """How many answers a point gets."""
        return self.count * (2 if self.mirror else 1)

    def draw(self, annotation_id: int) -> list[tuple[float, float]]:
        """Region size as a factor, and turn in degrees, of each cut of one animal."""
        rng = np.random.default_rng((self.seed, int(annotation_id) % 2**63))
        noise = rng.standard_normal((self.count, 2))
        size = 1 + np.clip(noise[:, 0] * self.scale, -self.scale, self.scale)
        turn = np.clip(noise[:, 1] * self.rotation, -2 * self.rotation, 2 * self.rotation)
        return [(1.0, 0.0), *zip(size[1:].tolist(), turn[1:].tolist(), strict=True)]


@dataclass(frozen=True)
class PseudoLabels:
    """What was said of N animals, K points each.

    keypoints (N, K, 2) float32 in picture pixels, NaN where no answer could be used; confidence
    (N, K) float32 in 0..1, the mean share of a view's certainty that speaks for the place, 0 where
    there is none; spread (N, K) float32, the root mean square distance of the answers from the
    place in box sizes (sqrt of width times height), NaN for fewer than two; readable (N,) False
    where the picture could not be decoded. ``names`` are the keypoints'.
    """

    names: tuple[str, ...]
    keypoints: np.ndarray
    confidence: np.ndarray
    spread: np.ndarray
    readable: np.ndarray

    def __len__(self) -> int:
        return len(self.keypoints)

    def rows(self, index: np.ndarray) -> PseudoLabels:
        """Those of some animals."""
        return PseudoLabels(
            self.names, self.keypoints[index], self.confidence[index], self.spread[index],
            self.readable[index],
        )  # fmt: skip


def look_often(
    loaded: Loaded,
    pool: PoseSet,
    looks: Looks,
    *,
    rows: np.ndarray | None = None,
    batch_size: int | None = None,
    workers: int = 0,
    precision: str = "float32",
    pictures: Pictures | None = None,
) -> PseudoLabels:
    """Pseudo-labels of the animals of ``pool``, or of its ``rows``, in that order.

    The pool gives pictures, boxes and annotation ids; its labels are not looked at, and the points
    are those of the model's skeleton, whatever the pool's. ``batch_size`` counts crops and does not
    change what is said but for rounding; None is what is fast where the model lies. ``workers``
    processes read and cut; ``precision`` "bfloat16" runs the network in half precision.
    Raises UserError where there is no animal.
    """
    rows = np.arange(len(pool)) if rows is None else np.asarray(rows)
    demand_pool(pool)
    if precision not in ("float32", "bfloat16"):
        raise UserError(f"precision must be float32 or bfloat16, not {precision!r}")
    cuts = _Cuts(pool, rows, loaded, looks, pictures)
    loader = DataLoader(cuts, batch_size=None, num_workers=workers, collate_fn=_as_it_is)
    network = _Network(loaded, mirror=looks.mirror, precision=precision)
    k = len(loaded.skeleton)
    points = np.full((len(rows), looks.answers, k, 2), np.nan)
    scores = np.zeros((len(rows), looks.answers, k))
    matrices = np.zeros((len(rows), looks.count, 2, 3))
    readable = np.zeros(len(rows), dtype=bool)
    for places, crops, there in _batches(loader, matrices, readable, batch_size or network.handy):
        told, sure = network(crops)  # (2, B, K, 2) or (1, B, K, 2) in crop pixels
        back = geometry.invert(matrices[places, there])
        for turned in range(len(told)):
            column = there + turned * looks.count
            points[places, column] = geometry.transform_points(back, told[turned])
            scores[places, column] = sure[turned]
    boxes = geometry.box_area(pool.bboxes[rows])
    place, confidence, spread = agree(
        points, scores, np.sqrt(np.maximum(boxes, 1.0)), width=looks.width,
        shown=lambda at: _inside(at, matrices, loaded.codec.input_size, looks),
    )  # fmt: skip
    return PseudoLabels(
        tuple(loaded.skeleton.names), place.astype(np.float32), confidence.astype(np.float32),
        spread.astype(np.float32), readable,
    )  # fmt: skip


def demand_pool(pool: PoseSet) -> None:
    """Raise UserError where there is nothing to look at."""
    if not len(pool):
        raise UserError("no unlabelled pictures: the pool holds no animal (its split left none?)")


def _inside(
    places: np.ndarray, matrices: np.ndarray, size: tuple[int, int], looks: Looks
) -> np.ndarray:
    """(N, V, K) True where a look's crop holds the place, mirror images as their cut does."""
    at = geometry.transform_points(matrices, places[:, None])
    with np.errstate(invalid="ignore"):
        inside = np.asarray(((at > -0.5) & (at < np.array(size) - 0.5)).all(-1))
    return np.concatenate([inside, inside], axis=1) if looks.mirror else inside


@dataclass(frozen=True)
class _Taken:
    """One picture's animals: places in ``rows``, crops (n, V, h, w, 3), matrices (n, V, 2, 3)."""

    places: np.ndarray
    crops: np.ndarray
    matrices: np.ndarray
    readable: bool


class _Cuts(Dataset):
    """A picture's animals, each cut by every look, from one decode."""

    def __init__(
        self,
        pool: PoseSet,
        rows: np.ndarray,
        loaded: Loaded,
        looks: Looks,
        pictures: Pictures | None,
    ) -> None:
        codec: Codec = loaded.codec
        self.size = (int(codec.input_size[0]), int(codec.input_size[1]))
        self.warp = codec.warp
        self.pictures: Pictures = pictures if pictures is not None else Files(pool)
        self.image = pool.image_index[rows]
        self.ids = pool.annotation_ids[rows]
        self.centers, self.sizes = geometry.box_to_region(
            pool.bboxes[rows],
            aspect=self.size[0] / self.size[1],
            padding=float(loaded.card["crop"]["padding"]),
        )
        self.looks = looks
        order = np.argsort(self.image, kind="stable")
        starts = np.flatnonzero(np.diff(self.image[order], prepend=-1))
        self.groups = np.split(order, starts[1:]) if len(order) else []

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> _Taken:
        """The animals of picture ``number`` in the order of pictures."""
        places = self.groups[number]
        regions = [(int(p), self.looks.draw(int(self.ids[p]))) for p in places]
        matrices = np.array([[self._matrix(p, *one) for one in cut] for p, cut in regions])
        crops = np.zeros((*matrices.shape[:2], self.size[1], self.size[0], 3), np.uint8)
        smallest = min(self.sizes[p].max() * factor for p, cut in regions for factor, _ in cut)
        try:
            picture, full = self.pictures.read(
                int(self.image[places[0]]), max(self.size) / float(smallest)
            )
        except images.ImageError:
            return _Taken(places, crops, matrices, False)
        have = (picture.shape[1], picture.shape[0])
        to_full = geometry.resize_matrix(have, full)
        for animal, view in np.ndindex(*matrices.shape[:2]):
            whole = geometry.compose(matrices[animal, view], to_full)
            crops[animal, view] = images.warp(picture, whole, self.size)
        return _Taken(places, crops, matrices, True)

    def _matrix(self, place: int, factor: float, turn: float) -> np.ndarray:
        """(2, 3) from the picture to one cut of an animal."""
        center, size = self.centers[place], self.sizes[place] * factor
        return geometry.crop_matrix(center, size, self.size, rotation=turn, warp=self.warp)


def _as_it_is(taken: Any) -> Any:
    return taken


def _batches(
    loader: DataLoader, matrices: np.ndarray, readable: np.ndarray, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Places (B,), crops (B, h, w, 3) and views (B,) of ``size`` crops each, the last fewer.

    ``matrices`` and ``readable`` are filled in on the way.
    """
    held: list[tuple[int, np.ndarray, int]] = []
    for taken in loader:
        matrices[taken.places], readable[taken.places] = taken.matrices, taken.readable
        if not taken.readable:
            continue
        for animal, place in enumerate(taken.places):
            held += [(int(place), crop, view) for view, crop in enumerate(taken.crops[animal])]
        while len(held) >= size:
            yield _stacked(held[:size])
            held = held[size:]
    if held:
        yield _stacked(held)


def _stacked(
    held: Sequence[tuple[int, np.ndarray, int]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    places, crops, which = zip(*held, strict=True)
    return np.array(places), np.stack(crops), np.array(which)


class _Network:
    """Crops in, answers out: points (R, B, K, 2) in crop pixels and scores, R readings."""

    def __init__(self, loaded: Loaded, *, mirror: bool, precision: str) -> None:
        model: nn.Module = loaded.model.eval()
        if precision == "bfloat16":  # the caller's stays as it is
            model = copy.deepcopy(model).to(torch.bfloat16)
        self.model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.codec, self.mirror = loaded.codec, mirror
        first = next(model.parameters(), torch.zeros(0))
        self.device, self.dtype = first.device, first.dtype
        told = loaded.card["normalisation"]
        self.mean, self.std = (
            torch.tensor(told[name], device=self.device, dtype=torch.float32)[:, None, None]
            for name in ("mean", "std")
        )
        self.partners = torch.as_tensor(loaded.skeleton.flip_indices, device=self.device)

    @property
    def handy(self) -> int:
        """Crops at once: on a CPU what stays in its cache, on a GPU what fills it."""
        return ON_CPU if self.device.type == "cpu" else ON_GPU

    @torch.inference_mode()
    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float()
        x = ((x / 255 - self.mean) / self.std).to(self.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        output: Tensor = self.model(torch.cat([x, x.flip(-1)]) if self.mirror else x)
        outputs = list(output.float().chunk(2)) if self.mirror else [output.float()]
        if self.mirror:
            outputs[1] = self.codec.mirror(outputs[1], self.partners)
        decoded = [self.codec.decode(one) for one in outputs]
        points = torch.stack([p for p, _ in decoded]).double().cpu().numpy()
        sound = [one.isfinite().flatten(2).all(-1) for one in outputs]  # noise decodes, to anything
        scores = torch.stack([s * ok for (_, s), ok in zip(decoded, sound, strict=True)])
        return points, scores.double().cpu().numpy()
