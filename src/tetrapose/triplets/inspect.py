"""A library looked at: one page with triplets and what was dropped, and filters over both."""

from __future__ import annotations

import hashlib
import heapq
import html
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose import images
from tetrapose.render.sheet import fit
from tetrapose.reports import page
from tetrapose.triplets import ledger, quality
from tetrapose.triplets.library import Library
from tetrapose.triplets.rows import KEPT, REASONS, LedgerRow, Triplet

TILE = 172  # px of a picture's longer side on the page
QUALITY = 78  # of the page's JPEGs

LOOK = """
.bar { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: 10px 14px;
  align-items: end; background: #fff; border: 1px solid #dfe4ea; border-radius: 12px;
  padding: 12px 16px; margin: 18px 0; }
.bar label { display: grid; gap: 3px; font-size: 12.5px; color: #5f6b7a; }
.bar select, .bar input { font: inherit; font-size: 14px; color: #1c2430; padding: 4px 8px;
  border: 1px solid #c6ced8; border-radius: 7px; background: #fff; max-width: 230px; }
.bar input[type=range] { padding: 0; width: 130px; }
.bar output { font-size: 14px; font-weight: 600; margin-left: auto; align-self: center;
  font-variant-numeric: tabular-nums; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(540px, 100%), 1fr));
  gap: 14px; }
.card { background: #fff; border: 1px solid #dfe4ea; border-radius: 12px; padding: 10px; }
.card[hidden] { display: none; }
.strip { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6px; }
.strip img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #10141a;
  border-radius: 7px; display: block; }
.card.dropped { display: grid; grid-template-columns: 110px 1fr; gap: 12px; align-items: start; }
.card.dropped[hidden] { display: none; }
.card.dropped img, .none { width: 110px; height: 110px; object-fit: contain; border-radius: 7px;
  background: #eef1f5; }
.none { display: grid; place-items: center; color: #8a94a1; font-size: 12px; }
.card p { margin: 8px 0 0; overflow-wrap: anywhere; }
.card.dropped p { margin: 0 0 4px; }
.card small { color: #5f6b7a; font-size: 12.5px; overflow-wrap: anywhere; display: block; }
.bar button { font: inherit; font-size: 14px; padding: 4px 12px; border: 1px solid #c6ced8;
  border-radius: 7px; background: #f5f7fa; cursor: pointer; }
.words th { text-align: left; }
.why { color: #a32a44; font-weight: 600; }
"""

SCRIPT = """
const cards = [...document.querySelectorAll('.card')];
const controls = [...document.querySelectorAll('.bar [name]')];
const shown = document.querySelector('.bar output');
function apply() {
  const want = Object.fromEntries(controls.map(c => [c.name, c.value]));
  let count = 0;
  for (const card of cards) {
    const d = card.dataset;
    const ok = (!want.status || d.status === want.status)
      && (!want.species || d.species.split('|').includes(want.species))
      && (!want.reason || d.reason === want.reason)
      && (!want.source || d.source === want.source)
      && (d.status === 'dropped' || Number(d.score) * 100 >= Number(want.score))
      && (!want.text || card.textContent.toLowerCase().includes(want.text.toLowerCase()));
    card.hidden = !ok;
    count += ok;
  }
  shown.textContent = count.toLocaleString('en') + ' of ' + cards.length.toLocaleString('en')
    + ' shown';
}
controls.forEach(c => c.addEventListener('input', apply));
document.querySelector('.bar button').addEventListener('click', () => {
  controls.forEach(c => { c.value = c.type === 'range' ? '0' : ''; });
  apply();
});
apply();
"""


@dataclass(frozen=True)
class Sampled:
    """What a page shows of a library: some triplets with their rows, some dropped items, counts."""

    kept: Sequence[tuple[Triplet, LedgerRow | None]]
    dropped: Sequence[LedgerRow]
    counts: Mapping[str, Any]


