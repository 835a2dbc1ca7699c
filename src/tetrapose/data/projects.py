"""One's own labelled frames, however they were labelled: a project, a file or a table, opened.

Beside ``data.open_set``, which wants to be told the format, this finds it, leaves out what cannot
be learned from, and says in words what stands in the way of fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.data import deeplabcut, made, open_set, parse_spec
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.structures import PoseSet, Problem

DUE = (
    "a DeepLabCut project's folder, a .slp or .pkg.slp file of SLEAP, a .csv or .parquet table, or"
    " NAME:WHERE as for tetrapose datasets stats"
)


@dataclass(frozen=True)
class Project:
    """Labelled frames with what the labels call their points.

    ``names`` are those of the labels in the skeleton's order; ``alone`` says that every frame shows
    one animal at most.
    """

    pose_set: PoseSet
    kind: str
    names: tuple[str, ...]

    @property
    def alone(self) -> bool:
        """Whether no frame has a second animal."""
        return bool((np.bincount(self.pose_set.image_index) <= 1).all())


def open_project(
    where: str,
    *,
    frames: Path,
    skeleton: str | None = None,
    sides: str | None = None,
) -> Project:
    """The frames of ``where`` that have labels, with the problems that were met.

    ``frames`` is a folder that pictures inside films and packages may be written to. ``skeleton``
    and ``sides`` as in ``data.made.skeleton_of``. Points that no frame labels are left out of the
    skeleton, unless their partner on the other side is labelled, and told. Raises UserError for
    anything else than ``DUE``, and for fewer than two labelled frames.
    """
    spec = _spec(where)
    kind, root, options = parse_spec(spec)
    options |= {"skeleton": skeleton} if skeleton else {}
    options |= {"sides": sides} if sides else {}
    if kind == "sleap":
        options.setdefault("frames", str(frames))
    # pictures' own sizes: whole frames are looked at, and boxes end at their borders
    pose_set = open_set(f"{kind}:{root}", sizes=True, **options)
    names = _label_names(kind, root, pose_set, options)
    labelled = np.any(pose_set.labelled, axis=1) & ~pose_set.crowd
    sized = np.asarray(np.all(pose_set.sizes > 0, axis=1))[pose_set.image_index]
    pose_set = pose_set.select_instances(labelled & sized)
    pose_set = pose_set.select_images(np.bincount(
        pose_set.image_index, minlength=len(pose_set.files)) > 0)  # fmt: skip
    if not len(pose_set):
        raise UserError(f"{where}: no frame has a label{_why(pose_set)}")
    if len(pose_set.files) < 2:
        raise UserError(
            f"{where}: one labelled frame ({next(iter(pose_set.files))}); two are the least, one "
            "to learn from and one to measure on, and twenty make a model of use"
            f"{_why(pose_set)}"
        )
    pose_set, kept = _without_unlabelled(pose_set, where)
    sizes = np.unique(pose_set.sizes, axis=0)
    if len(sizes) > 1:
        shown = ", ".join(f"{w}x{h}" for w, h in sizes[:3].tolist())
        what = f"frames of {len(sizes)} sizes ({shown}{' ...' if len(sizes) > 3 else ''})"
        fix = "nothing to do; a pixel of one is not a pixel of another, mind that in the errors"
        pose_set = _told(pose_set, Problem(where, what, fix, left_out=False))
    return Project(pose_set, kind, tuple(names[i] for i in kept))


def _spec(where: str) -> str:
    """NAME:WHERE for what was given, the format found by what lies there."""
    name, colon, _ = where.partition(":")
    path = Path(where)
    if colon and len(name) > 1 and not path.exists() and not Path(name).exists():
        return where
    if path.is_dir():
        return _spec_of_folder(path)
    file = Path(name) if colon and Path(name).is_file() else path
    if not file.is_file():
        raise UserError(f"{where}: no such file or folder; due is {DUE}")
    if file.name == "config.yaml":
        return f"deeplabcut:{file.parent}"
    suffix = file.suffix.lower()
    if suffix == ".slp":
        return f"sleap:{where}"
    if suffix == ".parquet" or (suffix == ".csv" and not _of_deeplabcut(file)):
        return f"table:{where}"
    return _spec_of_table(file, where)


def _spec_of_folder(path: Path) -> str:
    if (path / deeplabcut.LABELS).is_dir():
        return f"deeplabcut:{path}"
    files = sorted(path.glob("*.slp"))
    if len(files) == 1:
        return f"sleap:{files[0]}"
    lacks = f"{len(files)} .slp files in it" if files else f"no {deeplabcut.LABELS}/ in it"
    raise UserError(f"{path}: a folder with {lacks}; due is {DUE}")


def _spec_of_table(file: Path, where: str) -> str:
    """The project that a table of DeepLabCut's is part of."""
    if file.suffix.lower() not in (".csv", ".h5"):
        raise UserError(f"{where}: {file.suffix or 'this'} is none of: {DUE}")
    if file.parent.parent.name == deeplabcut.LABELS:
        return f"deeplabcut:{file.parents[2]}"
    raise UserError(
        f"{where}: a table of DeepLabCut's outside a project; name the project's folder, with "
        f"{deeplabcut.LABELS}/ in it"
    )


