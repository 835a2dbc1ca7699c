"""``tetrapose datasets audit``: what is wrong in label files, and corrected copies."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tetrapose.audit.checking import Settings
    from tetrapose.audit.findings import Finding
    from tetrapose.audit.pictures import Fact
    from tetrapose.audit.raw import Sheet
    from tetrapose.audit.view import View

HELP = "find what is wrong in label files, and write corrected copies"
SHOWN = 5  # entries of a finding that are printed; --json holds all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.description = (
        "Exit status 0: nothing found; 1: findings; 2: wrong use, or not one file could be read. "
        "FILE is a label file (COCO or near it, the official Animal-Pose file, a keypoint "
        "definition) or a set as NAME:WHERE."
    )
    parser.add_argument("files", metavar="FILE", nargs="*")
    parser.add_argument(
        "--splits", metavar="NAME=FILE", nargs="+", default=[],
        help="files that must share no picture, the one to mend first",
    )  # fmt: skip
    parser.add_argument("--images", metavar="DIR", help="pictures, where not beside the file")
    parser.add_argument(
        "--labels-only", action="store_true", help="do not look at the pictures, even if at hand"
    )
    parser.add_argument("--json", metavar="FILE", help="write all findings with all entries")
    parser.add_argument("--html", metavar="FILE", help="write a page with the findings")
    parser.add_argument(
        "--fix", metavar="FILE", help="write a corrected copy; a folder for several files"
    )
    parser.add_argument("--only", metavar="CODES", help="only these, parted by commas")
    parser.add_argument("--ignore", metavar="CODES", help="all but these")
    parser.add_argument(
        "--imbalance", type=float, default=50.0, metavar="RATIO",
        help="tell species this many times as rare as the commonest (default 50; 0: none)",
    )  # fmt: skip


@dataclass
class Audited:
    """One file on its way: what was read, and what was found."""

    name: str
    split: str | None = None
    sheet: Sheet | None = None
    folder: Path | None = None
    facts: dict[str, Fact] | None = None
    found: list[Finding] = field(default_factory=list)
    leaks: list[Finding] = field(default_factory=list)
    seen: View | None = None

    @property
    def all_found(self) -> list[Finding]:
        """Leaks and all else."""
        return [*self.leaks, *self.found]


def run(args: argparse.Namespace) -> int:
    """Read, look, tell, write."""
    settings = _settings(args)
    files = _given(args)
    targets = _targets(args.fix, files)
    for file in files:
        _read(file, args)
    readable = [file for file in files if file.sheet is not None]
    _look(readable)
    for file in readable:
        _check(file, settings)
    _leaks(readable, settings)
    for file in files:
        _tell(file)
    _write(args, files, targets, settings)
    if not readable:
        return 2
    return 1 if any(file.all_found for file in files) else 0


def _settings(args: argparse.Namespace) -> Settings:
    from difflib import get_close_matches

    from tetrapose.audit.checking import Settings
    from tetrapose.audit.findings import RULES
    from tetrapose.errors import UserError

    chosen = []
    for given in (args.only, args.ignore):
        codes = [code.strip() for code in (given or "").split(",") if code.strip()]
        for code in codes:
            if code not in RULES:
                near = ", ".join(get_close_matches(code, RULES, n=3) or RULES)
                raise UserError(f"there is no finding {code!r}; there is {near}")
        chosen.append(frozenset(codes))
    return Settings(only=chosen[0], ignore=chosen[1], imbalance=args.imbalance)


def _given(args: argparse.Namespace) -> list[Audited]:
    from tetrapose.errors import UserError

    files = [Audited(name) for name in args.files]
    for one in args.splits:
        split, equals, name = one.partition("=")
        if not equals or not split or not name:
            raise UserError(f"--splits {one}: write NAME=FILE, such as train=labels.json")
        files.append(Audited(name, split))
    if not files:
        raise UserError("name a label file, or several after --splits (--help shows the use)")
    names = [file.name for file in files]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{twice[0]}: named twice")
    if args.images and not Path(args.images).is_dir():
        raise UserError(f"{args.images}: no such folder")
    return files


def _targets(fix: str | None, files: list[Audited]) -> list[Path]:
    """Where each corrected copy goes; never onto a file that was given."""
    from tetrapose.errors import UserError

    if fix is None:
        return []
    folder = len(files) > 1 or Path(fix).is_dir() or fix.endswith("/")
    targets = [Path(fix) / Path(file.name).name if folder else Path(fix) for file in files]
    if len(set(targets)) < len(targets):
        raise UserError(f"{fix}: two of the files have the same name; mend them one by one")
    if folder and Path(fix).is_file():
        raise UserError(f"{fix}: a file, where a folder is due for several copies")
    given = {Path(file.name).resolve() for file in files}
    for target in targets:
        if target.resolve() in given:
            raise UserError(f"{target}: that is the file itself; name another for the copy")
    return targets


def _is_spec(name: str) -> bool:
    from tetrapose.data import available

    return name.partition(":")[0] in available() and ":" in name and not Path(name).exists()


def _read(file: Audited, args: argparse.Namespace) -> None:
    from tetrapose.audit import pictures, raw, sets
    from tetrapose.audit.findings import finding
    from tetrapose.errors import UserError

    try:
        if _is_spec(file.name):
            from tetrapose.data import open_set

            pose_set = open_set(file.name, pictures=not args.labels_only)
            file.sheet, file.folder = sets.of_set(pose_set, file.name), pose_set.root
        else:
            path = Path(file.name)
            file.sheet = raw.sheet_of(raw.load(path), file.name)
            file.folder = pictures.find_folder(path, file.sheet.image_names)
    except UserError as error:
        file.found = finding("file-unreadable", [file.name], str(error), about="file")
    if args.labels_only:
        file.folder = None
    elif args.images:
        file.folder = Path(args.images)


def _look(files: list[Audited]) -> None:
    """Read the pictures of all files at once, so that copies across them are seen."""
    from tetrapose.audit import pictures

    paths = [
        file.folder / name
        for file in files
        if file.folder is not None and file.sheet is not None
        for name in file.sheet.image_names
    ]
    facts = pictures.look(paths, _progress())
    for file in files:
        if file.folder is not None and file.sheet is not None and file.sheet.image_names:
            file.facts = {name: facts[file.folder / name] for name in file.sheet.image_names}


def _progress() -> Callable[[int, int], None] | None:
    """A line on stderr that counts, where somebody looks on."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            end = "\n" if done == total else ""
            print(f"\rpictures {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)

    return show


def _facts(file: Audited) -> list[Fact] | None:
    if file.facts is None or file.sheet is None:
        return None
    return [file.facts[name] for name in file.sheet.image_names]


def _check(file: Audited, settings: Settings) -> None:
    from tetrapose.audit.checking import check

    assert file.sheet is not None
    file.found, file.seen = check(file.sheet, _facts(file), settings)


def _leaks(files: list[Audited], settings: Settings) -> None:
    from tetrapose.audit.splits import Part, leaks

    if not settings.wanted("split-leak"):
        return
    splits = [file for file in files if file.split is not None and file.sheet is not None]
    parts = [Part(str(file.split), file.sheet, _facts(file)) for file in splits if file.sheet]
    for i, one in enumerate(parts):
        for j in range(i + 1, len(parts)):
            here, there = leaks(one, parts[j])
            splits[i].leaks += here
            splits[j].leaks += there


def _tell(file: Audited) -> None:
    if file.sheet is None:
        print(f"tetrapose: {file.found[0].message}", file=sys.stderr)
        return
    found = file.all_found
    animals = f"{len(file.sheet):,} animals, {len(file.sheet.image_names):,} pictures"
    what = "a keypoint definition" if file.sheet.layout == "definition" else animals
    looked = "" if file.facts is not None else ", pictures not looked at"
    looked = "" if file.sheet.layout == "definition" else looked
    split = f"{file.split}: " if file.split else ""
    print(f"{split}{file.name}: {what}{looked}: {len(found) or 'no'} findings")
    for one in found:
        print(f"  {one.code}: {one.message}")
        shown = [
            f"{entry}{f' ({detail})' if detail else ''}"
            for entry, detail in zip(one.entries, _details(one), strict=True)
        ][:SHOWN]
        more = f", and {len(one.entries) - SHOWN:,} more" if len(one.entries) > SHOWN else ""
        print(f"    which: {', '.join(shown)}{more}")
        print(f"    harm:  {one.harm}")
        print(f"    fix:   {one.fix or 'by hand'}")


def _details(one: Finding) -> Sequence[str]:
    return one.details or [""] * len(one.entries)


def _write(
    args: argparse.Namespace, files: list[Audited], targets: list[Path], settings: Settings
) -> None:
    import json

    from tetrapose.data.reading import write_text

    if args.json:
        told = {file.name: [one.to_dict() for one in file.all_found] for file in files}
        write_text(Path(args.json), json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        print(f"written: {args.json}")
    if args.html:
        from tetrapose.reports.audit import AuditedFile, audit_page

        pages = [
            AuditedFile(file.name, file.split, file.sheet, file.seen, file.all_found, file.folder)
            for file in files
        ]
        write_text(Path(args.html), audit_page(pages))
        print(f"written: {args.html}")
    for file, target in zip(files, targets, strict=False):
        _mend(file, target, settings)


def _mend(file: Audited, target: Path, settings: Settings) -> None:
    import json

    from tetrapose.audit.mending import mend
    from tetrapose.data.reading import write_text

    if file.sheet is None:
        return
    if file.sheet.layout == "set":
        print(
            f"{file.name}: no corrected copy: it is a set of another form; write it as a file "
            "first (tetrapose datasets convert)",
            file=sys.stderr,
        )
        return
    content, changes = mend(file.sheet, file.facts, settings, file.leaks)
    write_text(target, json.dumps(content, ensure_ascii=False, allow_nan=True))
    print(f"written: {target}")
    for change in changes:
        print(f"  {change}")
    left = [one.code for one in file.all_found if not one.fix]
    if left:
        print(f"  left to a person: {', '.join(left)}")
