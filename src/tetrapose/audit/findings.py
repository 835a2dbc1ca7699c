"""What an audit can find: the findings' codes, why each matters and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Rule:
    """Why a fault matters, and what ``--fix`` does about it; an empty fix is left to a person."""

    harm: str
    fix: str


RULES: dict[str, Rule] = {
    "file-unreadable": Rule("nothing in it can be used", ""),
    "entry-broken": Rule("a reader stops at it or leaves it out", "the entry is removed"),
    "id-missing": Rule("predictions cannot be matched to it", "it gets a new id"),
    "id-repeated": Rule(
        "tools that keep entries by id lose all but one", "every entry but the first gets a new id"
    ),
    "dangling": Rule(
        "it belongs to a picture or species that the file does not have", "the entry is removed"
    ),
    "instance-repeated": Rule("the animal is counted twice", "every copy but the first is removed"),
    "num-keypoints": Rule(
        "evaluation by COCO's rule leaves out animals whose num_keypoints is 0, and only those",
        "counted anew from the flags",
    ),
    "keypoint-count": Rule(
        "points are read under the wrong names",
        "where all animals agree on another number, the names, which cannot be theirs, are "
        "dropped; a single animal that differs is removed",
    ),
    "not-finite": Rule(
        "one NaN in a batch makes a training's loss NaN",
        "the point becomes unlabelled; a box is taken from the points, else the entry is removed; "
        "an area is taken from the box",
    ),
    "visibility-code": Rule(
        "1 means hidden: all points of the set count as hidden, and tools that draw or train on "
        "visible points (2) see none",
        "labelled becomes 2, all else 0",
    ),
    "no-visible-point": Rule(
        "it teaches nothing, and some evaluations score it as perfect", "the entry is removed"
    ),
    "point-at-zero": Rule(
        "a missing point counts as labelled in the picture's corner", "it becomes unlabelled"
    ),
    "xy-order": Rule("a network learns the pose mirrored at the diagonal", "x and y are exchanged"),
    "point-outside": Rule(
        "no heatmap can show it; some encoders wrap it to the other side",
        "the point becomes unlabelled",
    ),
    "point-on-edge": Rule(
        "pixels are counted from 0, so the last one is size - 1: labels counted from 1?",
        "the point is moved onto the last pixel",
    ),
    "boxes-xyxy": Rule(
        "read as x, y, width, height the crops are too large and off the animal, and areas, OKS "
        "and AP come out too good",
        "written as x, y, width, height",
    ),
    "box-empty": Rule(
        "there is nothing to crop", "taken from the points, else the entry is removed"
    ),
    "box-outside": Rule("the crop is padded with nothing", "the box is cut to the picture"),
    "box-over-missing": Rule(
        "the box reaches to the (0, 0) of points that are not labelled",
        "taken from the labelled points",
    ),
    "area-wrong": Rule(
        "OKS divides by it: twice the area forgives errors that are 1.4 times as large",
        "set to the box's width times height",
    ),
    "left-right-swap": Rule(
        "the network is taught both answers and learns neither",
        "left and right are exchanged in the part that is named",
    ),
    "list-length": Rule(
        "values fall on the wrong points, or an index is out of range",
        "the list is dropped; readers then take the skeleton's own",
    ),
    "list-uneven": Rule(
        "left and right of one point differ: a list made for another order of points",
        "the list is dropped; readers then take the skeleton's own",
    ),
    "flip-not-involution": Rule(
        "mirrored training pictures get wrong labels", "written anew from the names"
    ),
    "flip-partner-missing": Rule("pictures cannot be mirrored without mislabelling it", ""),
    "edges-base": Rule("every edge is drawn one point off", "renumbered from the base that is due"),
    "edges-foreign": Rule(
        "the edges join points at random", "the list is dropped; readers take the skeleton's own"
    ),
    "picture-missing": Rule(
        "training stops at it", "the picture and its animals are removed from the file"
    ),
    "picture-broken": Rule(
        "training stops at it", "the picture and its animals are removed from the file"
    ),
    "picture-size": Rule(
        "points are judged and scaled by the wrong size", "set to the picture's own size"
    ),
    "picture-duplicate": Rule(
        "animals of one copy are unlabelled background in the other, and folds leak",
        "animals are gathered on the first copy, the others are removed from the file",
    ),
    "picture-near-duplicate": Rule(
        "the picture weighs double, and folds leak",
        "all but the first are removed from the file, with their animals",
    ),
    "split-leak": Rule(
        "a model is tested on what it was taught",
        "they are removed from the file that stands first",
    ),
    "species-imbalance": Rule(
        "a mean over species hangs on a few animals; a model sees little but the commonest", ""
    ),
}


@dataclass(frozen=True)
class Finding:
    """One kind of fault in one file: how often, in which entries, and what follows from it.

    ``entries`` are ids of annotations, or names of pictures, lists or species, one for each thing
    counted; an animal with two such points stands twice. ``details`` says something of each entry,
    or is empty. ``rows`` are the entries' places in the file's own list of annotations (or of
    pictures, as ``about`` says), for the one who mends it; ``groups`` the same where an entry is
    several pictures.
    """

    code: str
    count: int
    entries: tuple[Any, ...]
    message: str
    details: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    about: str = "animal"
    groups: tuple[tuple[int, ...], ...] = ()

    @property
    def harm(self) -> str:
        """Why it matters."""
        return RULES[self.code].harm

    @property
    def fix(self) -> str:
        """What ``--fix`` does; empty where it needs a person."""
        return RULES[self.code].fix

    def to_dict(self) -> dict[str, Any]:
        """As plain values: code, count, entries, message; harm, fix and details beside them."""
        return {
            "code": self.code,
            "count": self.count,
            "entries": list(self.entries),
            "message": self.message,
            "harm": self.harm,
            "fix": self.fix,
            "details": list(self.details),
        }


def finding(
    code: str,
    entries: Sequence[Any],
    message: str,
    *,
    details: Sequence[str] = (),
    rows: Sequence[int] | np.ndarray = (),
    about: str = "animal",
) -> list[Finding]:
    """The finding as a list of one, or of none where there are no entries."""
    if not len(entries):
        return []
    plain = tuple(_plain(entry) for entry in entries)
    places = tuple(int(row) for row in rows)
    return [Finding(code, len(plain), plain, message, tuple(details), places, about)]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def number(count: int, what: str) -> str:
    """``1 box``, ``2 boxes``, ``3 copies``."""
    if count == 1:
        return f"1 {what}"
    if what.endswith("y"):
        return f"{count:,} {what[:-1]}ies"
    return f"{count:,} {what}{'es' if what.endswith(('x', 's', 'h')) else 's'}"
