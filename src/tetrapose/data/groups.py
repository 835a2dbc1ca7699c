"""Groups of species, for what tells a cat from a cow and no more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import numpy as np
import yaml

UNKNOWN = -1


@lru_cache(maxsize=1)
def load() -> dict[str, tuple[str, ...]]:
    """Names of species by group, as in groups.yaml."""
    text = resources.files("tetrapose.data").joinpath("groups.yaml").read_text(encoding="utf-8")
    return {group: tuple(names) for group, names in yaml.safe_load(text).items()}


def group_of(species: str) -> str | None:
    """The group of a species' name, whole or by its last word; None where there is none."""
    words = species.lower().replace("_", " ").replace("-", " ").split()
    by_name = {name: group for group, names in load().items() for name in names}
    return by_name.get(" ".join(words)) or (by_name.get(words[-1]) if words else None)


def group_numbers(
    species: np.ndarray, species_names: Sequence[str], groups: Sequence[str]
) -> np.ndarray:
    """(N,) place in ``groups`` of each animal's group, -1 where it has none among them."""
    place = {name: number for number, name in enumerate(groups)}
    table = [place.get(group_of(name) or "", UNKNOWN) for name in species_names]
    return np.array(table, dtype=np.int64)[species] if table else np.zeros(0, np.int64)
