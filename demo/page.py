"""Pieces of the demo's page: plain strings, so that the page is one file that opens anywhere."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image


def page(header: str, body: Iterable[str], footer: str) -> str:
    """The whole page."""
    template = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
    return template.substitute(header=header, body="\n".join(body), footer=footer)


def heading(number: int, title: str) -> str:
    """A numbered section's title."""
    return f"<h2><b>{number}</b>{html.escape(title)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``text`` may hold markup."""
    return f'<p class="{kind}">{text}</p>' if kind else f"<p>{text}</p>"


def commands(lines: Iterable[str]) -> str:
    """Shell lines as a reader would type them."""
    shown = "".join(f"<span><i>$ </i>{html.escape(line)}</span>" for line in lines)
    return f"<pre>{shown}</pre>"


def figure(image: np.ndarray, caption: str = "", *, widest: int = 1200) -> str:
    """A picture (H, W, 3) uint8 RGB inside the page, made smaller where it is wider."""
    picture = Image.fromarray(image)
    if picture.width > widest:
        height = round(picture.height * widest / picture.width)
        picture = picture.resize((widest, height), Image.Resampling.LANCZOS)
    store = io.BytesIO()
    picture.save(store, "JPEG", quality=88)
    data = base64.b64encode(store.getvalue()).decode()
    text = f"<figcaption>{caption}</figcaption>" if caption else ""
    alt = html.escape(caption or "picture", quote=True)
    return (
        f'<figure><img alt="{alt}" width="{picture.width}" height="{picture.height}" '
        f'src="data:image/jpeg;base64,{data}">{text}</figure>'
    )


def group(kind: str, figures: Iterable[str]) -> str:
    """Figures side by side: ``grid`` for many small ones, ``two`` for a pair."""
    return f'<div class="{kind}">{"".join(figures)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is words and whose others are figures."""
    first = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    rest = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{first}</tr></thead><tbody>{rest}</tbody></table>"


def curve(points: Sequence[tuple[float, float]], *, across: str, up: str) -> str:
    """A line through (x, share) points as inline SVG, its last value written at its end."""
    width, height, left, right, top, bottom = 1000, 330, 56, 120, 34, 44
    x_most = max((x for x, _ in points), default=1.0) or 1.0
    y_most = _ceiling(max((y for _, y in points), default=1.0))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + x / x_most * (width - left - right),
            height - bottom - y / y_most * (height - top - bottom),
        )

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(up)}">']
    for step in range(5):
        share = y_most * step / 4
        _, y = place(0, share)
        parts.append(
            f'<line class="grid-line" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{left - 10}" y="{y + 5:.1f}" text-anchor="end">{share:.2f}</text>'
        )
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1e9) if x_most / s <= 8)
    for value in np.arange(0, x_most + step / 100, step):
        x, _ = place(float(value), 0)
        parts.append(f'<text x="{x:.1f}" y="{height - 20}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{width - right + 26}" y="{height - 20}">{html.escape(across)}</text>')
    parts.append(f'<text x="{left}" y="16">{html.escape(up)}</text>')
    spots = [place(x, y) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    parts.append(f'<polyline class="curve" points="{line}"/>')
    parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in spots]
    if spots:
        x, y = spots[-1]
        parts.append(
            f'<text class="value" x="{x + 12:.1f}" y="{y + 5:.1f}">{points[-1][1]:.2f}</text>'
        )
    return "".join(parts) + "</svg>"


def _ceiling(value: float) -> float:
    """The next round share above: an axis that uses its height."""
    return next((top for top in (0.2, 0.4, 0.6, 0.8) if value <= top), 1.0)
