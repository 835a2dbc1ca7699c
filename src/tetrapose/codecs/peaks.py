"""From maps to points for a whole batch in torch: arg-max, quarter shift, DARK, UDP's DARK."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Decoder = Literal["argmax", "shift", "dark", "dark_udp"]
DECODERS: tuple[Decoder, ...] = ("argmax", "shift", "dark", "dark_udp")
FLOOR = 1e-10  # least value whose logarithm is taken
BOUNDS = (1e-3, 50.0)  # between which UDP's code takes it
# The cells x, y about a peak that a step reads, and from their logarithms to gx, gy, dxx, dyy, dxy:
# central differences, those of second order over two cells.
STENCIL = (
    (0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (2, 0), (-2, 0), (0, 2), (0, -2),
    (1, 1), (1, -1), (-1, 1), (-1, -1),
)  # fmt: skip
DIFFERENCES = (
    {(1, 0): 1 / 2, (-1, 0): -1 / 2},
    {(0, 1): 1 / 2, (0, -1): -1 / 2},
    {(2, 0): 1 / 4, (0, 0): -1 / 2, (-2, 0): 1 / 4},
    {(0, 2): 1 / 4, (0, 0): -1 / 2, (0, -2): 1 / 4},
    {(1, 1): 1 / 4, (1, -1): -1 / 4, (-1, 1): -1 / 4, (-1, -1): 1 / 4},
)
# The same as UDP's code takes them: those of second order over one cell, dxy along one diagonal.
UDP_DIFFERENCES = (
    {(1, 0): 1 / 2, (-1, 0): -1 / 2},
    {(0, 1): 1 / 2, (0, -1): -1 / 2},
    {(1, 0): 1.0, (0, 0): -2.0, (-1, 0): 1.0},
    {(0, 1): 1.0, (0, 0): -2.0, (0, -1): 1.0},
    {(1, 1): 1 / 2, (1, 0): -1 / 2, (0, 1): -1 / 2, (0, 0): 1.0, (-1, 0): -1 / 2,
     (0, -1): -1 / 2, (-1, -1): 1 / 2},
)  # fmt: skip
UDP_CELLS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))
UDP_PLACES = [STENCIL.index(cell) for cell in UDP_CELLS]
FIXED_KERNELS = {3: (1, 2, 1), 5: (1, 4, 6, 4, 1), 7: (2, 7, 14, 18, 14, 7, 2)}


def find_peaks(maps: Tensor, decoder: Decoder, *, blur_kernel: int = 11) -> tuple[Tensor, Tensor]:
    """Maps (B, K, h, w), larger is likelier -> cells (B, K, 2) x, y and their values (B, K).

    ``argmax`` gives whole cells; ``shift`` moves a quarter cell towards the larger neighbour on
    each axis (Newell et al. 2016); ``dark`` and ``dark_udp`` take the Taylor steps of
    ``dark_refine`` and ``udp_refine``, which need a peak above 0. Values that are not finite are
    read as 0.
    """
    maps = maps.float().contiguous()
    values, cells = _highest(maps)
    if not bool(((values > 0) & (values < torch.inf)).all()):
        # else nothing that is not finite was the peak, and what stands around one is cleaned below
        maps = finite(maps, high=0.0, low=0.0)
        values, cells = _highest(maps)
    if decoder == "shift":
        return cells + 0.25 * _gradient(maps, cells).sign(), values
    if decoder == "dark":
        return dark_refine(maps, cells, blur_kernel=blur_kernel), values
    if decoder == "dark_udp":
        return udp_refine(maps, cells, values, blur_kernel=blur_kernel), values
    if decoder != "argmax":
        raise ValueError(f"decoder must be one of {', '.join(DECODERS)}, not {decoder!r}")
    return cells, values


def finite(maps: Tensor, *, high: float, low: float) -> Tensor:
    """The maps with NaN read as 0, infinities as ``high`` and ``low``; copied only where needed."""
    if torch.isfinite(maps.sum()):  # whatever is not finite shows in the sum
        return maps
    return torch.nan_to_num(maps, nan=0.0, posinf=high, neginf=low)


def windows(maps: Tensor, cells: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """What stands around whole cells (B, K, 2): (B, K, s, s) with s = 2 reach + 1, rows y.

    At the border the window is moved until it lies on the map, and a map too small for it counts
    as larger, with zeros to the right and below; (B, K, 2) is the cell x, y of each one's corner.
    """
    size = 2 * reach + 1
    b, k, h, w = maps.shape
    if h < size or w < size:
        maps = functional.pad(maps, (0, max(size - w, 0), 0, max(size - h, 0)))
        h, w = maps.shape[-2:]
    limit = torch.tensor([w - size, h - size], device=maps.device)
    corner = (cells.long() - reach).clamp_min(0).minimum(limit)
    first = torch.arange(b * k, device=maps.device).reshape(b, k) * (h * w)
    first = first + corner[..., 1] * w + corner[..., 0]
    lines = first[..., None] + torch.arange(size, device=maps.device) * w
    # every run of ``size`` values is a row of this view: a window is ``size`` runs, copied whole
    runs = maps.flatten().unfold(0, size, 1)
    return runs.index_select(0, lines.flatten()).reshape(b, k, size, size), corner


def dark_refine(maps: Tensor, cells: Tensor, *, blur_kernel: int = 11) -> Tensor:
    """Sub-cell peaks: blur, logarithm, one Newton step from the arg-max.

    A Gaussian's logarithm is a parabola, so for it the step is exact. Peaks within one cell of
    the border, and those where the curvature does not describe a maximum, stay where they are; no
    step is longer than one blur radius. The blur sees zeros beyond the border, so that a step close
    to it falls short; five cells away this costs less than 0.05 px of a crop at stride 4.
    Only the cells that the step reads are blurred, in double precision.
    Source: Zhang et al., Distribution-Aware Coordinate Representation, CVPR 2020, eq. 7-9;
    constants as in its code (lib/core/inference.py): stencils over 1 and 2 cells, floor 1e-10.
    """
    if maps.numel() == 0:
        return cells
    h, w = maps.shape[-2:]
    inside = ((cells > 1) & (cells < torch.tensor([w - 2, h - 2], device=cells.device))).all(-1)
    near = _blurred_near(maps, cells, blur_kernel, where=inside)
    if not bool(near.amin() >= FLOOR):
        if not bool(near.isfinite().all()):
            maps = finite(maps, high=0.0, low=0.0)
            near = _blurred_near(maps, cells, blur_kernel, where=inside)
        # The published blur is scaled back to the map's maximum: a constant of the logarithm that
        # no difference sees, unless a value lies at the floor. It never scales down, so only then
        # is the whole map's blur wanted.
        low = inside & (near.amin(-1) < FLOOR)
        if bool(low.any()):
            near[low] *= _restoring(maps[low][None].double(), blur_kernel)[0, :, 0]
    logs = near.clamp_min_(FLOOR).log_()
    return _newton(cells, logs @ _differences().to(logs.device), inside, blur_kernel)


def udp_refine(maps: Tensor, cells: Tensor, values: Tensor, *, blur_kernel: int = 11) -> Tensor:
    """Sub-cell peaks as UDP reads them: DARK's step with second differences over one cell.

    ``values`` (B, K) are the peaks'. It steps from all but the outermost cells, where UDP's code
    repeats the border and so takes half a cell outwards whatever the map says; it adds float32's
    epsilon to the curvature, which moves no point that can be seen, and bounds no step: here those
    from what is no maximum, or longer than a blur radius, are not taken.
    Source: Huang et al., CVPR 2020, section 4, and its code (post_dark_udp), that MMPose's
    refine_keypoints_dark_udp follows: blur back to the map's maximum, values kept in 1e-3..50.
    """
    if maps.numel() == 0:
        return cells
    h, w = maps.shape[-2:]
    inside = ((cells > 0) & (cells < torch.tensor([w - 1, h - 1], device=cells.device))).all(-1)
    near = _blurred_near(maps, cells, blur_kernel, where=inside)[..., UDP_PLACES]
    if not bool(near.isfinite().all()):
        maps = finite(maps, high=0.0, low=0.0)
        near = _blurred_near(maps, cells, blur_kernel, where=inside)[..., UDP_PLACES]
    # scaling back matters where a value meets a bound, and there alone: see ``dark_refine``
    scaled = inside & ((near.amin(-1) < BOUNDS[0]) | (values > BOUNDS[1]))
    if bool(scaled.any()):
        near[scaled] *= _restoring(maps[scaled][None].double(), blur_kernel)[0, :, 0]
    logs = near.clamp_(*BOUNDS).log_()
    return _newton(cells, logs @ _udp_differences().to(logs.device), inside, blur_kernel)


def _newton(cells: Tensor, differences: Tensor, inside: Tensor, kernel: int) -> Tensor:
    """Cells (B, K, 2) after one step by gx, gy, dxx, dyy, dxy (B, K, 5), where one can be taken."""
    gx, gy, dxx, dyy, dxy = differences.unbind(-1)
    det = dxx * dyy - dxy * dxy
    usable = inside & (det > 1e-12) & (dxx < 0)
    safe = torch.where(usable, det, 1.0)
    step = torch.stack([dxy * gy - dyy * gx, dxy * gx - dxx * gy], dim=-1) / safe[..., None]
    usable &= step.square().sum(-1) <= ((kernel - 1) / 2) ** 2
    return cells + torch.where(usable[..., None], step, 0.0).float()


def blur(maps: Tensor, kernel: int) -> Tensor:
    """Gaussian blur of (B, K, h, w) that keeps each map's maximum; zero outside the map."""
    return _blurred(maps, kernel) * _restoring(maps, kernel)


