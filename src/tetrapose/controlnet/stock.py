"""The triplets of finished libraries in columns: where each lies in its shard, never a copy of it.

A shard is read once, headers and points only, and what was found is kept as a small table beside
the run; pictures are read later, one by one, straight out of the shard.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.render.pose_styles import load_pose_style
from tetrapose.triplets.library import Library, write_file
from tetrapose.triplets.shards import MEMBERS

FORM = 1  # of the kept tables
PARTS = ("original_image.jpg", "conditioning_image.png", "caption.txt", "points.json")


@dataclass(frozen=True)
class Stock:
    """N triplets in columns.

    ``files`` are the shards; ``shard`` (N,) says in which a triplet lies, rising; ``keys`` its
    names; ``sizes`` (N, 2) width and height; ``skeleton`` (N,) into ``skeletons``; ``places``
    (N, 4, 2) start and length in the shard of the picture, the pose picture, the caption and the
    points. ``style`` is the label of all pose pictures.
    """

    files: tuple[Path, ...]
    shard: np.ndarray
    keys: tuple[str, ...]
    sizes: np.ndarray
    skeleton: np.ndarray
    skeletons: tuple[str, ...]
    places: np.ndarray
    style: str

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, row: int, part: int) -> bytes:
        """The bytes of one of ``PARTS`` of a triplet; UserError where the shard is cut off."""
        start, length = self.places[row, part].tolist()
        path = self.files[int(self.shard[row])]
        try:
            with open(path, "rb") as file:
                file.seek(start)
                data = file.read(length)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
        if len(data) < length:
            raise UserError(f"{path}: ends within {self.keys[row]}; copy or build it again")
        return data

    def points(self, row: int) -> dict[str, Any]:
        """A triplet's points, as ``triplets.rows.Triplet`` lays them down."""
        return json.loads(self.read(row, 3))

    def caption(self, row: int) -> str:
        """A triplet's caption."""
        return self.read(row, 2).decode("utf-8", "replace")

    def select(self, rows: np.ndarray) -> Stock:
        """Some of the triplets, in the order of the stock."""
        rows = np.sort(np.asarray(rows, dtype=np.int64))
        return Stock(
            files=self.files,
            shard=self.shard[rows],
            keys=tuple(self.keys[row] for row in rows),
            sizes=self.sizes[rows],
            skeleton=self.skeleton[rows],
            skeletons=self.skeletons,
            places=self.places[rows],
            style=self.style,
        )


def open_stock(
    libraries: Sequence[str | Path],
    *,
    skeleton: str = "",
    style: str = "",
    keep: Path | None = None,
) -> Stock:
    """The triplets of libraries, one after another.

    UserError for a library that is not finished or empty, for pose pictures of different styles or
    of a style (or version of one) that this release does not draw, for skeletons that mean other
    points than those that ship under the same name, and, where ``skeleton`` or ``style`` names the
    one that is expected, for any other. ``keep`` is a folder for the tables of the shards.
    """
    found = [Library(Path(one)) for one in libraries]
    if not found:
        raise UserError("no library of triplets is given; tetrapose triplets build makes one")
    label = _style_of(found, style)
    files, tables = [], []
    for library in found:
        shards = library.shards()
        if not shards:
            raise UserError(f"{library.root}: holds no shards of triplets; was everything dropped?")
        files += shards
        tables += [_table(path, keep) for path in shards]
    names = tuple(sorted({str(name) for table in tables for name in np.unique(table["skeleton"])}))
    if skeleton and names != (skeleton,):
        raise UserError(
            f"{', '.join(map(str, libraries))}: triplets stand on {', '.join(names)}, not on"
            f" {skeleton}; build them with --skeleton {skeleton}"
        )
    keys = [str(key) for table in tables for key in table["keys"]]
    stock = Stock(
        files=tuple(files),
        shard=np.repeat(np.arange(len(files)), [len(table["keys"]) for table in tables]),
        keys=tuple(keys),
        sizes=np.concatenate([table["sizes"] for table in tables]),
        skeleton=np.concatenate([np.searchsorted(names, table["skeleton"]) for table in tables]),
        skeletons=names,
        places=np.concatenate([table["places"] for table in tables]),
        style=label,
    )
    if len(set(keys)) < len(keys):
        twice = len(keys) - len(set(keys))
        raise UserError(
            f"{twice} triplets come twice; join the libraries: tetrapose triplets merge"
        )
    return stock