def _of_deeplabcut(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as stream:
            return stream.readline(200).lower().startswith("scorer")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from None


def _label_names(
    kind: str, root: str, pose_set: PoseSet, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """What the labels call the skeleton's points, in its order."""
    names = pose_set.skeleton.names
    if kind != "deeplabcut":
        return names
    parts = deeplabcut.body_parts(root)
    _, order, _ = made.skeleton_of(
        parts, options.get("skeleton"), where=root, sides=options.get("sides")
    )
    return tuple(parts[i] if i >= 0 else name for i, name in zip(order, names, strict=True))


def _without_unlabelled(pose_set: PoseSet, where: str) -> tuple[PoseSet, np.ndarray]:
    """The set without points that nobody labelled, and which points stayed."""
    seen = np.asarray(np.any(pose_set.labelled, axis=0))
    keep = seen | seen[pose_set.skeleton.flip_indices]
    names = np.array(pose_set.skeleton.names)
    if not keep.all():
        what = f"never labelled: {', '.join(names[~keep])}"
        pose_set = _told(pose_set, Problem(where, what, "the model goes without; label some"))
    if (keep & ~seen).any():
        what = f"never labelled, though the other side is: {', '.join(names[keep & ~seen])}"
        fix = "do not trust these points; label some"
        pose_set = _told(pose_set, Problem(where, what, fix, left_out=False))
    kept = np.flatnonzero(keep)
    if keep.all():
        return pose_set, kept
    weights = None if pose_set.weights is None else pose_set.weights[:, kept]
    return replace(
        pose_set,
        skeleton=part_of(pose_set.skeleton, kept),
        keypoints=pose_set.keypoints[:, kept],
        visibility=pose_set.visibility[:, kept],
        weights=weights,
    ), kept


def part_of(skeleton: Skeleton, kept: np.ndarray) -> Skeleton:
    """A skeleton with some of the points of another, in its order, and the edges among them."""
    given = skeleton.to_dict()
    names = {skeleton.names[i] for i in kept.tolist()}
    return skeletons.from_dict(
        {
            **given,
            "name": f"{skeleton.name}_part",
            "keypoints": [p for p in given["keypoints"] if p["name"] in names],
            "edges": [edge for edge in given["edges"] if set(edge) <= names],
            "sigma_sets": {},
            "weight_sets": {},
        }
    )


def _told(pose_set: PoseSet, problem: Problem) -> PoseSet:
    return replace(pose_set, problems=(*pose_set.problems, problem))


def _why(pose_set: PoseSet) -> str:
    told = [str(p) for p in pose_set.problems if p.left_out]
    more = f"; and {len(told) - 1} more" if len(told) > 1 else ""
    return f"; left out: {told[0]}{more}" if told else ""
