"""A skeleton for labels that name keypoints and tell little else about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.data import naming
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton, SkeletonError
from tetrapose.structures import Problem

SIGMA = 0.1
SOURCE = {
    "keypoints": "the names in the label file",
    "edges": "the label file's own",
    "sigmas": "none told; 0.1 for every point, the constant that DeepLabCut scores with by default",
    "sites": "not told; parts guessed from words in the names, for half-body crops alone",
}
# Words by which a name tells its part of the body; the first that stands in it counts.
PARTS = {
    "tail": "tail",
    "back": "hind|(?<!fo)rear|back_?(?:left|right)?_?(?:paw|foot|leg|limb|knee|hoof)"
    "|hip|stifle|hock|ankle|heel|thigh",
    "front": "front|fore(?!head)|shoulder|elbow|wrist|carpus|arm|hand|wing",
    "head": "head|nose|snout|eye|ear|mouth|jaw|chin|beak|antenna|face|throat|horn|antler",
}


def skeleton_of(
    names: Sequence[str],
    given: str | Skeleton | None,
    *,
    where: str,
    edges: Iterable[Sequence[str]] = (),
    sides: str | None = None,
) -> tuple[Skeleton, np.ndarray, list[Problem]]:
    """The skeleton of labels with these names, where its points (K,) stand among them, doubts.

    ``given`` (a name, a .yaml file or a skeleton) is taken as it is: it must know every name, may
    know more, and those points are -1. Otherwise it is the shipped skeleton with just these names,
    in any order, or one made of them: left and right are told by the words left and right, and
    ``sides`` says what single letters mean (``letters``: L is left, R is right; ``words``: they are
    no sides). Raises UserError where that must be said, or where a side lacks its partner.
    """
    if sides not in (None, "letters", "words"):
        raise UserError(f"sides={sides}: it is letters (L and R are left and right) or words")
    if given is not None:
        return _as_given(names, given, where)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{where}: the keypoint {twice} stands twice")
    try:
        shipped = naming.match(names)
    except UserError:
        return _made(names, edges, sides, where)
    order = naming.order_in(shipped, names)
    assert order is not None
    return shipped, order, []


def _as_given(
    names: Sequence[str], given: str | Skeleton, where: str
) -> tuple[Skeleton, np.ndarray, list[Problem]]:
    if isinstance(given, Skeleton):
        skeleton = given
    else:
        try:
            skeleton = skeletons.load(given)
        except SkeletonError as error:
            raise UserError(f"skeleton={given}: {error}") from None
    known = naming.aliases().get(skeleton.name, {})
    plain = [known.get(name.strip(), name.strip()) for name in names]
    # a file of ours made from these names holds the tidied ones
    tidied = {name: _tidy(name, letters=True) for name in plain if name not in skeleton.names}
    plain = [tidied.get(name, name) for name in plain]
    strange = [n for n, p in zip(names, plain, strict=True) if p not in skeleton.names]
    if strange:
        raise UserError(
            f"{where}: skeleton {skeleton.name} has no {', '.join(strange[:4])}; add what is "
            "missing to its file, with the labels' names"
        )
    order = [plain.index(name) if name in plain else -1 for name in skeleton.names]
    return skeleton, np.array(order, dtype=np.int64), []


def _made(
    names: Sequence[str], edges: Iterable[Sequence[str]], sides: str | None, where: str
) -> tuple[Skeleton, np.ndarray, list[Problem]]:
    words = [_tidy(name, letters=False) for name in names]
    # joined to the next word, left is a side only beside its right: leftover is none
    words = [
        word if skeletons.mirror_name(word) in words else _apart(name)
        for name, word in zip(names, words, strict=True)
    ]
    letters = [_tidy(name, letters=True) for name in names]
    paired = {n: t for n, t, w in zip(names, letters, words, strict=True) if t != w}
    paired = {n: t for n, t in paired.items() if skeletons.mirror_name(t) in letters}
    if paired and sides is None:
        shown = ", ".join(list(paired)[:4])
        raise UserError(
            f"{where}: do L and R in {shown} mean left and right? Add sides=letters if they do, "
            "sides=words if not"
        )
    tidy = [t if sides == "letters" and n in paired else w
            for n, t, w in zip(names, letters, words, strict=True)]  # fmt: skip
    lone = [name for name in tidy if skeletons.mirror_name(name) not in tidy]
    if lone:
        raise UserError(
            f"{where}: {', '.join(lone[:4])} has no partner on the other side; write a skeleton "
            "file that has both (it may have more points than the labels) and name it with "
            "skeleton=FILE.yaml"
        )
    new = dict(zip(names, tidy, strict=True))
    known = [(new[a], new[b]) for a, b in edges if a in new and b in new and a != b]
    definition: dict[str, Any] = {
        "name": "made_of_labels",
        "title": f"{len(names)} points, named by {Path(where).name}",
        "source": SOURCE,
        "keypoints": [
            {"name": name, "part": part_of(name), "sigma": SIGMA, "site": "not told"}
            for name in tidy
        ],
        "edges": list(dict.fromkeys(known)),
    }
    try:
        skeleton = skeletons.from_dict(definition)
    except SkeletonError as error:
        raise UserError(f"{where}: {error}; name a skeleton with skeleton=FILE.yaml") from None
    moved = [f"{old} as {name}" for old, name in new.items() if old != name]
    doubts = []
    if moved:
        what = f"left and right taken from the names: {', '.join(moved)}"
        fix = "name a skeleton with skeleton=FILE.yaml, if that is wrong"
        doubts.append(Problem(where, what, fix, left_out=False))
    return skeleton, np.arange(len(names)), doubts


def part_of(name: str) -> str:
    """The part of the body that the words of a name speak of; trunk where none does."""
    for part, words in PARTS.items():
        if re.search(rf"(?:{words})", name.lower()):
            return part
    return "trunk"


def _apart(name: str) -> str:
    """The name with _ between its words, and left and right in small letters where they are words.

    >>> _apart("Left Ear"), _apart("leftover")
    ('left_Ear', 'leftover')
    """
    words = re.split(r"[\s._-]+", name.strip())
    return "_".join(word.lower() if word.lower() in ("left", "right") else word for word in words)


def _tidy(name: str, *, letters: bool) -> str:
    """The name with its side as a word of its own: leftear, ear-Left -> left_ear, ear_left.

    With ``letters`` a single L or R that stands apart, or as a capital at either end, is a side.
    """
    plain = _apart(name)
    if skeletons.mirror_name(plain) != plain:
        return plain
    joined = re.fullmatch(r"(?i:(left|right))(.+)|(.+?)(?i:(left|right))", plain)
    if joined:
        side, rest, front, end = joined.groups()
        return f"{side.lower()}_{rest}" if side else f"{front}_{end.lower()}"
    if not letters:
        return plain
    sides = {"l": "left", "r": "right"}
    apart = "_".join(sides.get(word.lower(), word) for word in plain.split("_"))
    capital = re.fullmatch(r"([LR])([A-Za-z].+)|(.+[a-z0-9])([LR])", plain)
    if apart != plain or not capital:
        return apart
    side, rest, front, end = capital.groups()
    return f"{sides[side.lower()]}_{rest}" if side else f"{front}_{sides[end.lower()]}"


def in_order(values: np.ndarray, order: np.ndarray, empty: float) -> np.ndarray:
    """Values (..., n) or (..., n, 2) of the labels' points in the skeleton's order.

    The points' axis is the first; ``empty`` stands where the labels have no such point.
    """
    out = values[np.maximum(order, 0)].copy()
    out[order < 0] = empty
    return out
