"""What the pictures themselves tell: missing, broken, of another size, copies and near-copies."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from tetrapose import images
from tetrapose.audit import hashes
from tetrapose.audit.findings import Finding, finding, number
from tetrapose.audit.raw import Sheet
from tetrapose.errors import UserError
from tetrapose.images import ImageError

FOLDERS = (".", "images", "data", "..", "../images", "../data")  # seen from the label file
PROBED = 100  # names looked for in each
LEAST = 64  # px that the shorter side keeps when a picture is read to be compared
# Pairs whose hashes differ in at most NEAR bits are compared as small pictures, and are near-copies
# from LIKE on. Among 8.9 million pairs of Animal-Pose's pictures 103 pass the first test, and of
# those that are different pictures none comes over 0.85; copies cut by a tenth reach 0.9 to 0.98.
NEAR = 12
LIKE = 0.9
EDGE = 3  # px of the small picture that a copy may lack on each side


@dataclass(frozen=True)
class Fact:
    """One picture as it is on the disk; ``why`` says what is wrong, and then the rest is empty."""

    missing: bool = False
    why: str = ""
    size: tuple[int, int] = (0, 0)
    content: bytes = b""
    hash: int = 0
    mirrored: int = 0
    small: np.ndarray | None = None

    @property
    def usable(self) -> bool:
        """Whether it could be read."""
        return not self.missing and not self.why


Progress = Callable[[int, int], None]


def find_folder(file: Path, names: Sequence[str]) -> Path | None:
    """Where a label file's pictures lie, as seen from the file; None if they are not at hand."""
    for place in FOLDERS:
        folder = Path(os.path.normpath(file.parent / place))
        if any((folder / name).is_file() for name in names[:PROBED]):
            return folder
    return None


def look(paths: Sequence[Path], progress: Progress | None = None) -> dict[Path, Fact]:
    """What is to be known of each picture; ``progress`` is told how many of how many are done."""
    lengths: dict[int, list[Path]] = defaultdict(list)
    unique = list(dict.fromkeys(paths))
    for path in unique:
        try:
            lengths[path.stat().st_size].append(path)
        except OSError:
            continue
    alike = {path for group in lengths.values() if len(group) > 1 for path in group}
    facts = {}
    for done, path in enumerate(unique):
        facts[path] = _fact(path, digest=path in alike)
        if progress:
            progress(done + 1, len(unique))
    return facts


def _fact(path: Path, *, digest: bool) -> Fact:
    if not path.exists():
        return Fact(missing=True)
    try:
        pixels, size = images.read_image(path, least=LEAST)
        content = hashlib.blake2b(path.read_bytes()).digest() if digest else b""
    except (ImageError, OSError) as error:
        return Fact(why=str(error).removeprefix(f"{path}: "))
    plain, mirrored = hashes.picture_hash(pixels)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (hashes.SIDE, hashes.SIDE), interpolation=cv2.INTER_AREA)
    return Fact(size=size, content=content, hash=plain, mirrored=mirrored, small=small)


def with_sizes(sheet: Sheet, facts: Sequence[Fact]) -> Sheet:
    """The sheet with the pictures' own sizes where the file tells none."""
    own = np.array([f.size if f.usable else (np.nan, np.nan) for f in facts], dtype=np.float64)
    return replace(sheet, sizes=np.where(np.isnan(sheet.sizes), own.reshape(-1, 2), sheet.sizes))


def there(sheet: Sheet, facts: Sequence[Fact]) -> list[Finding]:
    """Pictures that are missing, cannot be read, or have another size than the file says."""
    missing = [i for i, fact in enumerate(facts) if fact.missing]
    broken = [i for i, fact in enumerate(facts) if fact.why]
    sized = [
        i
        for i, fact in enumerate(facts)
        if fact.usable
        and np.isfinite(sheet.sizes[i]).all()
        and tuple(sheet.sizes[i].astype(int)) != fact.size
    ]
    return [
        *_pictures(sheet, "picture-missing", missing, "missing on the disk", [""] * len(missing)),
        *_pictures(
            sheet, "picture-broken", broken, "that cannot be read", [facts[i].why for i in broken]
        ),
        *_pictures(
            sheet,
            "picture-size",
            sized,
            "of another size than the file says",
            [
                f"is {facts[i].size[0]}x{facts[i].size[1]}, the file says "
                f"{sheet.sizes[i, 0]:g}x{sheet.sizes[i, 1]:g}"
                for i in sized
            ],
        ),
    ]


