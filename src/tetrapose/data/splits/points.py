"""Recipes after which animals show only some of their labelled points.

Source of the first two: FreeNet (github.com/yzrs/FreeNet), whose lists of AP-10K's training labels
(info/missing_keypoints_anns_info_level_*.json, 25_5_imgs_keypoints_anns_info.json) were taken
apart: a fair coin decides for each animal between its front and its back half, the same coin at
every level; the 2,615 of 9,122 that show neither have no label in the half that fell to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tetrapose import skeletons
from tetrapose.data.splits import draw
from tetrapose.data.splits.apply import counted
from tetrapose.data.splits.files import Part, Shown
from tetrapose.data.splits.pictures import Made, share_units, shot_units
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton, mapping, places
from tetrapose.structures import PoseSet

HALVES = ("front", "back")
# places down a limb: the last of each limb is shared from level 1 on, the first at level 2
LIMB = (
    "shoulder", "elbow", "carpus", "front_fetlock", "front_paw_top", "front_paw",
    "hip", "stifle", "hock", "back_fetlock", "back_paw_top", "back_paw",
)  # fmt: skip
CONVENTIONS = ("ap10k", "animal_pose", "tigdog_horse")


def shared_points(skeleton: Skeleton, level: int) -> tuple[str, ...]:
    """Keypoints that both halves show: of AP-10K 5, 9 or 13 at level 0, 1 and 2.

    Level 0: head, trunk and tail. Level 1: also the lowest point of each limb, the paws. Level 2:
    also the highest, where the limb leaves the trunk. Limbs are told by part and side, and ordered
    by their points' places; a UserError says which point has none.
    """
    if level not in (0, 1, 2):
        raise UserError(f"level {level}: it is 0, 1 or 2")
    shared = {p.name for p in skeleton.keypoints if p.part not in HALVES}
    limbs: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for point in skeleton.keypoints:
        if point.part not in HALVES or not level:
            continue
        place = places.unsided(point.place)
        if place not in LIMB:
            raise UserError(
                f"{skeleton.name}: {point.name} has no place along a limb, so level {level} is not "
                "defined; name the shared points instead: shared=NAME+NAME"
            )
        words = point.name.split("_")
        side = next((word for word in words if word in ("left", "right")), "")
        limbs.setdefault((point.part, side), []).append((LIMB.index(place), point.name))
    for limb in limbs.values():
        ends = (max(limb), min(limb))[:level]
        shared |= {name for _, name in ends}
    return tuple(name for name in skeleton.names if name in shared)


def front_back(
    pose_set: PoseSet,
    *,
    level: int = 0,
    shared: str | Sequence[str] = (),
    by: str = "animal",
    share: Any = "all",
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Made:
    """``labelled``: every animal with its front or its back half and the shared points alone.

    A coin for each annotation id decides, the same for all levels of a seed; ``by`` "species" deals
    halves to species instead. ``shared`` names other points than those of ``level``. ``share``
    leaves the others of the animals that ``fraction`` draws without a label. ``pool``: all pictures
    as they are labelled, for methods that learn without labels and to judge what they guess.
    ``groups`` hold pictures together for ``share`` alone: no picture is held out.
    """
    known = pose_set.skeleton
    given = tuple(shared.split("+")) if isinstance(shared, str) and shared else tuple(shared)
    _known(known, given, "shared")
    both = given or shared_points(known, int(level))
    if _by(by, "animal"):
        half = draw.lots(pose_set.annotation_ids.tolist(), seed, "front-back") & np.uint64(1)
    else:
        half = _species_shares(pose_set, len(HALVES), seed, "front-back")
    blocks = []
    report: dict[str, Any] = {"shared": list(both)}
    within, drawn = _drawn(pose_set, draw.units(pose_set, groups), share, seed)
    seen = np.zeros(len(pose_set), dtype=bool)
    for value, part in enumerate(HALVES):
        own = [p.name for p in known.keypoints if p.part == part]
        if not own:
            raise UserError(f"{known.name} has no points of the part {part}")
        rows = (half == value) & drawn
        names = tuple(name for name in known.names if name in both or name in own)
        blocks.append(_block(part, names, pose_set.annotation_ids[rows]))
        alone = [known.names.index(name) for name in own if name not in both]
        shows = rows & pose_set.labelled[:, alone].any(axis=1)
        seen |= shows
        report[part] = {"animals": int(rows.sum()), "showing_points_of_it": int(shows.sum())}
    report["showing_neither"] = int((drawn & ~seen).sum())
    labelled = Part(within, None, tuple(blocks))
    report["labelled_points"] = _count(pose_set, labelled)
    return Made({"labelled": labelled, "pool": Part()}, report)


def many_to_few(
    pose_set: PoseSet,
    *,
    many: int = 25,
    few: int = 5,
    species: str | Path = "",
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Made:
    """``labelled``: ``many`` pictures of each species that show as many points as ``few`` do.

    Each species shows one part alone, head, front or back (thirds.yaml, or the file ``species``);
    of its labels as many are drawn, keypoint by keypoint, as the ``few`` pictures of every species
    have together. Points of trunk and tail are shown throughout. ``few``: those few pictures with
    all their labels; ``unlabelled``: the pictures that are not among the many. Both lists are those
    of ``n-shot`` of the same seed.
    """
    many, few = int(many), int(few)
    if not 0 < few < many:
        raise UserError(f"25-to-5: many={many} has to exceed few={few}, and both 0")
    made = draw.units(pose_set, groups)
    part_of = _species_parts(pose_set, species)
    chosen, fewer = shot_units(made, many, seed), shot_units(made, few, seed)
    of_row = made.of_picture[pose_set.image_index]
    rows, rows_few = chosen[of_row], fewer[of_row]
    labelled = pose_set.labelled
    ids = pose_set.annotation_ids
    blocks, shown, wanted = [], {}, {}
    always = tuple(p.name for p in pose_set.skeleton.keypoints if p.part in ("trunk", "tail"))
    if always:
        blocks.append(_block("always", always, ids[rows]))
    for k, point in enumerate(pose_set.skeleton.keypoints):
        if point.part in ("trunk", "tail"):
            continue
        have = np.flatnonzero(rows & labelled[:, k] & (part_of == point.part))
        wanted[point.name] = int((rows_few & labelled[:, k]).sum())
        drawn = np.argsort(draw.lots(ids[have].tolist(), seed, point.name), kind="stable")
        taken = have[drawn[: wanted[point.name]]]
        shown[point.name] = len(taken)
        blocks.append(_block(point.name, (point.name,), ids[taken]))
    parts = {
        "labelled": Part(draw.pictures_of(pose_set, made, chosen), None, tuple(blocks)),
        "few": Part(draw.pictures_of(pose_set, made, fewer)),
        "unlabelled": Part(draw.pictures_of(pose_set, made, ~chosen)),
    }
    report = {
        "pictures": int(made.pictures[chosen].sum()),
        "animals": int(rows.sum()),
        "points_shown": shown,
        "points_wanted": wanted,
        "labelled_points": _count(pose_set, parts["labelled"]),
    }
    return Made(parts, report)


def conventions(
    pose_set: PoseSet,
    *,
    names: str | Sequence[str] = CONVENTIONS,
    near: bool = True,
    by: str = "picture",
    share: Any = "all",
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Made:
    """Equal shares of the animals, each showing only the points that one convention has.

    Groups of pictures are dealt in a drawn order; ``by`` "species" deals species, in turn, as real
    sets differ in their animals too. ``share`` leaves the others of the animals that ``fraction``
    draws without a label. A part a convention, named after it, and ``labelled`` with all of them.
    With ``near``, a point that the convention puts close by counts as had.
    """
    wanted = names.split("+") if isinstance(names, str) else list(names)
    if len(wanted) < 2 or len(set(wanted)) < len(wanted):
        raise UserError(f"conventions {'+'.join(wanted)}: at least two different ones are due")
    made = draw.units(pose_set, groups)
    within, drawn = _drawn(pose_set, made, share, seed)
    if _by(by, "picture"):
        order = made.order(seed, "conventions")
        middle = np.cumsum(made.animals[order]) - made.animals[order] / 2
        share = np.empty(len(made), dtype=np.int64)
        share[order] = middle * len(wanted) // max(int(made.animals.sum()), 1)
        of_row = share[made.of_picture[pose_set.image_index]]
    else:
        of_row = _species_shares(pose_set, len(wanted), seed, "conventions")
    parts, blocks, report = {}, [], {}
    for i, name in enumerate(wanted):
        points = points_of(pose_set.skeleton, name, near=near)
        rows = (of_row == i) & drawn
        block = _block(name, points, pose_set.annotation_ids[rows])
        blocks.append(block)
        pictures = {pose_set.files[k] for k in pose_set.image_index[rows].tolist()}
        parts[name] = Part(tuple(sorted(pictures)), None, (block,))
        report[name] = {
            "points": list(points),
            "animals": int(rows.sum()),
            "labelled_points": _count(pose_set, parts[name]),
        }
    return Made({"labelled": Part(within, None, tuple(blocks)), **parts}, report)


def points_of(skeleton: Skeleton, convention: str, *, near: bool = True) -> tuple[str, ...]:
    """Those keypoints of a skeleton that another convention has too."""
    try:
        other = skeletons.load(convention)
    except FileNotFoundError as error:
        raise UserError(f"conventions: {error}") from None
    least = mapping.NEAR if near else mapping.EXACT
    grade = mapping.between(other, skeleton).grade
    names = tuple(n for n, g in zip(skeleton.names, grade, strict=True) if g >= least)
    if not names:
        raise UserError(f"conventions: {convention} and {skeleton.name} have no point in common")
    return names


def _drawn(
    pose_set: PoseSet, made: draw.Units, share: Any, seed: int
) -> tuple[tuple[str, ...] | None, np.ndarray]:
    """The pictures that show labels, None for all, and (N,) True for their animals."""
    if share == "all":
        return None, np.ones(len(pose_set), dtype=bool)
    chosen = share_units(made, share, seed)
    return draw.pictures_of(pose_set, made, chosen), chosen[made.of_picture[pose_set.image_index]]


def _species_parts(pose_set: PoseSet, file: str | Path) -> np.ndarray:
    """(N,) the part that each animal's species shows."""
    path = Path(file) if file else resources.files("tetrapose.data.splits") / "thirds.yaml"
    try:
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))
        part_of = {str(name): part for part in ("head", *HALVES) for name in groups[part]}
    except (OSError, KeyError, TypeError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"species file {path}: due is YAML with the lists head, front and back ({error})"
        ) from None
    here = [pose_set.species_names[s] for s in np.unique(pose_set.species)]
    absent = [name for name in here if name not in part_of]
    if absent:
        raise UserError(
            f"25-to-5: no part is told for {', '.join(absent)}; write a file of your own with the "
            "lists head, front and back and name it with species=FILE.yaml"
        )
    parts = np.array([part_of.get(name, "") for name in pose_set.species_names])
    return parts[pose_set.species]


