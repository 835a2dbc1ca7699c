"""A trained model's weights onto another skeleton: what it knows of a keypoint stays with it.

Labels made elsewhere rarely say where on the body their points sit, only what they call them. A
name is read as a place where the skeletons that ship call it so (snout is nobody's name there, so
a few of the lab's own words stand beside them); then places decide as ever (skeletons.mapping).
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from tetrapose import skeletons
from tetrapose.data import naming
from tetrapose.skeletons import Skeleton, mirror_name, places
from tetrapose.skeletons.mapping import EXACT, GRADES, between
from tetrapose.weights import card as cards

Rest = Literal["mean", "fresh"]
SIDES = ("left", "right")
# What labs call points of rodents, primates and birds, beside the names in shipped skeletons
WORDS = {
    "snout": "nose", "muzzle": "nose", "nosetip": "nose", "beak": "nose", "bill": "nose",
    "ear": "ear_tip", "eartip": "ear_tip", "earbase": "ear_base",
    "tailbase": "tail_root", "tailroot": "tail_root", "tailstart": "tail_root",
    "tailtip": "tail_tip", "tailend": "tail_tip", "midtail": "tail_middle",
    "head": "head", "skull": "head", "chin": "chin", "neck": "neck", "nape": "nape",
    "spine": "back", "midback": "back", "centroid": "back", "bodycenter": "back",
    "body": "back", "center": "back", "wrist": "carpus", "ankle": "hock",
    "hand": "front_paw", "forepaw": "front_paw", "frontpaw": "front_paw",
    "forelimb": "front_paw", "foot": "back_paw", "hindpaw": "back_paw", "rearpaw": "back_paw",
    "backpaw": "back_paw", "hindlimb": "back_paw", "hip": "hip", "knee": "stifle",
}  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """Where each keypoint of a new skeleton starts from: ``source`` "" for none of the old ones.

    ``grade`` is exact, near or absent, as in skeletons.mapping.
    """

    name: str
    source: str
    grade: str


def transplanted(
    loaded: cards.Loaded, skeleton: Skeleton, *, rest: Rest = "mean", seed: int = 0
) -> tuple[nn.Module, tuple[Taken, ...]]:
    """A network like ``loaded`` with a map a point of ``skeleton``, and what it took over.

    All but the heads is taken as it is. A keypoint that the old skeleton has, by place or by name,
    starts from its own part of the head; others from the mean of all parts, which answers to
    keypoints of any kind, with ``rest="mean"``, or from small random numbers with ``rest="fresh"``.
    The numbers drawn depend on ``seed`` alone. ``loaded`` stays as it was.
    """
    mapping = between(loaded.skeleton, placed(skeleton))
    count, theirs = len(skeleton), len(loaded.skeleton)
    heads = head_names(loaded.card, theirs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cards.build_network(
            _sized(loaded.card, count), Path("the model to start from"), num_keypoints=count
        ).to_empty(device="cpu")
        given = loaded.model.state_dict()
        state: dict[str, Tensor] = {}
        for name, tensor in given.items():
            if name not in heads:
                state[name] = tensor.detach().clone()
                continue
            old = tensor.detach()
            new = old.mean(0, keepdim=True).expand(count, *old.shape[1:]).clone()
            if rest == "fresh":
                new = 0.01 * torch.randn_like(new) if old.ndim > 1 else torch.zeros_like(new)
            for here, there in enumerate(mapping.index.tolist()):
                if there >= 0:
                    new[here] = old[there]
            state[name] = new
    model.load_state_dict(state)
    names = loaded.skeleton.names
    taken = tuple(
        Taken(name, names[there] if there >= 0 else "", GRADES[grade])
        for name, there, grade in zip(
            skeleton.names, mapping.index.tolist(), mapping.grade.tolist(), strict=True
        )
    )
    return model, taken


def head_names(card: dict, count: int) -> frozenset[str]:
    """Names of the tensors whose first side counts keypoints, in a card's network.

    Found by building it without memory for one keypoint more, so that a layer that happens to be
    as wide as there are keypoints is none.
    """
    where = Path("the model to start from")
    own, other = (
        cards.build_network(_sized(card, n), where, num_keypoints=n).state_dict()
        for n in (count, count + 1)
    )
    return frozenset(name for name in own if own[name].shape != other[name].shape)


def _sized(card: dict, count: int) -> dict:
    """The card's architecture for another number of keypoints, within a head's own network too."""
    architecture = copy.deepcopy(card["architecture"])
    architecture["arguments"]["num_keypoints"] = count
    return architecture


def placed(skeleton: Skeleton) -> Skeleton:
    """The skeleton with places guessed from names, where it tells none.

    A guess is dropped where two points would claim one place, or where a side's partner would sit
    elsewhere.
    """
    guessed = {
        p.name: p.place or places.sided(place_of(p.name), p.name) for p in skeleton.keypoints
    }
    claims = Counter(place for place in guessed.values() if place)
    own = {p.name: p.place for p in skeleton.keypoints}
    twice = {n for n, place in guessed.items() if claims[place] > 1 and not own[n]}
    # a pair goes together, or each side for itself stays out
    twice |= {mirror_name(n) for n in twice}
    kept = {n: "" if n in twice and not own[n] else place for n, place in guessed.items()}
    points = tuple(replace(p, place=kept[p.name]) for p in skeleton.keypoints)
    return replace(skeleton, keypoints=points)


def place_of(name: str) -> str:
    """The place, without a side, that a keypoint's name speaks of; "" for none.

    >>> place_of("snout"), place_of("left_ear"), place_of("TailBase"), place_of("wheel")
    ('nose', 'ear_tip', 'tail_root', '')
    """
    plain = _plain(name)
    return _names().get(plain) or WORDS.get(plain, "")


@cache
def _names() -> dict[str, str]:
    """Plain name -> place, where the skeletons that ship are of one mind."""
    told: dict[str, set[str]] = {}
    for which in skeletons.available():
        skeleton = skeletons.load(which)
        other = naming.aliases().get(which, {})
        names = [*skeleton.names, *(a for a, n in other.items() if n in skeleton.names)]
        for name in names:
            place = skeleton.keypoints[skeleton.index(other.get(name, name))].place
            if place:
                told.setdefault(_plain(name), set()).add(places.unsided(place))
    return {name: held.pop() for name, held in told.items() if len(held) == 1}


def _plain(name: str) -> str:
    """Small letters without sides and without what joins words.

    >>> _plain("Left_Front-Paw"), _plain("L_EarBase")
    ('frontpaw', 'earbase')
    """
    words = re.split(r"[\s._-]+", name.strip().lower())
    return "".join(word for word in words if word not in (*SIDES, "l", "r"))


def told(taken: Sequence[Taken]) -> str:
    """What was taken over, in a line."""
    known = [one for one in taken if one.source]
    if not known:
        return "none of the keypoints is known to the model to start from: their maps start as one"
    pairs = ", ".join(
        one.name if one.name == one.source else f"{one.name} from {one.source}" for one in known
    )
    near = sum(one.grade != GRADES[EXACT] for one in known)
    doubt = f" ({near} of them near)" if near else ""
    return f"{len(known)} of {len(taken)} keypoints are known{doubt}: {pairs}"
