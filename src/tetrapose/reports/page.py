"""The parts of a page: a self-contained HTML document, tables, plots and pictures as data URIs."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1c2430", "#5f6b7a", "#dfe4ea"
COLOURS = ("#2563c9", "#0d9488", "#d97706", "#9333a8", "#c2334d", "#64748b")

STYLE = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #f5f7fa; color: {INK};
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
main {{ max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }}
h1 {{ font-size: 28px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }}
h2 {{ font-size: 19px; margin: 0 0 4px; }}
.lead, .note {{ color: {SOFT}; margin: 0 0 16px; max-width: 90ch; }}
.note {{ font-size: 13.5px; }}
section {{ background: #fff; border: 1px solid {LINE}; border-radius: 12px;
  padding: 20px 22px; margin: 18px 0; }}
.figures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(122px, 1fr));
  gap: 12px; margin: 20px 0 0; padding: 0; }}
.figures div {{ background: #fff; border: 1px solid {LINE}; border-radius: 12px;
  padding: 12px 16px; }}
.figures dt {{ color: {SOFT}; font-size: 13px; }}
.figures dd {{ margin: 0; font-size: 26px; font-weight: 650; font-variant-numeric: tabular-nums; }}
.plots {{ columns: 2 430px; column-gap: 18px; margin: 18px 0; }}
.plots section {{ margin: 0 0 18px; break-inside: avoid; }}
.plots img {{ width: 100%; display: block; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 12px; }}
figure {{ margin: 0; }}
figure img {{ width: 100%; display: block; border-radius: 8px; }}
figcaption {{ font-size: 12.5px; color: {SOFT}; margin-top: 4px; overflow-wrap: anywhere; }}
figcaption b {{ color: {INK}; font-variant-numeric: tabular-nums; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13.5px;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: 5px 10px; border-bottom: 1px solid {LINE}; text-align: right;
  white-space: nowrap; }}
th {{ color: {SOFT}; font-weight: 600; }}
th:first-child, td:first-child {{ text-align: left; }}
.words td {{ text-align: left; white-space: normal; vertical-align: top; }}
.words td:first-child {{ color: {SOFT}; width: 15em; }}
"""


def document(title: str, *parts: str) -> str:
    """A whole HTML page around parts that are HTML already; ``title`` is plain text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(parts)}\n</main></body></html>\n"
    )


def section(title: str, *parts: str, note: str = "") -> str:
    """A framed part of the page under a heading, with a remark in small print."""
    remark = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f"<section><h2>{html.escape(title)}</h2>{remark}{''.join(parts)}</section>"


def headline_figures(figures: dict[str, str]) -> str:
    """A row of large figures, each with its name."""
    cells = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in figures.items()
    )
    return f'<dl class="figures">{cells}</dl>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False) -> str:
    """A table of plain text; ``words`` for sentences instead of figures."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    kind = ' class="words"' if words else ""
    top = f"<thead><tr>{head}</tr></thead>" if header else ""
    return f'<div class="scroll"><table{kind}>{top}<tbody>{body}</tbody></table></div>'


def tiles(pictures: Sequence[tuple[np.ndarray, str, str]], *, least: int | None = None) -> str:
    """Pictures (RGB uint8, bold caption, further caption) in a grid, ``least`` pixels wide each."""
    columns = f"grid-template-columns:repeat(auto-fill,minmax({least}px,1fr))" if least else ""
    return (
        f'<div class="tiles" style="{columns}">'
        + "".join(
            f'<figure><img alt="{html.escape(text)}" src="{picture_uri(pixels)}">'
            f"<figcaption><b>{html.escape(bold)}</b> {html.escape(text)}</figcaption></figure>"
            for pixels, bold, text in pictures
        )
        + "</div>"
    )


def plots(*parts: str) -> str:
    """Sections side by side where there is room."""
    return f'<div class="plots">{"".join(parts)}</div>'


def plot(figure: Figure, alt: str) -> str:
    """A matplotlib figure as an image of the page."""
    return f'<img alt="{html.escape(alt)}" src="{figure_uri(figure)}">'


def new_plot(width: float = 6.0, height: float = 3.4) -> tuple[Figure, Axes]:
    """A figure and its axes in the page's look; sizes in inches."""
    from matplotlib.figure import Figure  # slow to import, and only pages need it

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=9, length=0)
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def figure_uri(figure: Figure) -> str:
    """The figure as SVG in a data URI, text as shapes, without a date: equal input, equal bytes."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tetrapose"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font lacks shows as a box
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return _uri("image/svg+xml", buffer.getvalue())


def picture_uri(pixels: np.ndarray, *, quality: int = 88) -> str:
    """RGB uint8 pixels as a JPEG in a data URI."""
    done, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise ValueError(f"pixels of shape {pixels.shape} cannot be written as a JPEG")
    return _uri("image/jpeg", data.tobytes())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
