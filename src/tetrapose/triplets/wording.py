"""What the points of an animal tell in words: its posture, where it faces, and a plain sentence.

Only what the geometry settles is said; in doubt, nothing. Lengths are ratios within one animal, the
camera is taken to be held level. The rules and their bounds are tried against the menagerie, whose
postures and headings are known (docs/triplets_at_scale.md has the figures).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tetrapose.skeletons import Skeleton, places
from tetrapose.structures import Instances

Places = Mapping[str, np.ndarray]

STRETCHED = 0.75  # a leg drops by this share of its own length or more where one stands on it
BENT = 0.35  # and no leg that is seen by less
UPRIGHT = 0.94  # every leg that is seen, where one stands still
LAID = 0.4  # front legs drop by this share at most where one lies
TUCKED = 0.85  # and hind ones by this: the stifle lies higher than the elbow
HIND_SITS = 0.55  # of the hind leg, stifle to paw, at most when sitting on it
RISES = 0.35  # rise of the trunk towards the front, over its length, when sitting
LEVEL = (-0.75, 0.3)  # and when standing, heads down to graze and seen a little from above
BOWS = -0.3  # and at least when lying: a dog that bows has its front legs laid too
SIDEWAYS = 0.5  # front to back across the picture over the animal's span: seen from the side
NARROW = 0.28  # and the most of it when seen from the front or the back
LEGS = (("elbow", "carpus", "front_paw"), ("stifle", "hock", "back_paw"))
# what stands for a place that a skeleton lacks, nearest first
FRONT = ("withers", "neck_base", "neck", "neck_tigdog", "shoulder", "elbow")
BACK = ("tail_root", "croup", "hip", "stifle")
FACE = ("nose", "chin", "upper_jaw")
SUBSTITUTES = {"front_paw": ("front_paw_top", "front_fetlock"), "back_paw": ("back_paw_top",)}

ALIKE = {"sheep", "deer", "moose", "bison", "elk", "fish", "okapi", "swine", "caribou"}
ODD = {
    "mouse": "mice", "wolf": "wolves", "calf": "calves", "goose": "geese", "ox": "oxen",
    "person": "people",
}  # fmt: skip
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Reading:
    """What one animal's points tell; "" where they do not.

    ``posture``: "standing", "on all fours", "sitting", "lying". ``view``: "left" or "right" of the
    picture, "towards" or "away" from the camera.
    """

    posture: str = ""
    view: str = ""


def read(instances: Instances, skeleton: Skeleton, *, threshold: float = 0.0) -> list[Reading]:
    """One reading for each animal, of points that are labelled or score above ``threshold``."""
    readings = []
    for row in range(len(instances)):
        there = np.isfinite(instances.keypoints[row]).all(axis=-1) & (instances.visibility[row] > 0)
        if instances.scores is not None:
            there &= np.nan_to_num(instances.scores[row]) > threshold
        at = {
            point.place: instances.keypoints[row, k]
            for k, point in enumerate(skeleton.keypoints)
            if there[k] and point.place
        }
        readings.append(Reading(posture(at), view(at)))
    return readings


def posture(at: Places) -> str:
    """Posture, "" where unsure, from places (sided) -> x, y in pixels.

    A front and a hind leg have to be seen, elbow or stifle to paw. "on all fours": both pairs reach
    down by most of their own length and the trunk is about level; "standing": every leg is upright
    besides, as it seldom is in a gait. "sitting": the front legs do, the hind ones do not, and the
    trunk rises to the front. "lying": the front legs do not reach down, and the trunk does not
    slope down to the front.
    """
    front, back = (
        [drop for side in ("left", "right") if (drop := _drop(at, leg, side)) is not None]
        for leg in LEGS
    )
    pitch = _pitch(at)
    if not front or not back or pitch is None:
        return ""
    if max(front) <= LAID:
        return "lying" if max(back) <= TUCKED and pitch >= BOWS else ""
    if max(front) < STRETCHED:
        return ""
    if max(back) >= STRETCHED and min(*front, *back) > BENT:
        if not LEVEL[0] <= pitch <= LEVEL[1]:
            return ""
        return "standing" if min(*front, *back) >= UPRIGHT else "on all fours"
    return "sitting" if max(back) <= HIND_SITS and pitch >= RISES else ""


def view(at: Places) -> str:
    """Where the animal faces: "left" or "right" in the picture, "towards", "away", or "".

    To a side: front and back of the trunk lie apart across the picture and the face lies further
    out on the front's side. Towards: the trunk is seen end on or not at all, and the face lies
    between the eyes, of which the animal's left one is on the picture's right. Away: the trunk is
    seen end on, its left points are on the picture's left, and no face is seen.
    """
    front, back = _middle(at, FRONT), _middle(at, BACK)
    span = float(np.ptp(np.stack(list(at.values())), axis=0).max()) if len(at) > 1 else 0.0
    if not span:
        return ""
    across = None if front is None or back is None else float(front[0] - back[0]) / span
    face = _middle(at, FACE)
    if across is not None and abs(across) >= SIDEWAYS:
        ahead = face is None or front is None or (face[0] - front[0]) * across > 0
        return ("right" if across > 0 else "left") if ahead else ""
    if across is not None and abs(across) > NARROW:
        return ""
    return _end_on(at, face, across is not None)


def _end_on(at: Places, face: np.ndarray | None, trunk: bool) -> str:
    order = _sides(at)
    eyes = [at[eye] for eye in ("left_eye", "right_eye") if eye in at]
    if face is not None and len(eyes) == 2:
        between = eyes[1][0] < face[0] < eyes[0][0]
        return "towards" if between and order > 0 else ""
    return "away" if face is None and not eyes and trunk and order < 0 else ""


def sentence(species: Sequence[str], readings: Sequence[Reading], variant: int = 0) -> str:
    """A caption from what is known: "a photo of a dog standing, facing left".

    ``variant`` chooses among a few openings. Species may be "" (an animal). What is told of one
    animal is told of several only where it holds for all.
    """
    words = Counter(name(one) for one in species) or Counter(["animal"])
    what = _joined([counted(word, n) for word, n in words.items()])
    postures = {reading.posture for reading in readings}
    views = {reading.view for reading in readings}
    told = what
    if len(postures) == 1 and (only := postures.pop()):
        told += f" {only}"
    if len(views) == 1 and (only := views.pop()):
        told += {
            "left": ", facing left", "right": ", facing right",
            "towards": ", facing the camera", "away": ", seen from behind",
        }[only]  # fmt: skip
    openings = ("a photo of {}", "{}", "a photograph of {}", "a picture of {}")
    return openings[variant % len(openings)].format(told)


def name(species: str) -> str:
    """A species as a word of a sentence: "n02085620-german_shepherd" is "german shepherd"."""
    text = re.sub(r"^n\d{8}[-_ ]", "", species.strip())
    text = " ".join(re.split(r"[_\s]+", text)).strip(" -")
    return text.lower() or "animal"


def counted(word: str, count: int) -> str:
    """ "a dog", "an ox", "two dogs", "twelve" and more as figures."""
    if count == 1:
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
    number = NUMBERS[count] if count < len(NUMBERS) else str(count)
    return f"{number} {plural(word)}"


def plural(word: str) -> str:
    """The plural of an English animal's name; the last word of several takes it."""
    *rest, last = word.split(" ")
    if last in ALIKE:
        many = last
    elif last in ODD:
        many = ODD[last]
    elif re.search(r"(s|x|z|ch|sh)$", last):
        many = last + "es"
    elif re.search(r"[^aeiou]y$", last):
        many = last[:-1] + "ies"
    else:
        many = last + "s"
    return " ".join([*rest, many])