def _pictures(
    sheet: Sheet, code: str, which: Sequence[int], what: str, details: Sequence[str]
) -> list[Finding]:
    return finding(
        code,
        [sheet.image_names[i] for i in which],
        f"{number(len(which), 'picture')} {what}",
        details=details,
        rows=sheet.image_rows[list(which)],
        about="picture",
    )


def copies(sheet: Sheet, facts: Sequence[Fact] | None) -> list[Finding]:
    """Groups of pictures with one name or the same content, and pairs that look the same.

    An entry is a group, the names joined by " = ".
    """
    keys: dict[object, list[int]] = defaultdict(list)
    for i, name in enumerate(sheet.image_names):
        content = facts[i].content if facts else b""
        keys[content or name].append(i)
    groups = [group for group in keys.values() if len(group) > 1]
    found = _groups(sheet, "picture-duplicate", groups, "of identical pictures")
    if not facts:
        return found
    firsts = [group[0] for group in keys.values() if facts[group[0]].usable]
    pairs = near_copies([facts[i] for i in firsts])
    first = hashes.grouped(len(firsts), pairs)
    near: dict[int, list[int]] = defaultdict(list)
    for i, root in zip(firsts, first, strict=True):
        near[int(root)].append(i)
    alike = [group for group in near.values() if len(group) > 1]
    return found + _groups(sheet, "picture-near-duplicate", alike, "of nearly identical pictures")


def _groups(sheet: Sheet, code: str, groups: list[list[int]], what: str) -> list[Finding]:
    pictures = sum(len(group) for group in groups)
    told = finding(
        code,
        [" = ".join(sheet.image_names[i] for i in group) for group in groups],
        f"{number(len(groups), 'group')} {what}, {number(pictures, 'picture')} in all",
        details=[number(len(group), "picture") for group in groups],
        about="picture",
    )
    rows = [tuple(int(sheet.image_rows[i]) for i in group) for group in groups]
    return [replace(one, groups=tuple(rows)) for one in told]


def near_copies(facts: Sequence[Fact]) -> list[tuple[int, int]]:
    """Pairs of pictures that look the same, mirrored or not."""
    plain = np.array([fact.hash for fact in facts], dtype=np.uint64)
    mirrored = np.array([fact.mirrored for fact in facts], dtype=np.uint64)
    return [
        (i, j)
        for i, j, _ in hashes.near_pairs(plain, mirrored, NEAR)
        if likeness(facts[i].small, facts[j].small) >= LIKE
    ]


def near_across(one: Sequence[Fact], other: Sequence[Fact]) -> list[tuple[int, int]]:
    """Pairs of a picture of ``one`` and the first of ``other`` that looks the same."""
    plain = np.array([fact.hash for fact in other], dtype=np.uint64)
    mirrored = np.array([fact.mirrored for fact in other], dtype=np.uint64)
    found = []
    for i, fact in enumerate(one):
        for j in hashes.within(np.uint64(fact.hash), plain, mirrored, NEAR):
            if likeness(fact.small, other[j].small) >= LIKE:
                found.append((i, j))
                break
    return found


def likeness(one: np.ndarray | None, other: np.ndarray | None) -> float:
    """The best correlation of the middle of one small picture with a part of the other's, -1 to 1.

    Either may be cut by up to a tenth of its side and mirrored.
    """
    if one is None or other is None:
        raise UserError("pictures that could not be read cannot be compared")
    best = -1.0
    for turned in (other, other[:, ::-1]):
        for middle, whole in ((one, turned), (turned, one)):
            patch = np.ascontiguousarray(middle[EDGE:-EDGE, EDGE:-EDGE], dtype=np.float32)
            if patch.std() < 1:
                continue  # a plain surface is like any other
            for side in (hashes.SIDE, hashes.SIDE + 2, hashes.SIDE + 4):
                grown = cv2.resize(np.ascontiguousarray(whole, dtype=np.float32), (side, side))
                match = cv2.matchTemplate(grown, patch, cv2.TM_CCOEFF_NORMED)
                best = max(best, float(match.max()))
    return best