def contact_sheet(library: Library, *, kept: int = 120, dropped: int = 120, seed: int = 0) -> str:
    """The page as HTML, with everything in it: up to so many triplets and dropped items.

    Which ones is drawn by ``seed``; of the dropped, every reason has its part.
    """
    library.read_about()
    rows = list(_rows(library, kept, dropped, seed))
    by_key = {row.triplet: row for row in rows if row.outcome == KEPT}
    triplets = list(quality.sample(library, kept, seed=seed))
    sampled = Sampled(
        [(one, by_key.get(one.key)) for one in triplets],
        [row for row in rows if row.outcome != KEPT],
        ledger.counts(library),
    )
    return sheet_of(sampled, library.root.resolve().name)


def sheet_of(sampled: Sampled, name: str) -> str:
    """The page of a sample."""
    counts = sampled.counts
    cards = [_kept_card(one, row) for one, row in sampled.kept]
    cards += [_dropped_card(row) for row in sampled.dropped]
    lead = (
        f"{len(sampled.kept):,} of {counts['kept']:,} triplets and {len(sampled.dropped):,} of"
        f" {counts['items'] - counts['kept']:,} dropped pictures, drawn at random; of the dropped,"
        " every reason has its part."
    )
    return page.document(
        f"Triplets of {name}",
        f"<style>{LOOK}</style>",
        f'<h1>{html.escape(name)}</h1><p class="lead">{lead}</p>',
        page.headline_figures(
            {
                "pictures": f"{counts['items']:,}",
                "triplets": f"{counts['kept']:,}",
                "kept": f"{counts['kept'] / counts['items']:.0%}" if counts["items"] else "-",
            }
        ),
        _dropped_table(counts),
        _bar(sampled),
        f'<div class="cards">{"".join(cards)}</div>',
        f"<script>{SCRIPT}</script>",
    )


def _rows(library: Library, kept: int, dropped: int, seed: int) -> Iterable[LedgerRow]:
    """The rows of the kept sample, and dropped ones with every reason among them."""

    def chance(row: LedgerRow) -> int:
        text = f"{seed}\0{row.source}\0{row.key}".encode("utf-8", "replace")
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")

    wanted = {one.key for one in quality.sample(library, kept, seed=seed)}
    by_reason: dict[str, list[tuple[int, int, LedgerRow]]] = {}
    for number, row in enumerate(ledger.read_all(library)):
        if row.outcome == KEPT:
            if row.triplet in wanted:
                yield row
            continue
        held = by_reason.setdefault(row.reason.partition(":")[0], [])
        entry = (-chance(row), number, row)
        if len(held) < dropped:
            heapq.heappush(held, entry)
        else:
            heapq.heappushpop(held, entry)
    queues = [sorted(held, reverse=True) for _, held in sorted(by_reason.items())]
    taken = 0
    while taken < dropped and any(queues):
        for queue in queues:
            if queue and taken < dropped:
                yield queue.pop(0)[2]
                taken += 1


def _dropped_table(counts: Mapping[str, Any]) -> str:
    if not counts["dropped"]:
        return ""
    rows = []
    for name, number in sorted(counts["dropped"].items(), key=lambda pair: -pair[1]):
        step, _, reason = name.partition(": ")
        rows.append([f"{number:,}", step, REASONS.get(reason, reason)])
    table = page.table(["pictures", "dropped at", "because"], rows, words=True)
    return page.section("Dropped", table)


