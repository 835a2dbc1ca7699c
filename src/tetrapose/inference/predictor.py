"""Pictures in, Instances out: the one owner of the way from picture to crop and back.

predictor = tetrapose.load()
animals = predictor.predict("dog.jpg")
print(animals.keypoints, animals.scores)
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tetrapose import geometry
from tetrapose.codecs import Codec, TellsVisibility
from tetrapose.codecs.peaks import DECODERS
from tetrapose.errors import UserError
from tetrapose.evaluation.calibration import Calibration
from tetrapose.inference.ahead import map_ahead
from tetrapose.inference.cutting import Cut, Cutter, Item, Picture, cut
from tetrapose.inference.exported import is_exported
from tetrapose.inference.exported import read as read_exported
from tetrapose.inference.fusing import fuse
from tetrapose.inference.runtimes import TORCH, Runtime, version
from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances, PoseSet, Problem
from tetrapose.weights import calibration as calibrations
from tetrapose.weights import card as weights

DEPTH = 8  # pictures read ahead
VISIBLE = 2  # as in COCO
PRECISIONS = {
    "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16
}  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """What one item gave. ``instances`` has a row a bbox: NaN and score 0 where it was left out.

    ``size`` is the picture's (width, height), (0, 0) where it could not be read; ``preview`` a copy
    to draw on, if one was asked for, on which the points lie at ``scaled``.
    """

    key: Any
    instances: Instances
    size: tuple[int, int]
    preview: np.ndarray | None
    problems: tuple[Problem, ...]

    @property
    def readable(self) -> bool:
        """Whether the picture could be decoded."""
        return self.size != (0, 0)

    def scaled(self) -> Instances:
        """The instances in pixels of the preview."""
        if self.preview is None:
            raise ValueError("no preview was kept")
        matrix = geometry.resize_matrix(self.size, self.preview.shape[1::-1])
        corners = self.instances.bboxes.reshape(-1, 2, 2)
        return replace(
            self.instances,
            keypoints=geometry.transform_points(matrix, self.instances.keypoints),
            bboxes=geometry.transform_points(matrix, corners).reshape(-1, 4),
        )


@dataclass(frozen=True)
class Predictions:
    """Rows for the instances of a PoseSet, in its order: NaN and 0 where nothing could be said."""

    keypoints: np.ndarray
    scores: np.ndarray
    problems: tuple[Problem, ...]


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network with all that its input and output mean; remembers nothing between calls.

    ``mean`` and ``std`` are of RGB in 0..1. With ``flip`` each crop is looked at mirrored as well
    and the two outputs are averaged. ``batch_size`` counts crops. With a ``calibration`` a score is
    the share of points of that kind that are right; without, it is what the codec makes of the map.
    ``note`` says how it came to be computed as it is, where that was chosen.
    """

    model: nn.Module
    codec: Codec
    skeleton: Skeleton
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    padding: float = 1.25
    flip: bool = True
    batch_size: int = 16
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    card: dict[str, Any] = field(default_factory=dict, repr=False)
    calibration: Calibration | None = field(default=None, repr=False)
    note: str = ""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch_size must be 1 or more, not {self.batch_size}")

    @property
    def protocol(self) -> dict[str, Any]:
        """What a figure made with this predictor has to name."""
        return {
            "input_size": list(self.codec.input_size),
            "padding": self.padding,
            "flip_test": self.flip,
            "precision": self._computed_in,
            "backend": self.backend,
            "codec": self.codec.to_dict(),
            "scores": calibrations.MEANS if self.calibration else "as the codec gives them",
            "weights_sha256": self.card.get("sha256"),
            **({"backend_note": self.note} if self.note else {}),
        }

    @property
    def backend(self) -> str:
        """The program that computes the network, with its version."""
        name = getattr(self.model, "backend", TORCH)  # a Runtime's, or an ONNX graph's own
        return f"{name} {version(name)}"

    def cutter(self, preview: int = 0) -> Cutter:
        """How this predictor's crops are cut."""
        return Cutter(self.codec.input_size, self.padding, preview, self.codec.warp)

    def predict(self, image: Picture, bboxes: np.ndarray | None = None) -> Instances:
        """The animals of one picture, one for each of ``bboxes`` (N, 4) x1 y1 x2 y2.

        ``image`` is a path, a PIL image or a uint8 array (H, W, 3) RGB, (H, W) or RGBA. Without
        bboxes the whole picture is taken for one animal's. Points are in pixels of the picture.
        Raises UserError for a picture or a bbox that cannot be used.
        """
        return next(self.predict_many([(image, bboxes)]))

    def predict_many(
        self,
        pictures: Iterable[tuple[Picture, np.ndarray | None]],
        *,
        problems: list[Problem] | None = None,
    ) -> Iterator[Instances]:
        """Instances of each (image, bboxes), in order, in batches across pictures.

        Memory is bounded however many there are; a few pictures are read ahead in threads. What
        cannot be used raises UserError, unless a list of ``problems`` is given: then it is noted
        there, an unreadable picture gives NaN for its bboxes, and the rest goes on.
        """
        items = (Item(image, bboxes, key=number) for number, (image, bboxes) in enumerate(pictures))
        for prediction in self.stream(items):
            if prediction.problems and problems is None:
                raise UserError(str(prediction.problems[0]))
            if problems is not None:
                problems.extend(prediction.problems)
            yield prediction.instances

    def predict_set(
        self, pose_set: PoseSet, *, progress: Callable[[int], None] | None = None
    ) -> Predictions:
        """A row for every instance of a set, from its own bboxes; ``progress`` gets rows done."""
        order = np.argsort(pose_set.image_index, kind="stable")
        pictures, starts = np.unique(pose_set.image_index[order], return_index=True)
        groups = np.split(order, starts[1:]) if len(order) else []
        items = (
            Item(pose_set.path(int(picture)), pose_set.bboxes[rows], key=number)
            for number, (picture, rows) in enumerate(zip(pictures, groups, strict=True))
        )
        keypoints = np.full(pose_set.keypoints.shape, np.nan)
        scores = np.zeros(keypoints.shape[:2])
        problems: list[Problem] = []
        done = 0
        for prediction in self.stream(items):
            rows = groups[prediction.key]
            keypoints[rows] = prediction.instances.keypoints
            scores[rows] = prediction.instances.scores
            problems.extend(prediction.problems)
            done += len(rows)
            if progress is not None:
                progress(done)
        return Predictions(keypoints, scores, tuple(problems))

    def stream(self, items: Iterable[Item], *, preview: int = 0) -> Iterator[Prediction]:
        """A Prediction for each item, in order; ``preview`` bounds a kept picture's longer side."""
        cutter = self.cutter(preview)
        # beside a GPU all cores have nothing else to do, and a batch is gone in no time
        fast = self.device.type != "cpu"
        workers = min(16 if fast else 4, os.cpu_count() or 1)
        depth = max(DEPTH, 2 * self.batch_size) if fast else DEPTH
        cuts = map_ahead(partial(cut, cutter=cutter), items, depth=depth, workers=workers)
        open_: deque[_Open] = deque()
        batch: list[tuple[_Open, int]] = []
        try:
            for taken in cuts:
                current = _Open(taken, len(self.skeleton))
                open_.append(current)
                for place in range(len(taken.rows)):
                    batch.append((current, place))
                    if len(batch) == self.batch_size:
                        self._fill(batch)
                        batch = []
                while open_ and open_[0].missing == 0:
                    yield open_.popleft().close()
            self._fill(batch)
            while open_:
                yield open_.popleft().close()
        finally:
            cuts.close()  # type: ignore[attr-defined]  # map_ahead is a generator

    def _fill(self, batch: list[tuple[_Open, int]]) -> None:
        """Run a batch of crops and put each result where it belongs."""
        if not batch:
            return
        crops = np.stack([picture.cut.crops[place] for picture, place in batch])
        keypoints, scores, visibility = self._run(crops)
        matrices = np.stack([picture.cut.matrices[place] for picture, place in batch])
        keypoints = geometry.transform_points(geometry.invert(matrices), keypoints)
        for (picture, place), points, values, seen in zip(
            batch, keypoints, scores, visibility, strict=True
        ):
            row = picture.cut.rows[place]
            picture.keypoints[row] = points
            picture.scores[row] = values
            picture.visibility[row] = seen
            picture.missing -= 1

    def look(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crops (B, h, w, 3) uint8 -> points (B, K, 2) in crop pixels and scores (B, K) in 0..1."""
        keypoints, scores, _ = self._run(crops)
        return keypoints, scores

    @torch.inference_mode()
    def _run(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points, scores, and visibility (B, K): 2, or 1 where a codec that can tell says so."""
        output = self.output(self.normalised(crops))
        keypoints, scores = self.codec.decode(output)
        shares = scores.clamp(0, 1).double().cpu().numpy()
        if self.calibration is not None:
            shares = self.calibration(shares)
        visibility = np.full(shares.shape, VISIBLE, dtype=np.uint8)
        if isinstance(self.codec, TellsVisibility):
            visibility = self.codec.visibility(output).cpu().numpy()
        return keypoints.double().cpu().numpy(), shares, visibility

    def normalised(self, crops: np.ndarray) -> Tensor:
        """Crops (B, h, w, 3) uint8 -> the network's input (B, 3, h, w) float32."""
        x = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float()
        mean, std = x.new_tensor(self.mean), x.new_tensor(self.std)
        return (x / 255 - mean[:, None, None]) / std[:, None, None]

    @property
    def _computed_in(self) -> str:
        if isinstance(self.model, Runtime):
            return self.model.precision
        return str(self._precision).removeprefix("torch.")

    @property
    def _precision(self) -> torch.dtype:
        """What the network's input is given in."""
        return next((p.dtype for p in self.model.parameters()), torch.float32)

    def output(self, images: Tensor) -> Tensor:
        """What the codec reads, float32, of the network's input (B, 3, h, w)."""
        images = images.to(self._precision)
        return (self._both_ways(images) if self.flip else self.model(images)).float()

    def _both_ways(self, x: Tensor) -> Tensor:
        """Output averaged over the crops and their mirror images, in one pass."""
        straight, turned = self.model(torch.cat([x, x.flip(-1)])).float().chunk(2)
        partners = torch.from_numpy(self.skeleton.flip_indices).to(straight.device)
        return (straight + self.codec.mirror(turned, partners)) / 2


def load(
    model: str | Path | weights.Loaded = "default",
    *,
    flip: bool = True,
    decoder: str | None = None,
    batch_size: int = 16,
    device: str | torch.device | None = None,
    calibrated: bool = True,
    precision: str = "float32",
    backend: str | None = None,
) -> Predictor:
    """A predictor for a shipped model's name, a weights or exported file, or a model held already.

    ``decoder`` replaces the codec's own (docs/codecs.md). ``device`` is the first GPU where
    there is one, else the CPU. ``calibrated`` scores are given where the model's card holds their
    calibration. ``precision`` "bfloat16" or "float16" runs the network in half precision: several
    times faster where the processor computes in it, and points move (docs/deploy.md says how far).
    ``backend`` is "torch" unless named: "openvino", "onnxruntime", or "auto", the fastest of them
    whose points stay where torch puts them (``inference.backends``); an exported file (.onnx, .xml,
    .pt2) runs on what it was made for. All use as many threads as torch is told to.
    """
    where = _device("cpu" if device is None and is_exported(model) else device)
    if precision not in PRECISIONS:
        raise UserError(f"no precision {precision!r}; there are: {', '.join(PRECISIONS)}")
    loaded = _opened(model, backend, precision, where)
    codec = loaded.codec
    if decoder is not None:
        if decoder not in DECODERS:
            raise UserError(f"no decoder {decoder!r}; there are: {', '.join(DECODERS)}")
        try:
            codec = replace(codec, decoder=decoder)  # type: ignore[type-var]  # a dataclass
        except ValueError as error:
            raise UserError(f"this model's codec: {error}") from None
    normalisation = loaded.card["normalisation"]
    if backend == "auto" and precision != "float32":
        backend = TORCH  # the precision that was asked for leaves nothing to choose
    elsewhere = backend not in (None, TORCH)
    # a model that the caller holds may still be trained
    network = copy.deepcopy(loaded.model) if loaded is model else loaded.model
    if not isinstance(network, Runtime):
        dtype = torch.float32 if elsewhere else PRECISIONS[precision]
        network = fuse(network).to(device=where, dtype=dtype)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    predictor = Predictor(
        model=network,
        codec=codec,
        skeleton=loaded.skeleton,
        mean=tuple(normalisation["mean"]),
        std=tuple(normalisation["std"]),
        padding=float(loaded.card["crop"]["padding"]),
        flip=flip,
        batch_size=batch_size,
        device=where,
        card=loaded.card,
        calibration=calibrations.of(loaded, flip=flip) if calibrated else None,
    )
    if backend is None or isinstance(network, Runtime):
        return predictor
    from tetrapose.inference.backends import on_backend

    return on_backend(predictor, backend, precision)


def _opened(
    model: str | Path | weights.Loaded,
    backend: str | None,
    precision: str,
    where: torch.device,
) -> weights.Loaded:
    if isinstance(model, weights.Loaded):
        return model
    if not is_exported(model):
        return weights.load(model)
    if where.type != "cpu":
        raise UserError(f"{model}: an exported file runs on the CPU here, not on {where}")
    return read_exported(model).open(backend or "auto", precision)


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        where = torch.device(device)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {str(device)!r} cannot be used here: {reason}") from None
    return where


class _Open:
    """A picture whose crops are still on their way through the network."""

    def __init__(self, taken: Cut, num_keypoints: int) -> None:
        count = len(taken.bboxes)
        self.cut = taken
        self.missing = len(taken.rows)
        self.keypoints = np.full((count, num_keypoints, 2), np.nan)
        self.scores = np.zeros((count, num_keypoints))
        self.visibility = np.zeros((count, num_keypoints), dtype=np.uint8)

    def close(self) -> Prediction:
        there = np.isfinite(self.keypoints).all(axis=-1)
        instances = Instances(
            keypoints=self.keypoints,
            visibility=np.where(there, self.visibility, 0).astype(np.uint8),
            bboxes=self.cut.bboxes,
            scores=self.scores,
        )
        taken = self.cut
        return Prediction(taken.key, instances, taken.size, taken.preview, taken.problems)