def _drop(at: Places, leg: tuple[str, str, str], side: str) -> float | None:
    """How far a leg reaches down, over its own length from joint to joint; None where unseen."""
    chain = []
    for place in leg:
        options = (place, *SUBSTITUTES.get(place, ()))
        found = next((at[f"{side}_{p}"] for p in options if f"{side}_{p}" in at), None)
        if found is None and place == leg[1]:
            continue  # the middle joint may be missing
        if found is None:
            return None
        chain.append(found)
    length = sum(float(np.hypot(*(b - a))) for a, b in zip(chain, chain[1:], strict=False))
    return float(chain[-1][1] - chain[0][1]) / length if length > 0 else None


def _pitch(at: Places) -> float | None:
    """Rise of the trunk from back to front over its length; None where it is not seen."""
    front, back = _middle(at, FRONT), _middle(at, BACK)
    if front is None or back is None:
        return None
    length = float(np.hypot(*(front - back)))
    return float(back[1] - front[1]) / length if length > 0 else None


def _middle(at: Places, names: Sequence[str]) -> np.ndarray | None:
    """The first place of a list that is there, or the middle of its two sides."""
    for place in names:
        both = [at[key] for key in (place, f"left_{place}", f"right_{place}") if key in at]
        if place in at or len(both) == 2:
            return np.mean(both, axis=0)
    return None


def _sides(at: Places) -> int:
    """+1 where the animal's left points lie right of its right ones in the picture, -1, or 0.

    0 where its pairs do not agree: three quarters of them have to.
    """
    votes = [
        np.sign(place[0] - at[other][0])
        for key, place in at.items()
        if key.startswith("left_") and (other := f"right_{places.unsided(key)}") in at
    ]
    if not votes or abs(sum(votes)) < len(votes) / 2:
        return 0
    return 1 if sum(votes) > 0 else -1


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
