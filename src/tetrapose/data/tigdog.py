"""TigDog: frames of horses and tigers from videos, 19 points, in the MATLAB files of its release.

Origin: calvin-vision.net/datasets/tigdog, the folder behaviorDiscovery2.0.
Licence: none stated; frames of television and YouTube videos. For research only.
Citation: Del Pero, Ricco, Sukthankar, Ferrari: Behavior Discovery and Alignment of Articulated
Object Classes from Unstructured Video, IJCV 2017.

ranges/<animal>/ranges.mat holds a row (shot, first frame, last frame) a shot; landmarks/<animal>/
<shot>.mat a cell a frame, in it a structure of places (19, 2) and of flags (19, 1), 1 for visible.
Shots without a landmark file have no labels. Frames are <animal>/<frame number in 8 digits>.jpg. A
frame on which nothing is labelled stays as a picture without an animal.

Horse and tiger are two skeletons, so one is read at a time: ``animal=horse`` or ``animal=tiger``.
In the tiger's files the points 8-11 and 14-17 are exchanged against the horse's (limbs' upper and
middle joints); here both come in the order of the horse, FreeNet's (tools/json_convert.py of
github.com/yzrs/FreeNet, which exchanges the places but in one of its converters not the flags).
The tiger's 8 and 9 are front ankles where the horse's are knees. Some tigers have left and right
exchanged at shoulders or back hips: ``corrections`` names a list that says where, a JSON list of
objects with "file_name" and "error_type" 1 (shoulders), 2 (back hips) or 3 (both).

Groups are the shots, so that no split cuts one. The box is the tight one of the labelled points,
grown 1.5 times about its middle as FreeNet does, and cut at the picture's border; the size is read
from the first frame of each shot. Without pictures it is cut at the left and upper border alone.
Areas are width x height of the box. Places are taken as they stand: whether they count from 0 or 1
is not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.data import boxed, checks, foreign, reading
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.geometry import box_area, points_box
from tetrapose.images import ImageError, read_size
from tetrapose.structures import PoseSet, Problem

ABOUT = About(
    title="TigDog: frames of horses and tigers, 19 points (MATLAB files)",
    skeleton="tigdog_horse or tigdog_tiger, by animal=horse or animal=tiger",
    origin="calvin-vision.net/datasets/tigdog",
    licence="none stated; frames of television and YouTube videos: research only",
    citation=(
        "Del Pero et al., Behavior Discovery and Alignment of Articulated Object Classes from "
        "Unstructured Video, IJCV 2017"
    ),
    layout=(
        "FOLDER/ranges/<animal>/ranges.mat, FOLDER/landmarks/<animal>/<shot>.mat, "
        "FOLDER/<animal>/<8 digits>.jpg, where FOLDER is behaviorDiscovery2.0 or lies above it"
    ),
    traps=(
        "the tiger's files exchange two blocks of limb joints against the horse's; the tiger's "
        "front knees are ankles; its paws and neck are at other places than AP-10K's; frames of one"
        " shot are nearly alike (split by groups); some tigers' shoulders and back hips are "
        "exchanged left and right"
    ),
    fetch=(
        "the TigDog archive from calvin-vision.net/datasets/tigdog, unpacked in FOLDER; reading it "
        "needs SciPy: pip install 'tetrapose[readers]'"
    ),
)
ANIMALS = ("horse", "tiger")
POINTS = 19
GROWN = 1.5
# The horse's order in the tiger's files (FreeNet tools/json_convert.py; the index list of
# JitengMu/Learning-from-Synthetic-Animals evaluation/test.py is the same exchange).
RAW_TIGER = (*range(8), *range(14, 18), 12, 13, *range(8, 12), 18)
EXCHANGES = {
    1: (("left_shoulder", "right_shoulder"),),
    2: (("left_back_hip", "right_back_hip"),),
    3: (("left_shoulder", "right_shoulder"), ("left_back_hip", "right_back_hip")),
}


def read(
    root: str | Path,
    *,
    animal: str | None = None,
    corrections: str | Path | None = None,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """One animal's frames below ``root``, problems listed.

    ``sizes`` reads every frame's size instead of one a shot; ``pictures=False`` reads labels whose
    frames are not at hand.
    """
    root, animal = _place(Path(root), animal, pictures)
    where = str(root / "landmarks" / animal)
    frames, problems = _frames(root, animal)
    points = np.array(frames.points, dtype=np.float64).reshape(-1, POINTS, 2)
    flags = np.array(frames.flags, dtype=np.float64).reshape(-1, POINTS)
    if animal == "tiger":
        points, flags = points[:, RAW_TIGER], flags[:, RAW_TIGER]
    files = [f"{animal}/{number:08d}.jpg" for number in frames.numbers]
    skeleton = skeletons.load(f"tigdog_{animal}")
    if corrections is not None:
        listed = [entry for entry in correction_list(corrections) if _named(entry, corrections)]
        rows = {file.rpartition("/")[2]: [row] for row, file in enumerate(files)}
        problems += exchange(listed, rows, (points, flags), skeleton, str(corrections))
    labelled = (flags > 0) & np.isfinite(points).all(axis=-1)
    shown = np.flatnonzero(labelled.any(axis=1))
    size = np.zeros((len(files), 2), dtype=np.int32)
    if pictures:
        size = _sizes(root, files, np.array(frames.shots, dtype=np.int64))
    boxes = grown_boxes(np.where(labelled[..., None], points, np.nan)[shown], size[shown])
    pose_set = PoseSet(
        skeleton=skeleton,
        root=root,
        source="tigdog",
        licence=ABOUT.licence,
        files=tuple(files),
        image_ids=np.array(frames.numbers, dtype=np.int64),
        sizes=size,
        groups=np.array(frames.shots, dtype=np.int64),
        image_index=shown,
        keypoints=points[shown],
        visibility=np.where(flags[shown] > 0, 2, 0).astype(np.uint8),
        bboxes=boxes.astype(np.float32),
        areas=box_area(boxes),
        species=np.zeros(len(shown), dtype=np.int64),
        species_names=(animal,),
        crowd=np.zeros(len(shown), dtype=bool),
        annotation_ids=np.array(frames.numbers, dtype=np.int64)[shown],
        problems=tuple(problems),
    )
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def _place(root: Path, animal: str | None, pictures: bool) -> tuple[Path, str]:
    """The folder that holds ranges/ and landmarks/, and the animal."""
    inner = root / "behaviorDiscovery2.0"
    root = inner if inner.is_dir() and not (root / "ranges").is_dir() else root
    reading.need_folder(root, ("ranges", "landmarks"), ABOUT.layout)
    there = [name for name in ANIMALS if (root / "ranges" / name).is_dir()]
    if animal is None:
        if len(there) != 1:
            held = " and ".join(there) or "neither horse nor tiger"
            raise UserError(
                f"{root}: holds {held}, whose points differ; add animal=horse or animal=tiger"
            )
        animal = there[0]
    if animal not in ANIMALS:
        raise UserError(f"animal={animal}: it is horse or tiger")
    wants = [f"ranges/{animal}/ranges.mat", f"landmarks/{animal}"]
    reading.need_folder(root, [*wants, animal] if pictures else wants, ABOUT.layout)
    return root, animal


@dataclass
class _Frames:
    """Labelled frames in the raw order of their files."""

    numbers: list[int] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    flags: list[np.ndarray] = field(default_factory=list)


def _frames(root: Path, animal: str) -> tuple[_Frames, list[Problem]]:
    path = root / "ranges" / animal / "ranges.mat"
    shots = _ranges(path)
    folder = root / "landmarks" / animal
    frames, problems = _Frames(), []
    absent = [shot for shot, _, _ in shots if not (folder / f"{shot}.mat").exists()]
    if len(absent) == len(shots):
        raise UserError(f"{folder}: holds no landmarks of the {len(shots)} shots of {path}")
    if absent:
        what = f"{len(absent):,} of {len(shots):,} shots have no landmarks, first {absent[0]}.mat"
        fix = "nothing to do if the release has none; else complete the copy"
        problems.append(Problem(str(folder), what, fix, left_out=False))
    for shot, first, last in shots:
        if shot in absent:
            continue
        file = folder / f"{shot}.mat"
        try:
            cells = _cells(file, last - first + 1)
        except UserError as error:
            where, _, what = str(error).partition(": ")
            problems.append(Problem(where, what, "fetch it again"))
            continue
        for number, cell in enumerate(cells, first):
            try:
                points, flags = _landmarks(cell)
            except ValueError as error:
                where = f"{file}: frame {number}"
                problems.append(Problem(where, str(error), boxed.FIX))
                continue
            frames.numbers.append(number)
            frames.shots.append(shot)
            frames.points.append(points)
            frames.flags.append(flags)
    return frames, problems


def _ranges(path: Path) -> list[tuple[int, int, int]]:
    """Shot, first and last frame, a row a shot."""
    rows = foreign.load_mat(path).get("ranges")
    if rows is None or getattr(rows, "ndim", 0) != 2 or rows.shape[1] != 3 or not len(rows):
        raise UserError(f"{path}: holds no table ranges of shot, first frame and last frame")
    plain = rows.astype(np.int64)  # stored in the smallest type, in which last - first may overflow
    if (plain[:, 2] < plain[:, 1]).any():
        raise UserError(f"{path}: a shot ends before it begins; is it TigDog's own file?")
    return [(int(a), int(b), int(c)) for a, b, c in plain]


def _cells(file: Path, due: int) -> list[Any]:
    """The cells of a shot's frames."""
    cells = foreign.load_mat(file).get("landmarks")
    if cells is None or getattr(cells, "dtype", np.dtype(int)).kind != "O":
        raise UserError(f"{file}: holds no cells landmarks")
    found = list(cells.ravel())
    if len(found) != due:
        raise UserError(f"{file}: {len(found)} frames, where the shot's range has {due}")
    return found


