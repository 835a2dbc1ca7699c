"""What every codec of a grid of cells demands of its fields."""

from __future__ import annotations

from typing import Any

from tetrapose.codecs.peaks import DECODERS


def demand_grid(codec: Any) -> None:
    """Check a codec's fields where it is made; one ValueError tells all that is wrong.

    ``input_size`` may come as a list, as it does from YAML and JSON, and becomes a tuple.
    """
    faults = [
        f"{name} must be a whole number above 0, not {getattr(codec, name)!r}"
        for name in ("num_keypoints", "stride")
        if not _whole(getattr(codec, name))
    ]
    size = codec.input_size
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(map(_whole, size))):
        faults.append(f"input_size must be a width and a height in pixels, not {size!r}")
    elif _whole(codec.stride) and any(side % codec.stride for side in size):
        faults.append(f"input_size {tuple(size)} is no multiple of the stride {codec.stride}")
    if not isinstance(codec.sigma, int | float) or not 0 < codec.sigma < float("inf"):
        faults.append(f"sigma must be a number above 0, not {codec.sigma!r}")
    if codec.decoder not in DECODERS:
        faults.append(f"decoder must be one of {', '.join(DECODERS)}, not {codec.decoder!r}")
    if not _whole(codec.blur_kernel) or codec.blur_kernel % 2 == 0 or codec.blur_kernel < 3:
        faults.append(f"blur_kernel must be odd and at least 3, not {codec.blur_kernel!r}")
    if faults:
        raise ValueError("; ".join(faults))
    object.__setattr__(codec, "input_size", tuple(size))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
