"""What splits draw from: units of pictures that stay together, in orders that a seed decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from tetrapose.errors import UserError
from tetrapose.structures import PoseSet


def lots(keys: Iterable[object], seed: int, purpose: str) -> np.ndarray:
    """(n,) a number of 64 bits for each key: of key, seed and purpose alone.

    Not of the order of the keys, of the other keys, or of a library's generator: so a split is the
    same on every machine, and an added picture moves no other.
    """
    head = f"{purpose}\0{seed}\0".encode()
    made = [
        blake2b(head + str(key).encode("utf-8", "surrogateescape"), digest_size=8).digest()
        for key in keys
    ]
    return np.frombuffer(b"".join(made), dtype=">u8").astype(np.uint64)


@dataclass(frozen=True)
class Units:
    """Groups of pictures that no split may cut, in the order of their first names.

    ``of_picture`` (M,) the unit of each picture, -1 for one without an animal; ``names`` (U,) the
    first picture name of each; ``pictures`` (U,) and ``animals`` (U,) how many it has; ``species``
    (U, S) its animals by species, ``species_pictures`` (U, S) its pictures by species; S in the
    order of ``species_names``, sorted.
    """

    of_picture: np.ndarray
    names: tuple[str, ...]
    pictures: np.ndarray
    animals: np.ndarray
    species: np.ndarray
    species_pictures: np.ndarray
    species_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def order(self, seed: int, purpose: str) -> np.ndarray:
        """(U,) units in an order of their own for each seed and purpose."""
        return np.argsort(lots(self.names, seed, purpose), kind="stable")


def units(pose_set: PoseSet, groups: np.ndarray | None = None) -> Units:
    """The units of a set: its own ``groups``, or ``groups`` (M,) where others are given."""
    groups = pose_set.groups if groups is None else np.asarray(groups)
    if groups.shape != (len(pose_set.files),):
        raise ValueError(f"groups must have shape ({len(pose_set.files)},), not {groups.shape}")
    used = np.zeros(len(pose_set.files), dtype=bool)
    used[pose_set.image_index] = True
    of_picture = np.full(len(pose_set.files), -1, dtype=np.int64)
    by_name = sorted(np.flatnonzero(used).tolist(), key=lambda i: pose_set.files[i])
    seen: dict[int, int] = {}
    names = []
    for i in by_name:
        group = int(groups[i])
        if group not in seen:
            seen[group] = len(seen)
            names.append(pose_set.files[i])
        of_picture[i] = seen[group]
    present = sorted({pose_set.species_names[s] for s in np.unique(pose_set.species)})
    place = np.array(
        [present.index(name) if name in present else -1 for name in pose_set.species_names]
    )
    species = np.zeros((len(names), len(present)), dtype=np.int64)
    species_pictures = np.zeros_like(species)
    mine = place[pose_set.species]
    np.add.at(species, (of_picture[pose_set.image_index], mine), 1)
    pairs = np.unique(np.stack([pose_set.image_index, mine]), axis=1)
    np.add.at(species_pictures, (of_picture[pairs[0]], pairs[1]), 1)
    return Units(
        of_picture=of_picture,
        names=tuple(names),
        pictures=np.bincount(of_picture[used], minlength=len(names)),
        animals=species.sum(axis=1),
        species=species,
        species_pictures=species_pictures,
        species_names=tuple(present),
    )


def pictures_of(pose_set: PoseSet, made: Units, chosen: np.ndarray) -> tuple[str, ...]:
    """Sorted names of the pictures of the units in mask ``chosen`` (U,)."""
    of = made.of_picture
    return tuple(
        sorted(pose_set.files[i] for i in np.flatnonzero((of >= 0) & chosen[np.maximum(of, 0)]))
    )


def share(value: object, what: str) -> float:
    """A share between 0 and 1 from 0.1, "0.1" or "10%"."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = float("nan")
    if not 0 < number < 1:
        raise UserError(f"{what} {text}: due is a share between 0 and 1, as 0.1 or 10%")
    return number
