"""What every codec of a grid of cells demands of its fields, and what it makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tetrapose.codecs.grids import KINDS, Grid
from tetrapose.codecs.peaks import DECODERS


def demand_grid(codec: Any) -> None:
    """Check a codec's fields where it is made; one ValueError tells all that is wrong.

    ``input_size`` may come as a list, as it does from YAML and JSON, and becomes a tuple.
    """
    size, kind = codec.input_size, _kind(codec)
    faults = [*_counts(codec, "num_keypoints", "stride"), *_size("input_size", size, "pixels")]
    if not faults and any(side % codec.stride for side in size):
        faults.append(f"input_size {tuple(size)} is no multiple of the stride {codec.stride}")
    faults += _choice("grid", kind, KINDS)
    faults += _positive(codec, "sigma")
    faults += _choice("decoder", codec.decoder, DECODERS)
    if not whole(codec.blur_kernel) or codec.blur_kernel % 2 == 0 or codec.blur_kernel < 3:
        faults.append(f"blur_kernel must be odd and at least 3, not {codec.blur_kernel!r}")
    if not faults and kind == "centres" and min(grid_of(codec).map_size) < 2:
        faults.append("a grid of centres wants maps of 2 cells at least on each side")
    _raise(codec, faults)


def demand_bins(codec: Any) -> None:
    """The same for a codec of bins along x and y."""
    faults = [
        *_counts(codec, "num_keypoints"),
        *_size("input_size", codec.input_size, "pixels"),
        *_positive(codec, "ratio", "sigma", "beta", "reach"),
        *_choice("smoothing", codec.smoothing, ("gaussian", "equal")),
        *_choice("decoder", codec.decoder, ("argmax", "dark")),
        *_choice("grid", codec.grid, KINDS),
    ]
    if not isinstance(codec.spread, int | float) or not 0 <= codec.spread < 1:
        faults.append(f"spread must be a number from 0 to below 1, not {codec.spread!r}")
    if not faults and min(codec.bins) < 5:
        faults.append(f"{codec.input_size} pixels at ratio {codec.ratio:g} are too few bins")
    _raise(codec, faults)


def grid_of(codec: Any) -> Grid:
    """Where the cells of a codec's maps stand over its crop."""
    width, height = codec.input_size
    return Grid(_kind(codec), (width, height), (width // codec.stride, height // codec.stride))


def plain(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """A codec's fields as JSON has them, with its kind."""
    lists = {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
    return {"kind": kind, **lists}


def whole(value: Any) -> bool:
    """Whether it is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _raise(codec: Any, faults: list[str]) -> None:
    if faults:
        raise ValueError("; ".join(faults))
    object.__setattr__(codec, "input_size", tuple(codec.input_size))


def _kind(codec: Any) -> Any:
    return getattr(codec, "grid", "borders")


def _counts(codec: Any, *names: str) -> list[str]:
    return [
        f"{name} must be a whole number above 0, not {getattr(codec, name)!r}"
        for name in names
        if not whole(getattr(codec, name))
    ]


def _size(name: str, value: Any, unit: str) -> list[str]:
    good = isinstance(value, list | tuple) and len(value) == 2 and all(map(whole, value))
    return [] if good else [f"{name} must be a width and a height in {unit}, not {value!r}"]


def _positive(codec: Any, *names: str) -> list[str]:
    values = {name: getattr(codec, name) for name in names}
    return [
        f"{name} must be a number above 0, not {value!r}"
        for name, value in values.items()
        if not isinstance(value, int | float) or not 0 < value < float("inf")
    ]


def _choice(name: str, value: Any, choices: Sequence[str]) -> list[str]:
    return (
        [] if value in choices else [f"{name} must be one of {', '.join(choices)}, not {value!r}"]
    )