def _landmarks(cell: Any) -> tuple[np.ndarray, np.ndarray]:
    """Places (19, 2) and flags (19,) of a frame: the first two fields of the cell's structure."""
    record = np.asarray(cell)
    names = record.dtype.names or ()
    if len(names) < 2 or record.size != 1:
        raise ValueError("a structure of places and flags is due")
    values = record.ravel()[0]
    points, flags = np.asarray(values[names[0]]), np.asarray(values[names[1]])
    if points.shape != (POINTS, 2) or flags.size != POINTS:
        raise ValueError(
            f"places {points.shape} and {flags.size} flags, where ({POINTS}, 2) and {POINTS} are "
            "due"
        )
    return points.astype(np.float64), flags.ravel().astype(np.float64)


def _sizes(root: Path, files: list[str], shots: np.ndarray) -> np.ndarray:
    """(M, 2) sizes, one read a shot; 0 where none of it can be read."""
    sizes = np.zeros((len(files), 2), dtype=np.int32)
    for shot in np.unique(shots):
        rows = np.flatnonzero(shots == shot)
        sizes[rows] = next(_readable(root, [files[row] for row in rows]), (0, 0))
    return sizes


def _readable(root: Path, files: list[str]) -> Iterator[tuple[int, int]]:
    for file in files:
        try:
            yield read_size(root / file)
        except ImageError:
            continue


