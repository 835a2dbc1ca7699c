"""The models behind the page: loaded beside it while it already shows, one picture at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError  # another one before Python 3.11
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tetrapose.errors import UserError
from tetrapose.structures import Instances

if TYPE_CHECKING:
    from tetrapose.inference.finder import Finder
    from tetrapose.inference.predictor import Predictor
    from tetrapose.skeletons import Skeleton

LEAST_SCORE = 0.3  # a point below it begins as hidden: the model is in doubt about it
Models = Callable[[], "tuple[Finder, Predictor]"]


@dataclass(frozen=True)
class Found:
    """Animals on the model's skeleton; ``labels`` the finder's groups, ``seconds`` what it took.

    ``found`` is False where the finder saw no animal.
    """

    instances: Instances
    skeleton: Skeleton
    labels: tuple[str, ...]
    seconds: float
    found: bool = True


def shipped_models(model: str = "default", finder: str = "finder") -> Models:
    """How the models that ship, or others by name or file, are loaded."""

    def load() -> tuple[Finder, Predictor]:
        from tetrapose.inference.finder import load_finder
        from tetrapose.inference.predictor import load as load_predictor

        return load_finder(finder), load_predictor(model)

    return load


class Sight:
    """A finder and a predictor in a thread of their own, which begins to load them at once."""

    def __init__(self, models: Models) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sight")
        self._lock = threading.Lock()
        self._models: Future[tuple[Finder, Predictor]] = self._thread.submit(_awake, models)

    @property
    def state(self) -> str:
        """ "loading", "ready", or why the models cannot be had, in one line."""
        if not self._models.done():
            return "loading"
        error = self._models.exception()
        return "ready" if error is None else _line(error)

    def wait(self, seconds: float | None = None) -> None:
        """Until the models are there; UserError where they cannot be had."""
        try:
            self._models.result(seconds)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 whatever keeps models from loading is told
            raise UserError(_line(error)) from None

    def look(self, image: Path | np.ndarray, bbox: np.ndarray | None, seconds: float) -> Found:
        """The animals of a picture, or the one inside ``bbox`` (4,); at most ``seconds`` waited.

        UserError where the models cannot be had or take longer.
        """
        job = self._thread.submit(self._look, image, bbox)
        try:
            return job.result(seconds)
        except UserError:
            raise
        except (TimeoutError, LateError):
            job.cancel()
            why = "the models are still being loaded" if self.state == "loading" else "too long"
            raise UserError(f"not done after {seconds:g} s ({why}); try again") from None

    def close(self) -> None:
        """Let go of the thread once it is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self, image: Path | np.ndarray, bbox: np.ndarray | None) -> Found:
        self.wait()
        finder, predictor = self._models.result()
        began = time.perf_counter()
        if bbox is not None:
            boxes, groups = bbox.reshape(1, 4), ("animal",)
        else:
            seen = finder.find(image)
            boxes, groups = seen.bboxes, tuple(group or "animal" for group in seen.groups)
        if not len(boxes):
            nothing = _nothing(len(predictor.skeleton))
            taken = time.perf_counter() - began
            return Found(nothing, predictor.skeleton, (), taken, found=False)
        instances = in_doubt_hidden(predictor.predict(image, boxes))
        return Found(instances, predictor.skeleton, groups, time.perf_counter() - began)


def in_doubt_hidden(instances: Instances) -> Instances:
    """Predicted points with COCO's 1 (hidden) where the model's score is below ``LEAST_SCORE``."""
    assert instances.scores is not None
    doubt = (instances.scores < LEAST_SCORE) & (instances.visibility > 0)
    seen = np.where(doubt, 1, instances.visibility).astype(np.uint8)
    return Instances(instances.keypoints, seen, instances.bboxes, instances.scores)


def _awake(models: Models) -> tuple[Finder, Predictor]:
    """The models, with a first look behind them: it takes several times as long as any later."""
    finder, predictor = models()
    grey = np.full((480, 640, 3), 127, dtype=np.uint8)
    finder.find(grey)
    predictor.predict(grey, np.array([[0.0, 0.0, 639.0, 479.0]]))
    return finder, predictor


def _nothing(count: int) -> Instances:
    return Instances(
        np.zeros((0, count, 2)), np.zeros((0, count), dtype=np.uint8), np.zeros((0, 4)),
        np.zeros((0, count)),
    )  # fmt: skip


def _line(error: BaseException) -> str:
    told = " ".join(str(error).split()) or type(error).__name__
    return f"the models cannot be loaded: {told}"
