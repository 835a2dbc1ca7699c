"""One picture of the menagerie with its truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton
from tetrapose.structures import Instances
from tetrapose.synth import backdrop, raster, shade
from tetrapose.synth import builds as build_table
from tetrapose.synth.points import PARTS, mapping
from tetrapose.synth.solids import Actor, Solid
from tetrapose.synth.stage import POSES, Stage, set_up, without

FINER = 2  # surfaces are drawn on a grid this much finer than the picture, then averaged
LEAST_SEEN = 0.15  # an animal of which less than this share is seen is taken out of the picture
LEAST_PIXELS = 0.003  # and one that covers less than this share of the picture
TRIES = 20  # scenes drawn until one shows all its animals; the last stands as it is
THING = -2  # owner of a pixel that shows a loose thing; -1 the background


@dataclass(frozen=True)
class Animal:
    """The truth about one animal of a picture.

    ``mask`` (H, W) the pixels at which it is seen; ``bbox`` x1, y1, x2, y2 along their outer edges;
    ``area`` their number. ``points`` name -> x, y in pixels and depth from the camera, in units of
    the withers height of the first animal; ``visible`` name -> seen, by the rule that stands in
    ``tetrapose.synth.points`` (a point outside the picture is not).
    """

    build: str
    pose: str
    mask: np.ndarray
    bbox: np.ndarray
    area: int
    points: dict[str, tuple[float, float, float]]
    visible: dict[str, bool]


@dataclass(frozen=True)
class Scene:
    """A rendered picture (H, W, 3) uint8 RGB and its animals."""

    image: np.ndarray
    animals: tuple[Animal, ...]
    index: int
    seed: int


@dataclass(frozen=True)
class Surfaces:
    """What is seen on the fine grid: whose surface, which of PARTS, how far away (inf: nothing)."""

    owner: np.ndarray
    part: np.ndarray
    depth: np.ndarray
    fragments: raster.Fragments
    solid: np.ndarray


def render(
    index: int,
    *,
    seed: int = 0,
    size: int | tuple[int, int] = 256,
    animals: int | tuple[int, int] = 1,
    builds: tuple[str, ...] | list[str] | None = None,
    poses: tuple[str, ...] | list[str] | None = None,
) -> Scene:
    """Picture number ``index`` of the series ``seed``; depends on nothing but the arguments.

    ``size`` in pixels, one side of a square or (width, height); ``animals`` how many, or (least,
    most); ``builds`` to draw from and ``poses`` (see ``POSES``), all where not given. Raises
    UserError for names that there are not.
    """
    odd = sorted(set(poses or ()) - set(POSES))
    if odd:
        raise UserError(f"no pose {', '.join(odd)}; there are: {', '.join(POSES)}")
    rng = np.random.default_rng([seed, index])
    shape = (size, size) if isinstance(size, int) else size
    chosen, postures = build_table.check(builds), tuple(poses or POSES)
    floor = LEAST_PIXELS * shape[0] * shape[1] * FINER**2
    for _ in range(TRIES):
        drawn = set_up(rng, shape, animals, chosen, postures)
        stage, surfaces = resolve(drawn)
        if len(stage.actors) == len(drawn.actors) and _seen(stage, surfaces).min() > floor:
            break
    image = _develop(rng, _expose(stage, surfaces))
    truth = [_truth(stage, surfaces, i) for i in range(len(stage.actors))]
    return Scene(image, tuple(one for one in truth if one.area), index, seed)


def resolve(stage: Stage) -> tuple[Stage, Surfaces]:
    """What is nearest at each cell; loose things or animals that leave too little seen go."""
    while True:
        surfaces, full = _surfaces(stage)
        seen = _seen(stage, surfaces)
        floor = LEAST_PIXELS * surfaces.owner.size
        bad = [i for i in range(len(full)) if seen[i] < max(LEAST_SEEN * full[i], floor)]
        if not bad:
            return stage, surfaces
        if stage.things:
            stage = without(stage, things=True)
        elif len(stage.actors) > 1:
            stage = without(stage, actor_at=bad[-1])
        else:
            return stage, surfaces


def _seen(stage: Stage, surfaces: Surfaces) -> np.ndarray:
    """(animals,) the number of cells that show each."""
    return np.bincount(surfaces.owner[surfaces.owner >= 0], minlength=len(stage.actors))


def _solids(stage: Stage) -> list[Solid]:
    return [one.solid for one in stage.actors] + list(stage.things)


def _surfaces(stage: Stage) -> tuple[Surfaces, np.ndarray]:
    """The surfaces seen, and the number of cells that each animal alone would cover."""
    solids = _solids(stage)
    camera = stage.camera.finer(FINER)
    faces, starts = [], np.cumsum([0] + [len(s.points) for s in solids])
    for solid, start in zip(solids, starts, strict=False):
        faces.append(solid.faces + start)
    owner_of = np.repeat(np.arange(len(solids)), [len(f) for f in faces])
    part_of = np.concatenate([s.part for s in solids])
    flat, depths = camera.project(np.concatenate([s.points for s in solids]))
    covered = raster.rasterise(flat, depths, np.concatenate(faces), camera.size)
    fragments = raster.nearest(covered)
    width, height = camera.size
    owner = np.full(height * width, -1, dtype=np.int16)
    part = np.full(height * width, -1, dtype=np.int8)
    depth = np.full(height * width, np.inf, dtype=np.float32)
    solid_at = owner_of[fragments.face]
    count = len(stage.actors)
    owner[fragments.pixel] = np.where(solid_at < count, solid_at, THING)
    part[fragments.pixel] = part_of[fragments.face]
    depth[fragments.pixel] = fragments.depth
    full = np.zeros(count, dtype=np.int64)
    if len(solids) == 1:
        full[0] = len(fragments.pixel)
    else:
        for i in range(count):
            alone = np.zeros(height * width, dtype=bool)
            alone[covered.pixel[owner_of[covered.face] == i]] = True
            full[i] = alone.sum()
    grid = (height, width)
    found = Surfaces(
        owner.reshape(grid), part.reshape(grid), depth.reshape(grid), fragments, solid_at
    )
    return found, full


def _expose(stage: Stage, surfaces: Surfaces) -> np.ndarray:
    """The picture (3, H, W) float32 in 0..1 before the lens and the film.

    Every cell of the fine grid counts towards how much of a pixel is covered; every other one, as
    on a chessboard, towards its colour.
    """
    picture = backdrop.paint(stage.setting, stage.camera, stage.wall)
    picture *= 1 - _shadow(stage)
    fragments = surfaces.fragments
    if not len(fragments.pixel):
        return picture
    y, x = np.divmod(fragments.pixel, stage.camera.size[0] * FINER)
    shaded = np.flatnonzero((x + y) % 2 == 0)
    colours = _colours(stage, surfaces, shaded, x[shaded], y[shaded])
    # the window of whole pixels around all that is covered
    left, top = int(x.min()) // FINER, int(y.min()) // FINER
    right, bottom = int(x.max()) // FINER + 1, int(y.max()) // FINER + 1
    window = (right - left, bottom - top)
    spot = (y - top * FINER) * (window[0] * FINER) + (x - left * FINER)
    alpha = _averaged(spot, np.float32(1), window)
    spot = spot[shaded]
    count = _spread(_averaged(spot, np.float32(1), window))
    under = picture[:, top:bottom, left:right]
    for plane, colour in zip(under, colours, strict=True):
        plane += (_spread(_averaged(spot, colour, window)) / count - plane) * alpha
    return picture


def _averaged(
    spot: np.ndarray, value: np.ndarray | np.float32, size: tuple[int, int]
) -> np.ndarray:
    """(H, W) means over the cells of each pixel, of values at cells ``spot`` and 0 elsewhere."""
    width, height = size
    plane = np.zeros(width * height * FINER**2, dtype=np.float32)
    plane[spot] = value
    plane = plane.reshape(height * FINER, width * FINER)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def _spread(plane: np.ndarray) -> np.ndarray:
    """A plane with a trace of its neighbours, for pixels covered in cells that were not shaded."""
    return plane + 1e-3 * cv2.blur(plane, (3, 3), borderType=cv2.BORDER_CONSTANT) + 1e-9


def _colours(
    stage: Stage, surfaces: Surfaces, shaded: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """(3, n) lit colours of some of the fragments."""
    camera = stage.camera.finer(FINER)
    fragments, solid_at = surfaces.fragments, surfaces.solid[shaded]
    out = np.zeros((3, len(shaded)), dtype=np.float32)
    view = camera.toward(x, y)
    start = 0
    for i, solid in enumerate(_solids(stage)):
        mine = np.flatnonzero(solid_at == i)
        if len(mine):
            chosen = shaded[mine]
            face = fragments.face[chosen] - start
            corners = np.ascontiguousarray(solid.faces.take(face, axis=0).T)
            place = shade.Place(corners, fragments.weights[:, chosen], solid.tube[face])
            normals = shade.normals_at(place, solid.normals, (x[mine], y[mine]), camera.size[1])
            away = float(fragments.depth[chosen].mean())
            colour = shade.colour_solid(solid, place, away / camera.focal)
            normals = shade.ruffled(solid, place, normals)
            out[:, mine] = shade.lit(colour, normals, view[:, mine], stage.light, solid.gloss)
        start += len(solid.faces)
    return np.clip(out, 0, 1)


def _shadow(stage: Stage) -> np.ndarray:
    """(H, W) how much the ground is darkened: cast by the light, and close under each body."""
    camera, toward = stage.camera, stage.light.direction
    width, height = camera.size
    factor = max(1, round(height / 128))
    small = (max(width // factor, 8), max(height // factor, 8))
    solids = _solids(stage)
    points = np.concatenate([s.points for s in solids])
    total = np.zeros(small[::-1], dtype=np.float32)
    share = float(stage.light.colour.mean())
    for slant, strength, soft in ((toward / toward[2], 0.75 * share, 0.012), (None, 0.35, 0.03)):
        rise = points[:, 2:3]
        fall = points - (np.array([0, 0, 1.0]) if slant is None else slant) * rise
        if slant is None:
            fall = fall[rise[:, 0] < 0.6]
        flat, depth = camera.project(fall)
        spot = np.round((flat + 0.5) * (np.array(small) / (width, height)) - 0.5)
        keep = ((spot >= 0) & (spot < small)).all(axis=1) & (depth > 0.05)
        column, row = spot[keep].astype(np.int64).T
        mask = np.zeros(small[::-1], dtype=np.float32)
        mask[row, column] = 1
        mask = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        mask = cv2.GaussianBlur(mask, (0, 0), soft * small[1] + 0.3)
        total = 1 - (1 - total) * (1 - strength * mask)
    return cv2.resize(total, camera.size, interpolation=cv2.INTER_LINEAR)


def _develop(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: exposure, contrast, a little blur and noise, as cameras have them."""
    height, width = picture.shape[1:]
    gain, contrast = rng.uniform(0.88, 1.15), rng.uniform(0.9, 1.15)
    soft = rng.uniform(0.0, 0.7) * height / 256
    grain = rng.standard_normal((height, width), dtype=np.float32)
    # ((picture * gain - 0.5) * contrast + 0.5) * 255, and half a step for rounding
    grain *= 255 * rng.uniform(0, 0.018)
    grain += 255 * (0.5 - 0.5 * contrast) + 0.5
    planes = []
    for plane in picture:
        even = cv2.GaussianBlur(plane, (0, 0), soft) if soft > 0.3 else plane
        shown = even * np.float32(255 * gain * contrast) + grain
        planes.append(np.clip(shown, 0, 255).astype(np.uint8))
    return cv2.merge(planes)


