"""A label file in raw columns, as it is written: nothing judged, nothing left out unsaid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.audit import definitions
from tetrapose.audit.definitions import Definition
from tetrapose.audit.findings import Finding, finding, number
from tetrapose.errors import UserError

HUGE = 1e300  # beyond it, whole numbers do not fit a float


@dataclass(frozen=True)
class Sheet:
    """M pictures and N animals of a file in columns; what cannot be a column is in ``early``.

    Picture columns: image_names, image_ids, image_rows (M,) places in the file's list, sizes (M, 2)
    width, height with NaN for unknown. Animal columns: ids as the file has them, rows (N,) places
    in the file's list, image_index (N,), species (N,) into species_names and keypoint_names, boxes
    (N, 4) as written, in ``box_form`` (xywh or xyxy), areas (N,) NaN where none is written, points
    (N, K, 2) and flags (N, K) with NaN beyond an animal's own points, counts (N,) how many points
    it has, num_keypoints (N,) NaN for none, origins (N,) number of the source that a merged file
    names. ``content`` is the file's.
    """

    name: str
    layout: str
    content: Any = field(repr=False)
    image_names: list[str]
    image_ids: list[Any]
    image_rows: np.ndarray
    sizes: np.ndarray
    ids: list[Any]
    rows: np.ndarray
    image_index: np.ndarray
    species: np.ndarray
    species_names: tuple[str, ...]
    keypoint_names: tuple[tuple[str, ...], ...]
    boxes: np.ndarray
    box_form: str
    areas: np.ndarray
    points: np.ndarray
    flags: np.ndarray
    counts: np.ndarray
    num_keypoints: np.ndarray
    origins: np.ndarray
    definitions: tuple[Definition, ...]
    early: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> np.ndarray:
        """(N, 2) size of each animal's picture, NaN for unknown."""
        return self.sizes[self.image_index]