def blur_weights(kernel: int) -> Tensor:
    """(kernel,) float64 weights of the blur along one axis, of sum 1.

    Source: the kernels that OpenCV gives where no sigma is named, as DARK's code leaves it to it:
    fixed ones up to 7, then sigma = 0.3 ((kernel - 1) / 2 - 1) + 0.8.
    """
    if kernel in FIXED_KERNELS:
        weights = torch.tensor(FIXED_KERNELS[kernel], dtype=torch.float64)
    else:
        at = torch.arange(kernel, dtype=torch.float64) - (kernel - 1) / 2
        weights = torch.exp(-(at**2) / (2 * (0.3 * ((kernel - 1) * 0.5 - 1) + 0.8) ** 2))
    return weights / weights.sum()


def _highest(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value of each map (B, K) and its cell (B, K, 2), the first where several are."""
    b, k, _, w = maps.shape
    flat = maps.flatten(2)
    if flat.numel() == 0:
        return maps.new_zeros(b, k), maps.new_zeros(b, k, 2)
    if flat.device.type == "cpu":  # NumPy's search is several times faster than torch's
        place = torch.from_numpy(flat.detach().numpy().argmax(-1))
    else:
        place = flat.argmax(-1)
    values = flat.gather(-1, place[..., None])[..., 0]
    rows = torch.div(place, w, rounding_mode="floor")
    return values, torch.stack([place % w, rows], dim=-1).float()


def _blurred_near(maps: Tensor, cells: Tensor, kernel: int, *, where: Tensor) -> Tensor:
    """(B, K, 13) float64: the blurred map, not scaled back, at the stencil about each cell.

    ``where`` (B, K) says for which the values are wanted; others may hold anything.
    """
    reach = 2 + kernel // 2
    part, corner = windows(maps, cells, reach)
    part = part.flatten(0, 1).double()
    bands, middle = (table.to(part.device) for table in _bands(kernel))
    near = part.flatten(1) @ middle
    place = cells.long() - corner
    moved = (where & (place != reach).any(-1)).flatten().nonzero()[:, 0]
    if len(moved):  # windows that the border has pushed inwards: blurred about another cell
        across, down = place.flatten(0, 1).index_select(0, moved).unbind(-1)
        left, right = bands.index_select(0, down), bands.index_select(0, across).mT
        square = left @ part.index_select(0, moved) @ right
        columns = [5 * (2 + y) + 2 + x for x, y in STENCIL]
        near.index_copy_(0, moved, square.flatten(1)[:, columns])
    return near.reshape(*cells.shape[:2], len(STENCIL))


@cache
def _bands(kernel: int) -> tuple[Tensor, Tensor]:
    """(s, 5, s) from a window's line to the five blurred values about its cell i, and (s s, 13)
    from a window to the blurred stencil about its middle.
    """
    reach = 2 + kernel // 2
    size, weights = 2 * reach + 1, blur_weights(kernel)
    wide = torch.zeros(size, 5, 3 * size, dtype=torch.float64)
    for cell in range(size):
        for row in range(5):
            first = size + cell + row - 2 - kernel // 2
            wide[cell, row, first : first + kernel] = weights
    bands = wide[..., size:-size].contiguous()
    middle = bands[reach]
    both = [torch.outer(middle[2 + y], middle[2 + x]).flatten() for x, y in STENCIL]
    return bands, torch.stack(both, dim=-1)


@cache
def _differences() -> Tensor:
    """(13, 5) from the stencil to gx, gy, dxx, dyy, dxy."""
    rows = [[terms.get(cell, 0.0) for terms in DIFFERENCES] for cell in STENCIL]
    return torch.tensor(rows, dtype=torch.float64)


@cache
def _udp_differences() -> Tensor:
    """(7, 5) the same of UDP, from those cells of the stencil that it reads."""
    rows = [[terms.get(cell, 0.0) for terms in UDP_DIFFERENCES] for cell in UDP_CELLS]
    return torch.tensor(rows, dtype=torch.float64)


def _blurred(maps: Tensor, kernel: int) -> Tensor:
    b, k, h, w = maps.shape
    weights = blur_weights(kernel).to(maps)
    flat = maps.reshape(b * k, 1, h, w)
    flat = functional.conv2d(flat, weights[None, None, None], padding=(0, kernel // 2))
    flat = functional.conv2d(flat, weights[None, None, :, None], padding=(kernel // 2, 0))
    return flat.reshape(b, k, h, w)


def _restoring(maps: Tensor, kernel: int) -> Tensor:
    """(B, K, 1, 1) what brings a blurred map back to the maximum that the map had."""
    before = maps.amax((-2, -1), keepdim=True)
    return before / _blurred(maps, kernel).amax((-2, -1), keepdim=True).clamp_min(1e-12)


def _gradient(maps: Tensor, cells: Tensor) -> Tensor:
    """(B, K, 2) difference of the neighbours on each axis; 0 for peaks on the border."""
    h, w = maps.shape[-2:]
    x, y = cells[..., 0].long(), cells[..., 1].long()
    flat = maps.flatten(2)

    def at(px: Tensor, py: Tensor) -> Tensor:
        index = py.clamp(0, h - 1) * w + px.clamp(0, w - 1)
        found = flat.gather(-1, index[..., None])[..., 0]
        return found.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)

    dx = torch.where((x > 0) & (x < w - 1), at(x + 1, y) - at(x - 1, y), 0.0)
    dy = torch.where((y > 0) & (y < h - 1), at(x, y + 1) - at(x, y - 1), 0.0)
    return torch.stack([dx, dy], dim=-1)
