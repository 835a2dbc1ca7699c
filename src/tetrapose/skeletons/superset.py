"""One skeleton that holds the points of several: a union by place on the body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tetrapose.skeletons import Keypoint, Skeleton, SkeletonError, from_dict, places


def build(skeletons: Sequence[Skeleton], name: str, *, merge_near: bool = True) -> Skeleton:
    """The union of ``skeletons``, in their order: each place once, named after the place.

    With ``merge_near`` a point that is near to one already taken (paw centre, paw top) is that
    point; without, it becomes a point of its own. Points that tell no place keep their name.
    Sigma, part and site come from the first skeleton that has the point, edges from all.
    Raises SkeletonError naming both points where two of different skeletons cannot be told apart.
    """
    points: dict[str, tuple[Keypoint, str]] = {}
    edges: dict[frozenset[str], tuple[str, str]] = {}
    for skeleton in skeletons:
        here = _names_in(points, skeleton, merge_near)
        for point in skeleton.keypoints:
            points.setdefault(here[point.name], (point, skeleton.name))
        for a, b in skeleton.edges:
            pair = (here[a], here[b])
            if pair[0] != pair[1]:
                edges.setdefault(frozenset(pair), pair)
    _demand_known(points)
    return from_dict(
        {
            "name": name,
            "title": f"{' + '.join(s.name for s in skeletons)} ({len(points)} points)",
            "source": {
                key: f"union of {', '.join(s.name for s in skeletons)}"
                for key in ("keypoints", "edges", "sigmas", "sites")
            },
            "keypoints": [_definition(key, point) for key, (point, _) in points.items()],
            "edges": [list(pair) for pair in edges.values()],
        }
    )


def _names_in(
    points: dict[str, tuple[Keypoint, str]], skeleton: Skeleton, merge_near: bool
) -> dict[str, str]:
    """The union's name of each point; a near point gives way to one that sits at the very place."""
    here = {p.name: p.place or p.name for p in skeleton.keypoints if not p.place}
    here |= {p.name: p.place for p in skeleton.keypoints if p.place in points}
    taken = set(here.values())
    for point in skeleton.keypoints:
        if point.name in here:
            continue
        near = [
            key
            for key, (other, _) in points.items()
            if merge_near and key not in taken and places.nearness(other.place, point.place)
        ]
        here[point.name] = near[0] if near else point.place
        taken.add(here[point.name])
    return here


def _demand_known(points: dict[str, tuple[Keypoint, str]]) -> None:
    faults = [
        f"{origin}'s {point.name!r} tells no place, yet it has the name of one"
        for key, (point, origin) in points.items()
        if not point.place and places.unsided(key) in places.known()
    ]
    if faults:
        raise SkeletonError("; ".join(faults) + " (add place: to its skeleton file)")


def _definition(name: str, point: Keypoint) -> dict[str, Any]:
    out = {"name": name, "sigma": point.sigma, "part": point.part, "site": point.site}
    return out | ({"place": places.unsided(point.place)} if point.place else {})