def load(path: Path) -> Any:
    """The values of a JSON file; a UserError says in one line why there are none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not data.strip():
        raise UserError(f"{path}: the file is empty")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{path}: not valid JSON ({why}); is the file complete?") from None


def sheet_of(content: Any, name: str) -> Sheet:
    """Raw columns of a COCO file, an official Animal-Pose file, or a file of definitions."""
    if not isinstance(content, dict):
        raise UserError(f"{name}: an object is due, not {_kind(content)}; is it a label file?")
    if "images" in content and "annotations" in content:
        return _labels(content, name)
    found = definitions.of_object(content, "definition")
    if not found:
        absent = [key for key in ("images", "annotations", "categories") if key not in content]
        raise UserError(
            f"{name}: neither labels (it lacks {', '.join(absent)}) nor a list of keypoint names"
        )
    return _empty(content, name, tuple(found))


def _empty(content: Any, name: str, found: tuple[Definition, ...]) -> Sheet:
    none = np.zeros(0)
    index = np.zeros(0, dtype=np.int64)
    return Sheet(
        name=name, layout="definition", content=content, image_names=[], image_ids=[],
        image_rows=index, sizes=np.zeros((0, 2)), ids=[], rows=index, image_index=index,
        species=index, species_names=(), keypoint_names=(),
        boxes=np.zeros((0, 4)), box_form="xywh", areas=none,
        points=np.zeros((0, 0, 2)), flags=np.zeros((0, 0)), counts=index, num_keypoints=none,
        origins=index, definitions=found,
    )  # fmt: skip


def _labels(content: Mapping[str, Any], name: str) -> Sheet:
    keyed = isinstance(content["images"], dict)
    pictures, early = _pictures(content["images"], name)
    categories = content.get("categories")
    if not isinstance(content["annotations"], list):
        raise UserError(f"{name}: annotations must be a list, not {_kind(content['annotations'])}")
    if not isinstance(categories, list):
        raise UserError(f"{name}: it lacks the list categories")
    position = {key: index for index, key in reversed(list(enumerate(pictures["id"])))}
    named = [c for c in categories if isinstance(c, dict) and _plain(c.get("id")) is not None]
    species = {_plain(c["id"]): i for i, c in enumerate(named)}
    entries, more = _columns(content["annotations"], position, species, keyed=keyed)
    found = definitions.of_categories(categories)
    found += definitions.with_lists(content, found)
    return Sheet(
        name=name,
        layout="animal_pose" if keyed else "coco",
        content=content,
        image_names=pictures["name"],
        image_ids=pictures["id"],
        image_rows=pictures["row"],
        sizes=pictures["size"],
        species_names=tuple(str(c.get("name", c["id"])) for c in named),
        keypoint_names=tuple(_names(c.get("keypoints")) for c in named),
        box_form="xyxy" if keyed else "xywh",
        definitions=tuple(found),
        early=(*early, *more),
        **entries,
    )


def _pictures(raw: Any, name: str) -> tuple[dict[str, Any], list[Finding]]:
    """Columns of the pictures that can be used; findings on the others."""
    if isinstance(raw, dict):
        raw = [{"id": key, "file_name": value} for key, value in raw.items()]
    if not isinstance(raw, list):
        raise UserError(f"{name}: images must be a list, not {_kind(raw)}")
    names, ids, rows, sizes = [], [], [], []
    broken: list[tuple[Any, str, int]] = []
    seen: dict[Any, int] = {}
    repeated: list[tuple[Any, int]] = []
    for row, entry in enumerate(raw):
        what = _picture_fault(entry)
        if what:
            broken.append((_entry_name(entry, row), what, row))
            continue
        key = _plain(entry["id"])
        if key in seen:
            repeated.append((entry["id"], row))
        seen[key] = row
        names.append(entry["file_name"].replace("\\", "/"))
        ids.append(key)
        rows.append(row)
        sizes.append((_positive(entry.get("width")), _positive(entry.get("height"))))
    columns = {
        "name": names,
        "id": ids,
        "row": np.array(rows, dtype=np.int64),
        "size": np.array(sizes, dtype=np.float64).reshape(len(rows), 2),
    }
    return columns, [
        *_broken(broken, "picture"),
        *finding(
            "id-repeated",
            [entry for entry, _ in repeated],
            f"{number(len(repeated), 'picture')} with an id that stood before",
            rows=[row for _, row in repeated],
            about="picture",
        ),
    ]


def _picture_fault(entry: Any) -> str:
    if not isinstance(entry, dict):
        return f"an object is due, not {_kind(entry)}"
    if _plain(entry.get("id")) is None:
        return "it has no id" if entry.get("id") is None else "its id is no number or text"
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"].strip():
        return "it has no file_name"
    return ""


FIELDS = ("image_id", "category_id", "bbox", "keypoints")


def _columns(
    raw: list[Any],
    position: dict[Any, int],
    species: dict[Any, int],
    *,
    keyed: bool,
    wild: frozenset[int] = frozenset(),
) -> tuple[dict[str, Any], list[Finding]]:
    """Columns of the annotations that can be used; findings on the others.

    ``wild`` are rows with numbers that no float can hold, found at the second try.
    """
    good, broken, dangling = [], [], []
    text = str if keyed else _plain
    for row, entry in enumerate(raw):
        what = "a number is too large" if row in wild else _entry_fault(entry, keyed=keyed)
        if what:
            broken.append((_entry_name(entry, row), what, row))
        elif text(entry["image_id"]) not in position:
            told = f"picture {entry['image_id']!r} is not in the file"
            dangling.append((_entry_name(entry, row), told, row))
        elif _plain(entry["category_id"]) not in species:
            told = f"category {entry['category_id']!r} is not in the file"
            dangling.append((_entry_name(entry, row), told, row))
        else:
            good.append(row)
    chosen = [raw[row] for row in good]
    try:
        points, flags, counts = _points(chosen)
        boxes = np.array([e["bbox"] for e in chosen], dtype=np.float64).reshape(len(chosen), 4)
    except OverflowError:
        wild = frozenset(row for row in good if not _tame(raw[row]))
        return _columns(raw, position, species, keyed=keyed, wild=wild)
    ids = [_entry_name(e, row) for e, row in zip(chosen, good, strict=True)]
    origins: dict[Any, int] = {}
    columns = {
        "ids": ids,
        "rows": np.array(good, dtype=np.int64),
        "image_index": np.array([position[text(e["image_id"])] for e in chosen], dtype=np.int64),
        "species": np.array([species[_plain(e["category_id"])] for e in chosen], dtype=np.int64),
        "boxes": boxes,
        "areas": np.array([_number(e, "area") for e in chosen], dtype=np.float64),
        "points": points,
        "flags": flags,
        "counts": counts,
        "num_keypoints": np.array([_number(e, "num_keypoints") for e in chosen], dtype=np.float64),
        "origins": np.array(
            [origins.setdefault(str(e.get("from")), len(origins)) for e in chosen], dtype=np.int64
        ),
    }
    findings = [
        *_broken(broken, "annotation"),
        *finding(
            "dangling",
            [entry for entry, _, _ in dangling],
            f"{number(len(dangling), 'animal')} of a picture or category that the file lacks",
            details=[what for _, what, _ in dangling],
            rows=[row for _, _, row in dangling],
        ),
        *([] if keyed else _id_findings(chosen, good)),
    ]
    return columns, findings


def _id_findings(chosen: list[Any], good: list[int]) -> list[Finding]:
    seen: set[Any] = set()
    absent, repeated = [], []
    for entry, row in zip(chosen, good, strict=True):
        key = _plain(entry.get("id"))
        if key is None:
            absent.append(row)
        elif key in seen:
            repeated.append((entry["id"], row))
        seen.add(key)
    return [
        *finding(
            "id-missing",
            [f"number {row + 1}" for row in absent],
            f"{number(len(absent), 'animal')} without an id",
            rows=absent,
        ),
        *finding(
            "id-repeated",
            [entry for entry, _ in repeated],
            f"{number(len(repeated), 'animal')} with an id that stood before",
            rows=[row for _, row in repeated],
        ),
    ]


def _entry_fault(entry: Any, *, keyed: bool) -> str:
    """What keeps an annotation from being a row; empty if nothing does."""
    if not isinstance(entry, dict):
        return f"an object is due, not {_kind(entry)}"
    get = entry.get
    image, species, box, points = get("image_id"), get("category_id"), get("bbox"), get("keypoints")
    if image is None or species is None or box is None or points is None:
        return f"it lacks {', '.join(key for key in FIELDS if get(key) is None)}"
    if _plain(image) is None or _plain(species) is None:
        return "its image_id or category_id is no number or text"
    if not isinstance(box, list) or len(box) != 4 or not _numeric(box):
        return "its bbox is not four numbers"
    return _points_fault(points, keyed=keyed)


def _points_fault(points: Any, *, keyed: bool) -> str:
    if not isinstance(points, list):
        return "its keypoints are not a list"
    if keyed or (points and isinstance(points[0], list)):
        if not all(isinstance(p, list) and len(p) == 3 and _numeric(p) for p in points):
            return "its keypoints are not x, y, flag each"
    elif len(points) % 3 or not _numeric(points):
        return "its keypoints are not three numbers each"
    return ""


def _tame(entry: Any) -> bool:
    """Whether all its numbers fit a float."""
    try:
        _points([entry])
        np.array(entry["bbox"], dtype=np.float64)
    except OverflowError:
        return False
    except (KeyError, TypeError, ValueError, IndexError):
        pass  # told as broken for what it is
    return True


NUMBERS = {int, float, type(None), bool}


def _numeric(values: list[Any]) -> bool:
    return NUMBERS.issuperset(map(type, values))


def _points(chosen: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, K, 2), flags (N, K), counts (N,); K is the largest count."""
    flat = [
        list(chain.from_iterable(e["keypoints"]))
        if e["keypoints"] and isinstance(e["keypoints"][0], list)
        else e["keypoints"]
        for e in chosen
    ]
    counts = np.array([len(values) // 3 for values in flat], dtype=np.int64)
    most = int(counts.max(initial=0))
    table = np.full((len(chosen), most, 3), np.nan)
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        values = np.array([flat[row] for row in rows], dtype=np.float64)
        table[rows, :count] = values.reshape(len(rows), count, 3)
    return table[..., :2], table[..., 2], counts


def _broken(broken: list[tuple[Any, str, int]], kind: str) -> list[Finding]:
    shown = broken[0][1] if broken else ""
    return finding(
        "entry-broken",
        [entry for entry, _, _ in broken],
        f"{number(len(broken), kind)} cannot be read; the first: {shown}",
        details=[what for _, what, _ in broken],
        rows=[row for _, _, row in broken],
        about="picture" if kind == "picture" else "animal",
    )


def _number(entry: Mapping[str, Any], key: str) -> float:
    """The field as a float; NaN where it is not written, infinity where it is no number."""
    value = entry.get(key)
    if value is None:
        return np.nan
    if isinstance(value, (int, float)) and -HUGE < value < HUGE:
        return float(value)
    return np.inf


def _names(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) and set(map(type, value)) == {str} else ()


def _positive(value: Any) -> float:
    fits = isinstance(value, (int, float)) and 0 < value < 1e9
    return float(value) if fits else np.nan


def _plain(value: Any) -> Any:
    """An id as a key: whole floats as whole numbers; None for what cannot be an id."""
    kind = type(value)
    if kind is int or kind is str:
        return value
    if kind is float:
        return int(value) if value.is_integer() else None
    return None


def _entry_name(entry: Any, row: int) -> Any:
    value = entry.get("id") if isinstance(entry, dict) else None
    return f"number {row + 1}" if _plain(value) is None else value


def _kind(value: Any) -> str:
    names = {list: "a list", dict: "an object", str: "text", type(None): "null"}
    return names.get(type(value), "a number")