def _by(by: str, usual: str) -> bool:
    """Whether a recipe deals as it usually does; a UserError where ``by`` is no way at all."""
    if by not in (usual, "species"):
        raise UserError(f"by={by}: it is {usual} or species")
    return by == usual


def _species_shares(pose_set: PoseSet, count: int, seed: int, purpose: str) -> np.ndarray:
    """(N,) the share, 0 to ``count`` less 1, of each animal's species.

    Species are dealt in turn in a drawn order of those that the set can have, so that a part of a
    set without some of them deals the others alike.
    """
    names = sorted(pose_set.species_names)
    if len(names) < count:
        raise UserError(f"by=species: {count} shares of {len(names)} species cannot be dealt")
    order = np.argsort(draw.lots(names, seed, purpose), kind="stable")
    share = np.empty(len(names), dtype=np.int64)
    share[order] = np.arange(len(names)) % count
    of_name = dict(zip(names, share.tolist(), strict=True))
    return np.array([of_name[n] for n in pose_set.species_names], dtype=np.int64)[pose_set.species]


def _known(skeleton: Skeleton, names: Sequence[str], what: str) -> None:
    for name in names:
        try:
            skeleton.index(name)
        except KeyError as error:
            raise UserError(f"{what}: {error.args[0]}") from None


def _block(name: str, points: Sequence[str], ids: np.ndarray) -> Shown:
    return Shown(name, tuple(points), tuple(sorted(ids.tolist())))


def _count(pose_set: PoseSet, part: Part) -> int:
    """Labelled points that a part shows."""
    return counted(pose_set, part)[2]
