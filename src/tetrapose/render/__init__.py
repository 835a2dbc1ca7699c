"""Instances drawn on pictures."""

from tetrapose.render.overlay import draw
from tetrapose.render.sheet import sheet
from tetrapose.render.styles import Style, load_style, styles

__all__ = ["Style", "draw", "load_style", "sheet", "styles"]
