"""Pseudo-labels on disk: a file that is whole or absent, made in shards by as many as like.

  FILE.safetensors            all of them, with the key of what they were made from
  FILE.safetensors.parts/     while they are made: a file a shard of pictures

A shard is written beside its place and renamed; a killed run leaves the shards it finished and the
next one makes those that lack. Several processes take every n-th shard each, and whoever sees the
last one written joins them. The key holds the digests of the model's file and of the pool, and the
settings: a file of another key is refused, never used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from tetrapose.data.crops import Pictures
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet
from tetrapose.training.labelfree.pseudo_labels import (
    Looks,
    PseudoLabels,
    demand_pool,
    look_often,
)
from tetrapose.weights.card import Loaded

VERSION = 1  # of what ``look_often`` gives: goes up when the same key stands for other answers
SHARD = 64  # pictures; a kill costs the time of one
SUFFIX = ".safetensors"
NOTE = "tetrapose"  # the entry of the file's header that holds ours

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """How it is done, which changes nothing of what is said but rounding.

    ``share`` (i, n) takes the shards i, i + n, ... of i in 0..n-1.
    """

    batch_size: int | None = None
    workers: int = 0
    share: tuple[int, int] = (0, 1)
    pictures: Pictures | None = None
    tell: Tell | None = None

    def __post_init__(self) -> None:
        part, parts = self.share
        if not 0 <= part < parts:
            raise UserError(f"part {part + 1} of {parts}: parts are counted from 1 to {parts}")


def key_of(
    loaded: Loaded, pool: PoseSet, looks: Looks, *, precision: str = "float32"
) -> dict[str, Any]:
    """What pseudo-labels are made from, in plain values; equal keys give equal pseudo-labels."""
    card = loaded.card
    return {
        "version": VERSION,
        "model": str(card["sha256"]),
        "codec": loaded.codec.to_dict(),
        "normalisation": card["normalisation"],
        "padding": float(card["crop"]["padding"]),
        "pool": pool_digest(pool),
        "animals": len(pool),
        "looks": asdict(looks),
        "precision": precision,
    }


def pool_digest(pool: PoseSet) -> str:
    """64 hex digits over names and lengths of the picture files, boxes and annotation ids.

    Labels and skeleton do not count: they are not looked at. Neither does the animals' order.
    """
    lengths = []
    for image in range(len(pool.files)):
        try:
            lengths.append(pool.path(image).stat().st_size)
        except OSError:  # in a pack, or gone, which reading it will tell
            lengths.append(-1)
    order = np.argsort(pool.annotation_ids, kind="stable")
    made = hashlib.sha256()
    for row in order:
        image = int(pool.image_index[row])
        box = ",".join(f"{value:.2f}" for value in pool.bboxes[row])
        line = f"\n{pool.files[image]}|{lengths[image]}|{pool.annotation_ids[row]}|{box}"
        made.update(line.encode("utf-8", "surrogateescape"))
    return made.hexdigest()


def pseudo_labels(
    path: str | Path,
    loaded: Loaded,
    pool: PoseSet,
    looks: Looks,
    *,
    precision: str = "float32",
    work: Work | None = None,
) -> PseudoLabels | None:
    """The pseudo-labels of ``pool`` in its order, from the file where it is whole, else made now.

    None where other processes still have shards to make (``work.share``). Raises UserError for a
    file of another key, one that is not whole, or a folder that cannot be written.
    """
    path, work = _named(path), work or Work()
    demand_pool(pool)
    key = key_of(loaded, pool, looks, precision=precision)
    if path.exists():
        return read(path, pool, key=key)
    folder = path.with_name(f"{path.name}.parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _claim(folder, key)
        shards = _shards(pool)
        mine = range(work.share[0], len(shards), work.share[1])
        for number in mine:
            part = folder / f"{number:05d}{SUFFIX}"
            if _whole(part, key):
                continue
            rows = shards[number]
            made = look_often(
                loaded, pool, looks, rows=rows, batch_size=work.batch_size, workers=work.workers,
                precision=precision, pictures=work.pictures,
            )  # fmt: skip
            _write(part, made, pool.annotation_ids[rows], key)
            if work.tell:
                work.tell(f"pseudo-labels: shard {number + 1} of {len(shards)}")
        return _join(path, folder, len(shards), pool, key)
    except OSError as error:
        if path.exists():  # another process joined the shards in between
            return read(path, pool, key=key)
        raise UserError(
            f"{error.filename or path}: pseudo-labels cannot be written ({error.strerror or error})"
        ) from None


def read(path: str | Path, pool: PoseSet, *, key: Mapping[str, Any] | None = None) -> PseudoLabels:
    """Pseudo-labels of the animals of ``pool``, in its order, from a file.

    With a ``key`` the file must have been made from just that; without, for just this pool. Raises
    UserError for a file that is not whole, or stale.
    """
    path = _named(path)
    content = _content(path)
    ids, labels, made_from = content
    wanted = _plain(key) if key is not None else {"pool": pool_digest(pool)}
    other = [name for name in wanted if made_from.get(name) != wanted[name]]
    if other:
        raise UserError(
            f"{path}: stale, made from another {_said(other)}; remove it or name another file"
        )
    place = {int(one): i for i, one in enumerate(ids)}
    return labels.rows(np.array([place[int(one)] for one in pool.annotation_ids], dtype=np.int64))


def _said(names: list[str]) -> str:
    words = {"animals": "pool", "padding": "crop", "version": "version of this program"}
    return " and ".join(dict.fromkeys(words.get(name, name) for name in names))


def _named(path: str | Path) -> Path:
    if Path(path).suffix != SUFFIX:
        raise UserError(f"{path}: a file of pseudo-labels ends in {SUFFIX}")
    return Path(path)


def _shards(pool: PoseSet) -> list[np.ndarray]:
    """Rows by shard: ``SHARD`` pictures each, by name, so that the set's order does not matter."""
    used = sorted(np.unique(pool.image_index).tolist(), key=lambda image: pool.files[image])
    number = np.zeros(len(pool.files), dtype=np.int64)
    number[used] = np.arange(len(used)) // SHARD
    # within a shard by picture and annotation: a batch is the same however often it is made again
    rank = np.zeros(len(pool.files), dtype=np.int64)
    rank[used] = np.arange(len(used))
    order = np.lexsort((pool.annotation_ids, rank[pool.image_index]))
    of = number[pool.image_index[order]]
    return [order[of == shard] for shard in range(int(of.max()) + 1)]