def _bar(sampled: Sampled) -> str:
    species = Counter(
        one["species"] or "unknown" for t, _ in sampled.kept for one in t.points["animals"]
    )
    if sampled.dropped:
        species.setdefault("unknown", 0)
    reasons = Counter(row.reason.partition(":")[0] for row in sampled.dropped)
    sources = Counter(row.source for row in sampled.dropped)
    sources.update(str(t.provenance.get("source", "")) for t, _ in sampled.kept)
    parts = [
        _choice("status", "status", {"kept": "kept", "dropped": "dropped"}),
        _choice("species", "species", {name: name for name in sorted(species)}),
        _choice("reason", "dropped because", {r: REASONS.get(r, r) for r in sorted(reasons)}),
        _choice("source", "source", {name: name for name in sorted(sources)}),
        '<label>least score<input type="range" name="score" min="0" max="100" value="0"></label>',
        '<label>words<input type="search" name="text" placeholder="caption, file, address">'
        "</label>",
        '<button type="button">show all</button><output></output>',
    ]
    return f'<div class="bar">{"".join(parts)}</div>'


def _choice(name: str, label: str, options: Mapping[str, str]) -> str:
    entries = "".join(
        f'<option value="{html.escape(value)}">{html.escape(words)}</option>'
        for value, words in options.items()
    )
    return (
        f'<label>{html.escape(label)}<select name="{name}"><option value="">any</option>{entries}'
        "</select></label>"
    )


def _kept_card(one: Triplet, row: LedgerRow | None) -> str:
    told = one.provenance
    species = sorted({animal["species"] or "unknown" for animal in one.points["animals"]})
    score = float(told.get("score") or 0.0)
    pictures = "".join(
        f'<img loading="lazy" alt="{words}" src="{_thumbnail(data)}">'
        for words, data in (
            ("picture", one.original_image),
            ("pose picture", one.conditioning_image),
            ("overlaid", one.overlaid),
        )
    )
    caption = html.escape(one.caption) or "<i>no caption</i>"
    lines = [
        f"{', '.join(species)} · score {score:.2f} · points {_shares(told)} ·"
        f" caption from {told.get('caption_origin') or '-'}",
        f"{told.get('source', '')}: {told.get('url') or told.get('key', '')}"
        + (f" · {told['licence']}" if told.get("licence") else ""),
    ]
    small = "".join(f"<small>{html.escape(line)}</small>" for line in lines)
    data = _data(KEPT, species, "", str(told.get("source", "")), score)
    strip = f'<div class="strip">{pictures}</div>'
    return f'<article class="card"{data}>{strip}<p>{caption}</p>{small}</article>'


def _dropped_card(row: LedgerRow) -> str:
    reason, _, detail = row.reason.partition(":")
    why = html.escape(REASONS.get(reason, reason))
    more = f" ({html.escape(detail)})" if detail else ""
    where = row.url or row.key
    size = f" · {row.size[0]} x {row.size[1]}" if row.size[0] else ""
    data = _data("dropped", ["unknown"], reason, row.source, 0.0)
    return (
        f'<article class="card dropped"{data}>{_at_hand(row)}<div>'
        f'<p><span class="why">{why}</span>{more}</p>'
        f"<small>at {html.escape(row.step)}{size}</small>"
        f"<small>{html.escape(row.source)}: {html.escape(where)}</small></div></article>"
    )


def _data(status: str, species: Sequence[str], reason: str, source: str, score: float) -> str:
    values = {
        "status": status, "species": "|".join(species), "reason": reason, "source": source,
        "score": f"{score:.4f}",
    }  # fmt: skip
    return "".join(f' data-{name}="{html.escape(value)}"' for name, value in values.items())


def _shares(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{share:.0%}" for share in told.get("share_found") or ()) or "-"


def _thumbnail(data: bytes) -> str:
    """A picture file as a small data URI."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (2 * TILE, 2 * TILE))
        return page.picture_uri(fit(np.asarray(image.convert("RGB")), TILE), quality=QUALITY)


def _at_hand(row: LedgerRow) -> str:
    """The dropped picture where it still lies on this machine and can be shown."""
    if row.where and Path(row.where).is_file():
        try:
            pixels, _ = images.read_image(row.where, least=TILE)
            return f'<img loading="lazy" alt="" src="{page.picture_uri(fit(pixels, 110))}">'
        except images.ImageError:
            pass
    return '<div class="none">not at hand</div>'
