"""What a figure was measured with: every result carries its protocol, for figures differ by it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np

from tetrapose.errors import UserError
from tetrapose.evaluation import oks, pck
from tetrapose.skeletons import Skeleton

SCORE_FLOOR = 0.2


@dataclass(frozen=True)
class Protocol:
    """All that has to be equal before two results may be compared.

    ``sigmas`` is "own" (the skeleton's) or the name of one of its ``sigma_sets``. ``boxes`` and
    ``instance_score`` say in words where predictions came from and how one is scored; ``flip_test``
    and ``decoder`` are None where nobody knows (predictions read from a file).
    """

    name: str
    pooling: Literal["macro", "pooled"]
    sigmas: str = "own"
    boxes: str = "given: each labelled instance is predicted in its own bbox"
    instance_score: str = f"mean of the keypoint scores above {SCORE_FLOOR}, times the bbox score"
    pairing: str = "by row: each prediction belongs to the instance whose bbox it was made in"
    flip_test: bool | None = None
    decoder: str | None = None
    notes: tuple[str, ...] = field(default=())

    def describe(self, skeleton: Skeleton) -> dict[str, Any]:
        """The protocol as plain values, every rule spelled out."""
        values = sigmas_of(skeleton, self.sigmas)
        return {
            "name": self.name,
            "pooling": POOLING[self.pooling],
            "skeleton": skeleton.name,
            "sigmas": {
                "set": self.sigmas,
                "source": skeleton.source.get("sigmas", "") if self.sigmas == "own" else "",
                "values": dict(zip(skeleton.names, values.tolist(), strict=True)),
            },
            "area": "as the set gives it (its reader says how)",
            "area_ranges": {name: list(r) for name, r in oks.AREA_RANGES.items() if name != "all"},
            "oks_thresholds": [round(float(t), 2) for t in oks.THRESHOLDS],
            "max_detections": oks.MAX_DETECTIONS,
            "boxes": self.boxes,
            "pairing": self.pairing,
            "instance_score": self.instance_score,
            "not_counted": "crowds and instances without labelled points",
            "flip_test": self.flip_test,
            "decoder": self.decoder,
            "pck": {
                name: {
                    "length": d.length, "counts": d.counts, "mean": d.mean, "source": d.source,
                    "differs": d.differs,
                }
                for name, d in pck.DEFINITIONS.items()
            },
            "nme": "mean distance of labelled points found, over the square root of the area",
            "notes": list(self.notes),
        }  # fmt: skip


POOLING = {
    "macro": "mean over the species present of each species' figure, as COCO does over categories",
    "pooled": "all species as one category",
}
PROTOCOLS = {
    "coco-macro": Protocol("coco-macro", "macro"),
    "coco-pooled": Protocol("coco-pooled", "pooled"),
}


def protocol(name: str = "coco-macro", **changes: Any) -> Protocol:
    """A named protocol, with fields of it changed."""
    if name not in PROTOCOLS:
        raise UserError(f"no protocol {name!r}; there are: {', '.join(PROTOCOLS)}")
    return replace(PROTOCOLS[name], **changes)


def sigmas_of(skeleton: Skeleton, name: str) -> np.ndarray:
    """(K,) the sigmas of that name; UserError lists those there are."""
    if name == "own":
        return skeleton.sigmas
    if name not in skeleton.sigma_sets:
        names = ("own", *skeleton.sigma_sets)
        near = get_close_matches(name, names, n=1) or names
        raise UserError(
            f"skeleton {skeleton.name} has no sigmas {name!r}; choose: {', '.join(near)}"
        )
    return np.array(skeleton.sigma_sets[name], dtype=np.float64)