def _style_of(libraries: Sequence[Library], wanted: str) -> str:
    """The one style of all libraries, drawn as this release draws it; skeletons checked too."""
    label = ""
    for library in libraries:
        about = library.read_about()
        if not about.get("finished"):
            raise UserError(
                f"{library.root}: is not finished; give the command that builds it again"
            )
        style = str(about.get("identity", {}).get("style", ""))
        if label and style != label:
            raise UserError(
                f"{library.root}: its pose pictures are {style}, those before it {label}; triplets"
                " to be learned together are drawn alike"
            )
        label = style
        try:
            load_pose_style(label)
        except UserError as error:
            raise UserError(f"{library.root}: {error}") from None
        for name, definition in about.get("skeletons", {}).items():
            if name in skeletons.available() and skeletons.load(name).to_dict() != definition:
                raise UserError(
                    f"{library.root}: means other points by the skeleton {name} than this release;"
                    " build it again, or train with the release that built it"
                )
    if wanted and label != wanted:
        raise UserError(
            f"{libraries[0].root}: its pose pictures are {label}, where {wanted} is due"
        )
    return label


def _table(path: Path, keep: Path | None) -> dict[str, np.ndarray]:
    """The columns of one shard, from the kept table where the shard is still the same file."""
    stat = path.stat()
    mark = f"{FORM}:{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    kept = None if keep is None else keep / f"{path.parent.parent.name}-{path.stem}.npz"
    if kept is not None and kept.exists():
        try:
            with np.load(io.BytesIO(kept.read_bytes()), allow_pickle=False) as file:
                if str(file["mark"]) == mark:
                    return {name: file[name] for name in ("keys", "sizes", "skeleton", "places")}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # damaged: it is made again below
    table = _scan(path)
    if kept is not None:

        def fill(part: Path) -> None:
            with open(part, "wb") as file:
                np.savez(file, allow_pickle=False, mark=np.array(mark), **table)

        write_file(kept, fill)
    return table


def _scan(path: Path) -> dict[str, np.ndarray]:
    """Names and places of a shard's triplets, from its headers, and what their points say."""
    keys: list[str] = []
    sizes: list[tuple[int, int]] = []
    names: list[str] = []
    places: list[list[tuple[int, int]]] = []
    held: dict[str, tuple[int, int]] = {}

    def close(key: str, tar: Any) -> None:
        missing = [name for name in MEMBERS if name not in held]
        if missing:
            raise UserError(f"{path}: {key} lacks {', '.join(missing)}; copy or build it again")
        tar.fileobj.seek(held["points.json"][0])
        points = json.loads(tar.fileobj.read(held["points.json"][1]))
        keys.append(key)
        sizes.append((int(points["size"][0]), int(points["size"][1])))
        names.append(str(points["skeleton"]))
        places.append([held[name] for name in PARTS])

    try:
        with tarfile.open(path, "r:") as tar:
            key = ""
            for header in tar:
                stem, _, member = header.name.partition(".")
                if held and stem != key:
                    close(key, tar)
                    held = {}
                key = stem
                held[member] = (header.offset_data, header.size)
            if held:
                close(key, tar)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{path}: not a whole tar file ({error}); copy or build it again") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path}: {key} has damaged points ({error}); build it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not keys:
        raise UserError(f"{path}: an empty shard; copy or build it again")
    return {
        "keys": np.array(keys),
        "sizes": np.array(sizes, dtype=np.int64),
        "skeleton": np.array(names),
        "places": np.array(places, dtype=np.int64),
    }
