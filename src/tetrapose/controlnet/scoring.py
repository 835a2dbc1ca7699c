"""A folder of painted pictures scored whole: figures, controls, likeness, the page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.controlnet import likeness as alike
from tetrapose.controlnet import page
from tetrapose.controlnet.score import (
    Asked,
    Scored,
    painted,
    read_list,
    real,
    score,
    short,
    shuffled,
)
from tetrapose.errors import UserError
from tetrapose.images import read_image
from tetrapose.triplets.library import write_file, write_json

PAINTED, SHUFFLED = "painted", "painted, points shuffled"
REAL, REAL_SHUFFLED = "real, own points", "real, points shuffled"


@dataclass(frozen=True)
class Result:
    """What a scoring came to: a table for a terminal, notes, where the page lies."""

    figures: dict[str, Any]
    table: str
    notes: tuple[str, ...]
    page: Path


def score_folder(
    folder: str | Path,
    libraries: Sequence[str | Path] = (),
    *,
    limit: int = 0,
    boxes: str = "asked",
    model: str = "default",
    finder: str = "finder",
    likeness: tuple[str | None, str | None] = (None, None),
    out: str | Path | None = None,
) -> Result:
    """Score pictures of ``generate``, beside real ones of ``libraries`` and shuffled points.

    ``boxes`` as ``score.BOXES``; ``likeness`` are Inception's weights and a CLIP model's folder,
    which are looked for in the folder of fetched models else. Writes score.json and score.html
    into ``out`` (FOLDER/score).
    """
    from tetrapose.inference.finder import load_finder
    from tetrapose.inference.predictor import load

    target = Path(out) if out is not None else Path(folder) / "score"
    predictor = load(model)
    looks = load_finder(finder) if boxes == "found" else None
    asked = painted(folder, predictor.skeleton)
    whole = len(read_list(Path(folder)))
    notes = list(asked.notes)
    if len(asked) < whole:
        notes.append(f"{whole - len(asked)} pictures of drawn poses have no points to score by")
    piles: dict[str, Asked] = {PAINTED: asked, SHUFFLED: shuffled(asked)}
    truth = real(libraries, predictor.skeleton, limit) if libraries else None
    if truth is not None:
        piles |= {REAL: truth, REAL_SHUFFLED: shuffled(truth)}
        notes += [note for note in truth.notes if note not in notes]
    else:
        notes.append("no real pictures to compare with (--real LIBRARY)")
    scored = {name: score(pile, predictor, finder=looks) for name, pile in piles.items()}
    rows = [(name, short(one.figures)) for name, one in scored.items()]
    further, missing = _likeness(asked, truth, *likeness)
    notes += missing
    figures = {name: one.figures for name, one in scored.items()} | {"likeness": further}
    write_json(target / "score.json", json.loads(json.dumps(figures)))
    style = str(read_list(Path(folder))[0].get("style", "")) or "animal_controlnet"
    title = f"{Path(folder).resolve().name}: are they posed as asked?"
    text = page.write(
        title, rows, asked, scored[PAINTED], style=style,
        notes=[*notes, *(f"{name}: {value:.2f}" for name, value in further.items())],
    )  # fmt: skip
    path = target / "score.html"
    write_file(path, lambda part: part.write_text(text, encoding="utf-8"))
    return Result(figures, _table(rows, scored, further), tuple(notes), path)


def _likeness(
    asked: Asked, truth: Asked | None, weights: str | None, clip: str | None
) -> tuple[dict[str, float], list[str]]:
    """Figures that want networks of others, and in words those that are left out."""
    found: dict[str, float] = {}
    missing = []
    known = alike.known_weights()
    inception, model = weights or known[0], clip or known[1]
    if inception is None:
        missing.append(alike.no_inception())
    elif truth is None:
        if weights is not None:
            raise UserError("--inception: FID and KID want real pictures too (--real LIBRARY)")
        missing.append("FID, KID: left out; they want real pictures too (--real LIBRARY)")
    else:
        features = alike.inception(inception)
        one, two = (alike.gathered(_pixels(pile), features) for pile in (asked, truth))
        found["FID"] = alike.frechet_distance(one, two)
        found["KID x 1000"] = 1000 * alike.kernel_distance(one, two)
        if min(len(one), len(two)) < alike.FEW:
            missing.append(
                f"FID of fewer than {alike.FEW} pictures a side says little: it is biased"
            )
    if model is None:
        missing.append(alike.no_clip())
    else:
        found["CLIP score"] = float(
            np.mean(alike.clip_scores(model, _pixels(asked), asked.captions))
        )
    return found, missing


def _pixels(pile: Asked) -> Iterator[np.ndarray]:
    for image in range(len(pile)):
        yield read_image(pile.pose_set.path(image))[0]


def _table(
    rows: Sequence[tuple[str, dict[str, float]]], scored: dict[str, Scored], more: dict[str, float]
) -> str:
    names = list(rows[0][1])
    lines = [f"{'':<26}" + "".join(f"{name:>10}" for name in (*names, "pictures"))]
    for name, figures in rows:
        values = [f"{figures[key]:>10.2f}" for key in names]
        lines.append(f"{name:<26}{''.join(values)}{scored[name].figures['pictures']:>10,}")
    lines += [f"{name:<26}{value:>10.2f}" for name, value in more.items()]
    return "\n".join(lines)