def grown_boxes(points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) of points (N, K, 2), NaN for none, grown, cut at pictures of ``sizes`` (N, 2).

    A size of 0 is unknown: the box is not cut on the right and below.
    """
    tight = points_box(points)
    half = GROWN * (tight[:, 2:] - tight[:, :2]) / 2
    middle = (tight[:, 2:] + tight[:, :2]) / 2
    limit = np.where(sizes > 0, sizes - 0.5, np.inf)
    low, high = np.maximum(middle - half, -0.5), np.minimum(middle + half, limit)
    return np.concatenate([low, high], axis=1)


def correction_list(path: str | Path) -> list[dict[str, Any]]:
    """The entries of a correction list; a UserError tells of any that is none."""
    entries = reading.load_json(Path(path))
    if not isinstance(entries, list):
        raise UserError(f"{path}: a list of corrections is due")
    odd = [
        number
        for number, entry in enumerate(entries, 1)
        if not isinstance(entry, dict)
        or entry.get("error_type") not in EXCHANGES
        or not {"id", "file_name"} & set(entry)
    ]
    if odd:
        raise UserError(
            f"{path}: entry {odd[0]} is no correction (error_type 1, 2 or 3, with the id or the "
            "file_name of what it corrects)"
        )
    return entries


def _named(entry: dict[str, Any], path: str | Path) -> bool:
    if "file_name" not in entry:
        raise UserError(
            f"{path}: its entries name annotations of FreeNet's COCO files by id, which the MATLAB "
            "files do not have; use it with tigdog_coco, or write file_name"
        )
    return True


def exchange(
    corrections: list[dict[str, Any]],
    rows: dict[Any, list[int]],
    columns: tuple[np.ndarray, ...],
    skeleton: skeletons.Skeleton,
    where: str,
) -> list[Problem]:
    """Exchange left and right in place where a list says so; a problem for what it does not find.

    ``rows`` gives the rows of ``columns``, each (N, K, ...), by annotation id and by the picture's
    bare name.
    """
    problems = []
    for entry in corrections:
        name = str(entry.get("file_name", "")).replace("\\", "/").rpartition("/")[2]
        found = rows.get(name) if name else rows.get(entry["id"])
        if not found:
            named = entry.get("file_name", entry.get("id"))
            what = "the set has no such annotation"
            fix = "nothing to do if it belongs to another part or animal"
            problems.append(Problem(f"{where}: {named}", what, fix, left_out=False))
            continue
        for left, right in EXCHANGES[entry["error_type"]]:
            a, b = skeleton.index(left), skeleton.index(right)
            for column in columns:
                column[np.ix_(found, [a, b])] = column[np.ix_(found, [b, a])]
    return problems
