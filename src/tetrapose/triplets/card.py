"""A library's dataset card: README.md as Hugging Face reads it, with counts, plots and samples.

``write`` puts it into a library's folder or an exported one; ``pushing.push`` sends such a folder
up.
"""

from __future__ import annotations

import html
import io
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tetrapose.reports import page
from tetrapose.triplets.library import Library, write_file
from tetrapose.triplets.quality import Report
from tetrapose.triplets.rows import REASONS, Triplet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
)  # fmt: skip
STRIP = 8  # triplets of the sample picture
SIDE = 160  # px of a picture in it
MOST = 20  # rows of a table
FILES = ("shards/*.tar", "data/*.parquet", "*.parquet")


@dataclass
class Tally:
    """What triplets have in common, counted while each is seen once."""

    triplets: int = 0
    animals: int = 0
    bytes: int = 0
    species: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    styles: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    skeletons: Counter[str] = field(default_factory=Counter)
    models: dict[str, str] = field(default_factory=dict)
    group: Counter[int] = field(default_factory=Counter)
    words: Counter[int] = field(default_factory=Counter)
    shares: Counter[int] = field(default_factory=Counter)
    samples: list[Triplet] = field(default_factory=list)

    def add(self, one: Triplet) -> None:
        """Count a triplet; of all, ``STRIP`` spread evenly over the keys are kept as samples."""
        from_where, points = one.provenance, one.points
        self.triplets += 1
        self.animals += len(points["animals"])
        self.bytes += len(one.original_image) + len(one.conditioning_image) + len(one.overlaid)
        self.species.update(animal["species"] or "unknown" for animal in points["animals"])
        self.licences[str(from_where.get("licence") or "not told")] += 1
        self.sources[str(from_where.get("source") or "not told")] += 1
        self.origins[str(from_where.get("caption_origin") or "not told")] += 1
        self.styles[str(from_where.get("style") or "not told")] += 1
        self.sizes["x".join(map(str, points["size"]))] += 1
        self.skeletons[points["skeleton"]] += 1
        self.models.update(from_where.get("models") or {})
        self.group[len(points["animals"])] += 1
        self.words[min(len(one.caption.split()), 60)] += 1
        self.shares.update(int(20 * share) for share in from_where.get("share_found") or ())
        self.samples.append(one)
        self.samples.sort(key=lambda sample: sample.key)
        del self.samples[STRIP:]


def tally(triplets: Iterable[Triplet]) -> Tally:
    """The counts of triplets, of which no more than a few are held."""
    counts = Tally()
    for one in triplets:
        counts.add(one)
    return counts


def write(
    folder: Path,
    triplets: Iterable[Triplet],
    *,
    title: str = "",
    licence: str = "other",
    report: Report | None = None,
) -> Path:
    """The card of a folder that holds a library or an export of one: README.md and ``card/``.

    ``licence`` is one of the hub's names for the whole; each triplet's own stands beside it. Equal
    folders give equal cards. Raises UserError where the folder is no library.
    """
    about = Library(folder).read_about()
    counts = tally(triplets)
    pictures = _pictures(counts, about)
    for name, data in pictures.items():
        _write(folder / "card" / name, data)
    name = title or folder.resolve().name
    files = next((p for p in FILES if next(folder.glob(p), None)), FILES[0])
    text = page_of(about, counts, name, licence=licence, report=report, files=files)
    _write(folder / "README.md", text.encode("utf-8", "replace"))
    return folder / "README.md"


def _write(path: Path, data: bytes) -> None:
    write_file(path, lambda part: part.write_bytes(data) and None)