def _claim(folder: Path, key: Mapping[str, Any]) -> None:
    """Note what the shards are made from; those of another key are removed."""
    note = folder / "key.json"
    text = json.dumps(dict(key), sort_keys=True, indent=1)
    try:
        same = note.read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        same = False
    if same:
        return
    for old in folder.glob(f"*{SUFFIX}"):
        old.unlink(missing_ok=True)
    part = folder / f".key.{os.getpid()}.part"
    part.write_text(text, encoding="utf-8")
    os.replace(part, note)


def _whole(path: Path, key: Mapping[str, Any]) -> bool:
    try:
        return _content(path)[2] == _plain(key)
    except UserError:
        return False


def _join(
    path: Path, folder: Path, count: int, pool: PoseSet, key: Mapping[str, Any]
) -> PseudoLabels | None:
    """All shards as one file, once all are there; None before."""
    parts = [folder / f"{number:05d}{SUFFIX}" for number in range(count)]
    if not all(_whole(part, key) for part in parts):
        return read(path, pool, key=key) if path.exists() else None
    contents = [_content(part) for part in parts]
    labels = PseudoLabels(
        contents[0][1].names,
        *(
            np.concatenate([getattr(one, name) for _, one, _ in contents])
            for name in ("keypoints", "confidence", "spread", "readable")
        ),
    )
    _write(path, labels, np.concatenate([ids for ids, _, _ in contents]), key)
    shutil.rmtree(folder, ignore_errors=True)
    return read(path, pool, key=key)


def _write(path: Path, labels: PseudoLabels, ids: np.ndarray, key: Mapping[str, Any]) -> None:
    """Beside its place, then there at once."""
    columns = {
        "annotation_ids": ids.astype(np.int64),
        "keypoints": labels.keypoints,
        "confidence": labels.confidence,
        "spread": labels.spread,
        "readable": labels.readable.astype(np.uint8),
    }
    columns = {name: np.ascontiguousarray(value) for name, value in columns.items()}
    told = json.dumps({"key": dict(key), "names": labels.names}, sort_keys=True)
    note = json.dumps({"told": told, "sha256": _sum(columns, told)})
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            # one entry: the order of several is not the same twice
            file.write(to_bytes(columns, metadata={NOTE: note}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _content(path: Path) -> tuple[np.ndarray, PseudoLabels, dict[str, Any]]:
    """Annotation ids, what was said of them, and the key; UserError unless every byte is right."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        columns = from_bytes(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        note = json.loads(header[NOTE])
        if note["sha256"] != _sum(columns, note["told"]):
            raise ValueError("its sums differ")
        told = json.loads(note["told"])
        labels = PseudoLabels(
            tuple(told["names"]), columns["keypoints"], columns["confidence"], columns["spread"],
            columns["readable"].astype(bool),
        )  # fmt: skip
        return columns["annotation_ids"], labels, told["key"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        told = " ".join(str(error).split())[:100] or type(error).__name__
        raise UserError(
            f"{path}: not a whole file of pseudo-labels ({told}); remove it and run again"
        ) from None


def _sum(columns: Mapping[str, np.ndarray], told: str) -> str:
    made = hashlib.sha256(told.encode())
    for name in sorted(columns):
        made.update(f"{name}{columns[name].shape}".encode())
        made.update(columns[name].tobytes())
    return made.hexdigest()


def _plain(key: Mapping[str, Any]) -> dict[str, Any]:
    """The key as it comes back from a file: tuples as lists."""
    return json.loads(json.dumps(dict(key)))