def _truth(stage: Stage, surfaces: Surfaces, number: int) -> Animal:
    one = stage.actors[number]
    mine = (surfaces.owner == number).astype(np.uint8)
    steps = range(FINER)
    count = sum(mine[i::FINER, j::FINER] for i in steps for j in steps)
    mask = np.asarray(count) * 2 >= FINER * FINER
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    bbox = np.zeros(4)
    if len(rows):
        bbox = np.array([columns[0], rows[0], columns[-1], rows[-1]]) + (-0.5, -0.5, 0.5, 0.5)
    points, visible = _see(stage, surfaces, number)
    return Animal(
        one.individual.build,
        one.pose,
        mask,
        bbox.astype(np.float64),
        int(mask.sum()),
        points,
        visible,
    )


def _see(
    stage: Stage, surfaces: Surfaces, number: int
) -> tuple[dict[str, tuple[float, float, float]], dict[str, bool]]:
    """Where the points of one animal fall, and which of them are seen."""
    one: Actor = stage.actors[number]
    names = list(one.points)
    places = np.stack([one.points[name].place for name in names])
    flat, depths = stage.camera.project(places)
    height, width = surfaces.owner.shape
    cell = np.round((flat + 0.5) * FINER - 0.5)
    points, visible = {}, {}
    for i, name in enumerate(names):
        points[name] = (float(flat[i, 0]), float(flat[i, 1]), float(depths[i]))
        column, row = cell[i]
        inside = depths[i] > 0 and 0 <= column < width and 0 <= row < height
        seen = False
        if inside and surfaces.owner[int(row), int(column)] == number:
            part = PARTS[surfaces.part[int(row), int(column)]]
            gap = depths[i] - surfaces.depth[int(row), int(column)]
            seen = part in one.points[name].parts and gap <= one.points[name].reach
        visible[name] = bool(seen)
    return points, visible


def instances(scene: Scene, skeleton: str | Skeleton) -> Instances:
    """A scene's animals as labels of a convention.

    Visibility 2 where seen, 1 where hidden inside the picture, 0 with NaN outside it or where the
    menagerie has no such point. Raises UserError for a convention that it has no points for.
    """
    skeleton = skeletons.load(skeleton) if isinstance(skeleton, str) else skeleton
    table = mapping(skeleton)
    height, width = scene.image.shape[:2]
    count = len(scene.animals)
    keypoints = np.full((count, len(skeleton), 2), np.nan)
    visibility = np.zeros((count, len(skeleton)), dtype=np.uint8)
    for i, animal in enumerate(scene.animals):
        for name, point in table.items():
            k = skeleton.index(name)
            x, y, depth = animal.points[point]
            if depth > 0 and -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5:
                keypoints[i, k] = x, y
                visibility[i, k] = 2 if animal.visible[point] else 1
    bboxes = np.stack([a.bbox for a in scene.animals]) if count else np.zeros((0, 4))
    return Instances(keypoints, visibility, bboxes)
