"""Left and right in keypoint names of any house style."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

# Each pattern has the side as its group; the partner has the other side's word in its place.
CERTAIN = (
    re.compile(r"(?:^|[^a-z])(left|right)(?=$|[^a-z])", re.I),  # left_eye, Eye_Left
    re.compile(r"(?:^|[^A-Za-z])([LlRr])(?=$|[^A-Za-z])"),  # L_eye, eye_r
    re.compile(r"(?<=[a-z])([LR])(?=\d*$)"),  # eyeL, forelegR1
    re.compile(r"(?<=[a-z])(Left|Right)(?=$|[A-Z\d])"),  # eyeLeft
)
# These are sides only if the partner is there too: "lear" could be a name.
POSSIBLE = (
    re.compile(r"^(left|right)(?=[a-z])", re.I),  # leftear
    re.compile(r"(?<=[a-z])(left|right)$", re.I),  # earleft
    re.compile(r"^(near|off)(?=[a-z])", re.I),  # horses': Nearknee
)
OTHER = {"left": "right", "right": "left", "l": "r", "r": "l", "near": "off", "off": "near"}


def side(name: str) -> str:
    """``left``, ``right`` or nothing."""
    for pattern in (*CERTAIN, *POSSIBLE):
        found = pattern.search(name.strip())
        if found:
            word = found.group(1).lower()
            return {"l": "left", "r": "right", "near": "left", "off": "right"}.get(word, word)
    return ""


def mirrored(name: str, patterns: Sequence[re.Pattern[str]] = CERTAIN) -> str | None:
    """The partner's name, or None for a name without a side."""
    for pattern in patterns:
        found = pattern.search(name)
        if found:
            start, end = found.span(1)
            word = name[start:end]
            other = OTHER[word.lower()]
            other = other.upper() if word.isupper() else other
            other = other.capitalize() if word.istitle() and len(word) > 1 else other
            return name[:start] + other + name[end:]
    return None


def partners(names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """(K,) index of each point's partner, its own on the midline; names that lack theirs."""
    plain = [str(name).strip() for name in names]
    place = {name: index for index, name in reversed(list(enumerate(plain)))}
    index = np.arange(len(plain))
    alone = []
    for i, name in enumerate(plain):
        certain = mirrored(name)
        other = certain or mirrored(name, POSSIBLE)
        if other in place:
            index[i] = place[other]
        elif certain:
            alone.append(name)
    return index, alone


HEAD = ("eye", "ear", "mouth", "nose", "head", "chin", "snout", "throat", "ant", "muzzle", "jaw")
BACK = ("back", "hind", "rear", "hip", "stifle", "hock", "tail", "pelvis")
HEAD_MIDLINE = ("nose", "chin", "snout", "mouth", "head", "muzzle")


def part(name: str) -> str:
    """``head``, ``back`` (hind limbs and tail) or ``front``, by the words of a name."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()).lower()
    if any(word in words for word in ("front", "fore")):
        return "front"
    if any(word in words for word in BACK):
        return "back"
    if any(word in re.split(r"[^a-z]+", words) for word in HEAD) or re.search(
        r"eye|(^|_|left|right)ear|mouth|nose", words
    ):
        return "head"
    return "front"


def parts(names: Sequence[str]) -> np.ndarray:
    """(K,) the part of each point.

    A knee is a hind limb's where the front limbs have elbows (AP-10K), as is an ankle or heel.
    """
    found = [part(name) for name in names]
    plain = [name.lower() for name in names]
    elbows = any("elbow" in name for name in plain)
    for i, name in enumerate(plain):
        hind = ("knee" in name and elbows) or "ankle" in name or "heel" in name
        if found[i] == "front" and hind and not any(w in name for w in ("front", "fore")):
            found[i] = "back"
    return np.array(found)