def page_of(
    about: Mapping[str, Any],
    counts: Tally,
    title: str,
    *,
    licence: str = "other",
    report: Report | None = None,
    files: str = "shards/*.tar",
) -> str:
    """README.md: the front matter that the hub reads, then what the library is."""
    identity = about.get("identity") or {}
    overall = about.get("counts") or {}
    settings = identity.get("settings") or {}
    size = next((name for most, name in SIZES if counts.triplets < most), "n>1B")
    tags = ["animal-pose", "controlnet", "keypoints", "tetrapose"]
    items = overall.get("items", counts.triplets)
    lines = [
        "---",
        f"license: {json.dumps(licence)}",
        f"pretty_name: {json.dumps(_text(title), ensure_ascii=False)}",
        "task_categories: [text-to-image, image-to-image]",
        f"tags: [{', '.join(tags)}]",
        f"size_categories: [{json.dumps(size)}]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        f"    path: {json.dumps(files)}",
        "---",
        "",
        f"# {_text(title)}",
        "",
        f"{counts.triplets:,} triplets for pose-guided generators of animals: a picture"
        " (`original_image`), the pose of its animals drawn on black (`conditioning_image`), both"
        " laid over one another (`overlaid`), and a `caption`; with the points and where each comes"
        f" from. {counts.animals:,} animals, {counts.bytes / 1e6:,.0f} MB of pictures. Made with"
        " tetrapose.",
        "",
        "![Some of the triplets](card/samples.jpg)",
        "",
        "## What was kept and what was dropped",
        "",
        f"Of {items:,} pictures {counts.triplets:,} were kept.",
        "",
        *_table(("pictures", "dropped at", "because"), _dropped(overall)),
        *_table(("source", "kept", "dropped"), _by_source(overall)),
        "![Reasons](card/reasons.png)",
        "",
        "## What is in it",
        "",
        "![Species, points and captions](card/contents.png)",
        "",
        *_counted("species", "animals", counts.species),
        *_counted("animals in a picture", "pictures", counts.group),
        *_counted("size", "pictures", counts.sizes),
        *_counted("captions from", "pictures", counts.origins),
        *_quality(report),
        "## How it was made",
        "",
        *_facts(counts, settings, about),
        "",
        "## Terms",
        "",
        "The pictures belong to whoever took them; the library says for each what its source says"
        " (`provenance.licence`). Pictures fetched from addresses were asked for under the rules of"
        " their hosts (robots.txt, X-Robots-Tag) on the day.",
        "",
        *_counted("licence", "pictures", counts.licences),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _dropped(overall: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = sorted((overall.get("dropped") or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    out = []
    for name, number in rows:
        step, _, reason = name.partition(": ")
        out.append((f"{number:,}", step, REASONS.get(reason, reason)))
    return out


def _by_source(overall: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, f"{of.get('kept', 0):,}", f"{of.get('dropped', 0):,}")
        for name, of in (overall.get("sources") or {}).items()
    ]


def _counted(name: str, of: str, counter: Counter[Any]) -> list[str]:
    rows = sorted(counter.items(), key=lambda pair: (-pair[1], str(pair[0])))
    shown = [(str(key), f"{number:,}") for key, number in rows[:MOST]]
    if len(rows) > MOST:
        rest = sum(number for _, number in rows[MOST:])
        shown.append((f"{len(rows) - MOST:,} others", f"{rest:,}"))
    return _table((name, of), shown)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    return [
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(map(_text, row))} |" for row in rows),
        "",
    ]


def judged(report: Report) -> list[tuple[str, str]]:
    """What a sample says, in words and figures."""
    rows = [("triplets looked at", f"{report.triplets:,}")]
    if report.judged:
        share = report.implausible / report.judged
        rows.append((f"animals with a limb too long, of {report.judged:,}", f"{share:.1%}"))
    if report.captions_judged:
        share = report.disagreeing / report.captions_judged
        told = f"captions that name another species, of {report.captions_judged:,}"
        rows.append((told, f"{share:.1%}"))
    if report.agreement is not None:
        one = report.agreement
        rows += [
            (f"drawn points within PCK@0.1 of labels, of {one.counted:,}", _share(one.points)),
            ("pictures with nine tenths of them within", _share(one.pictures)),
            ("pictures with all of them within", _share(one.whole)),
            ("mean over animals", _share(one.animals)),
            ("mean over animals of pictures with several", _share(one.in_groups)),
            ("of these, animals with nine tenths within", _share(one.right_in_groups)),
            ("drawn animals that are no labelled one", _share(one.strangers)),
            ("of the others, animals under another species' name", _share(one.misnamed)),
        ]
    return rows


def _quality(report: Report | None) -> list[str]:
    if report is None:
        return []
    return ["## Quality, on a sample", "", *_table(("what", "value"), judged(report))]


def _share(value: float) -> str:
    return f"{value:.1%}" if np.isfinite(value) else "none to judge"


def _facts(counts: Tally, settings: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    identity = about.get("identity") or {}
    rows = {
        "pose pictures": ", ".join(counts.styles),
        "skeletons": ", ".join(counts.skeletons),
        "models": ", ".join(f"{name} {version}" for name, version in counts.models.items()) or "-",
        "steps": str(identity.get("steps_version", "-")),
    }
    lines = [f"- {name}: {_text(value)}" for name, value in rows.items()]
    if settings:
        lines.append(f"- settings: `{_text(json.dumps(settings, ensure_ascii=False))}`")
    return lines


def _text(value: Any) -> str:
    """A value on one line of a Markdown table, without a stranger's tags in it."""
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")


def _pictures(counts: Tally, about: Mapping[str, Any]) -> dict[str, bytes]:
    import matplotlib as mpl
    from PIL import Image

    strips = [_strip(one) for one in counts.samples]
    held = io.BytesIO()
    if strips:
        Image.fromarray(np.concatenate(strips, axis=1)).save(held, "JPEG", quality=88)
    out = {"samples.jpg": held.getvalue()} if strips else {}
    with mpl.rc_context({"svg.hashsalt": "tetrapose"}):
        out["reasons.png"] = _png(_reasons(about.get("counts") or {}))
        out["contents.png"] = _png(_contents(counts))
    return out


def _strip(one: Triplet) -> np.ndarray:
    """A triplet from top to bottom, (3 SIDE, SIDE, 3)."""
    from PIL import Image

    parts = []
    for data in (one.original_image, one.conditioning_image, one.overlaid):
        with Image.open(io.BytesIO(data)) as image:
            small = image.convert("RGB")
            small.thumbnail((SIDE, SIDE))
            tile = Image.new("RGB", (SIDE, SIDE), (16, 20, 26))
            tile.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
            parts.append(np.asarray(tile))
    return np.concatenate(parts)


def _reasons(overall: Mapping[str, Any]) -> Figure:
    rows = sorted((overall.get("dropped") or {}).items(), key=lambda pair: (pair[1], pair[0]))[-12:]
    rows.append(("kept", overall.get("kept", 0)))
    figure, axes = page.new_plot(7.0, 1.0 + 0.3 * len(rows))
    colours = [page.COLOURS[0] if name == "kept" else page.COLOURS[4] for name, _ in rows]
    bars = axes.barh([name for name, _ in rows], [n for _, n in rows], color=colours)
    axes.bar_label(bars, [f" {n:,}" for _, n in rows], fontsize=9)
    axes.margins(x=0.12)
    axes.set_xlabel("pictures")
    return figure


def _contents(counts: Tally) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    top = counts.species.most_common(10)[::-1]
    left.barh([name[:24] for name, _ in top], [n for _, n in top], color=page.COLOURS[0])
    left.set_title("animals by species", fontsize=10)
    shares = [counts.shares[i] for i in range(21)]
    middle.bar(np.arange(21) * 5, shares, width=4.6, align="edge", color=page.COLOURS[1])
    middle.set_title("points found, % of the skeleton", fontsize=10)
    words = sorted(counts.words)
    right.bar(words, [counts.words[n] for n in words], color=page.COLOURS[2])
    right.set_title("words of the caption", fontsize=10)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, length=0)
    return figure


def _png(figure: Figure) -> bytes:
    held = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font lacks shows as a box
        figure.savefig(held, format="png", dpi=110, metadata={"Software": None})
    return held.getvalue()
