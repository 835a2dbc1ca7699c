"""SLEAP's .slp files, read and written through sleap-io (tetrapose[sleap]).

Origin: sleap.ai; read through github.com/talmolab/sleap-io (BSD-3).
Licence: of the format none; of the data the file does not tell it.
Citation: Pereira et al., SLEAP: A deep learning system for multi-animal pose tracking, Nature
Methods 2022.

A file holds labelled frames of videos. Frames of image sequences are pictures and are read as they
lie. Frames of films and of packages (.pkg.slp, pictures inside) are no files: with frames=FOLDER
the labelled ones are written there as PNG, once. Points that SLEAP calls not visible have no
meaningful place there and are not labelled here; hidden ones cannot be told. Instances that SLEAP
predicted are not labels: they are left out, and told. A video is one group (groups=picture takes
that back, where a file merely gathers pictures). There are no boxes: they are made of the points
(gather.boxes_around). Coordinates are taken as they stand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from tetrapose.data import checks, made
from tetrapose.data.gather import Gathered
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.skeletons import Skeleton, mirror_name
from tetrapose.structures import PoseSet

ABOUT = About(
    title="SLEAP's labels (.slp), through sleap-io",
    skeleton=(
        "a shipped one with the file's nodes, else made of their names; or given with "
        "skeleton=NAME or skeleton=FILE.yaml"
    ),
    origin="sleap.ai",
    licence="the data's own",
    citation="Pereira et al., SLEAP: A deep learning system for multi-animal pose tracking, 2022",
    layout=(
        "FILE.slp; pictures where it says, else below the file's folder or the one named after a "
        "second colon; for films and .pkg.slp add frames=FOLDER"
    ),
    traps=(
        "predicted instances are no labels; points that are not visible have a place of no "
        "meaning; paths are those of the machine that labelled; no boxes"
    ),
)
HOLDS = frozenset[str]()


def read(
    root: str | Path,
    *,
    frames: str | Path | None = None,
    skeleton: str | Skeleton | None = None,
    sides: str | None = None,
    groups: str = "video",
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The labelled frames of one file, problems listed.

    What follows a second colon is a folder to look for pictures in; ``frames`` a folder that
    labelled frames of films are written to; ``groups`` is video or picture; ``skeleton`` and
    ``sides`` as in ``made.skeleton_of``.
    """
    if groups not in ("video", "picture"):
        raise UserError(f"groups={groups}: it is video or picture")
    parted = re.fullmatch(r"(.+?\.slp):(.+)", str(root), re.IGNORECASE)
    file = Path(parted[1] if parted else root)
    if not file.is_file():
        raise UserError(f"{file}: {'a folder; name the .slp' if file.is_dir() else 'no such file'}")
    look = parted[2] if parted else None
    sio = needed(file)
    try:
        labels = sio.load_slp(str(file), open_videos=frames is not None)
    except Exception as error:  # noqa: BLE001  # a broken file raises whatever its layers raise
        told = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as SLEAP's labels ({told})") from None
    found = Gathered()
    nodes = _nodes(labels, found, file)
    chosen, order, doubts = made.skeleton_of(
        nodes.node_names, skeleton, where=str(file), sides=sides,
        edges=[(edge.source.name, edge.destination.name) for edge in nodes.edges],
    )  # fmt: skip
    found.problems.extend(doubts)
    if skeleton is None:
        _same_sides(nodes, chosen, order, file)
    places = _places(labels, file, look, frames, found)
    for frame, place in places:
        number = labels.videos.index(frame.video)
        shape = frame.video.backend_metadata.get("shape") or (0, 0, 0, 0)
        size = (int(shape[2]), int(shape[1])) if all(shape[1:3]) else (0, 0)
        group = ("video", number) if groups == "video" else None
        _animals(found, found.picture(place, size, group), frame, nodes, order, f"{file}: {place}")
    at = [Path(place) for _, place in places]
    base = Path(os.path.commonpath([path.parent for path in at])) if at else file.parent
    found.files[:] = [path.relative_to(base).as_posix() for path in at]
    if sizes and pictures:
        found.read_sizes(base)
    pose_set = found.pose_set(chosen, root=base, source="sleap", licence=ABOUT.licence)
    return checks.checked(pose_set, str(file), split=split, sizes=sizes, pictures=pictures)


def needed(file: Path) -> Any:
    """The package sleap_io; a UserError that names the extra where it is not installed."""
    try:
        import sleap_io
    except ImportError:
        raise UserError(f"{file}: needs sleap-io: pip install 'tetrapose[sleap]'") from None
    return sleap_io


def _nodes(labels: Any, found: Gathered, file: Path) -> Any:
    """The skeleton of the file; of several the first that has user instances."""
    if not labels.skeletons:
        raise UserError(f"{file}: holds no skeleton")
    used = [instance.skeleton for frame in labels for instance in frame.user_instances]
    first = used[0] if used else labels.skeletons[0]
    others = sum(one is not first for one in used)
    if others:
        what = f"{others} instances on other skeletons than {first.name}"
        found.problem(str(file), what, "split the file by skeleton in SLEAP")
    predicted = sum(len(frame.predicted_instances) for frame in labels)
    if predicted:
        what = f"{predicted} predicted instances; they are no labels"
        found.problem(str(file), what, "correct and accept them in SLEAP, to have them as labels")
    return first


def _same_sides(nodes: Any, chosen: Skeleton, order: np.ndarray, file: Path) -> None:
    """UserError where the file's symmetries are not those that the names tell."""
    for pair in nodes.symmetries:
        one, other = (nodes.node_names.index(node.name) for node in pair.nodes)
        names = [chosen.names[int(np.flatnonzero(order == i)[0])] for i in (one, other)]
        if mirror_name(names[0]) != names[1]:
            raise UserError(
                f"{file}: {names[0]} and {names[1]} are called symmetric, which their names do not "
                "tell; rename them with left and right, or write a skeleton file and name it with "
                "skeleton=FILE.yaml"
            )


def _places(
    labels: Any, file: Path, look: str | Path | None, frames: str | Path | None, found: Gathered
) -> list[tuple[Any, str]]:
    """Each labelled frame with the absolute path of its picture."""
    folders = [Path(look)] if look is not None else [file.parent]
    if look is not None and not Path(look).is_dir():
        raise UserError(f"{look}: no such folder; the pictures of {file} were to be in it")
    places = []
    for frame in labels:
        told = frame.video.filename
        if isinstance(told, (list, tuple)):
            name = str(told[frame.frame_idx]) if frame.frame_idx < len(told) else ""
            if name:
                places.append((frame, str(_found(name, folders))))
            else:
                what = f"frame {frame.frame_idx} of an image sequence of {len(told)}"
                found.problem(str(file), what, "correct the file in SLEAP")
            continue
        if frames is None:
            raise UserError(
                f"{file}: its frames are inside {Path(str(told)).name}; add frames=FOLDER to have "
                "the labelled ones written there as pictures"
            )
        number = labels.videos.index(frame.video)
        target = Path(frames) / f"video{number}" / f"{frame.frame_idx:06d}.png"
        try:
            if not target.exists():
                _written(target, frame.image)
        except Exception as error:  # noqa: BLE001  # a decoder raises whatever its library raises
            told_error = " ".join(str(error).split())
            what = f"frame {frame.frame_idx} of {Path(str(told)).name} not read ({told_error})"
            found.problem(str(file), what, "put the video where the file says")
            continue
        places.append((frame, str(target.absolute())))
    return places


def _found(name: str, folders: Iterable[Path]) -> Path:
    """Where a picture lies: as told, or under a folder by as much of its path as fits."""
    told = Path(name)
    if told.is_file():
        return told.absolute()
    # a path of Windows has one part on other machines
    parts = PureWindowsPath(name).parts if "\\" in name else told.parts
    for folder in folders:
        for start in range(len(parts)):
            near = folder.joinpath(*parts[start:])
            if near.is_file():
                return near.absolute()
    return next(iter(folders)).absolute() / parts[-1]


def _written(target: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.part")
    plain = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    Image.fromarray(np.asarray(plain)).save(draft, format="PNG")
    draft.replace(target)


def _animals(
    found: Gathered, image: int, frame: Any, nodes: Any, order: np.ndarray, where: str
) -> None:
    for instance in frame.user_instances:
        if instance.skeleton is not nodes:
            continue
        points = made.in_order(instance.numpy(invisible_as_nan=True), order, np.nan)
        flags = np.where(np.isnan(points).any(axis=1), 0, 2).astype(np.uint8)
        if flags.any():
            found.animal(image, points, flags)
        else:
            found.problem(where, "an instance without a visible point", "remove it in SLEAP")


def write(pose_set: PoseSet, path: str | Path) -> None:
    """The set as labels at ``path`` (.slp); pictures stay where they are, named by full paths."""
    path = Path(path)
    if path.suffix.lower() != ".slp":
        raise UserError(f"{path}: the name of SLEAP's labels ends in .slp")
    sio = needed(path)
    labels = labels_of(pose_set, sio)
    saved(path, lambda draft: sio.save_slp(labels, draft, verbose=False))


def saved(path: Path, write_to: Any) -> None:
    """Write a file through a library whole or not at all, its folder made where it is missing."""
    # the library goes by the suffix, so the draft keeps it
    draft = path.with_name(f".part.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to(str(draft))
        draft.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        draft.unlink(missing_ok=True)


def nodes_of(skeleton: Skeleton, sio: Any) -> Any:
    """sleap_io.Skeleton of a skeleton."""
    pairs = {frozenset((p.name, p.mirror)) for p in skeleton.keypoints if p.name != p.mirror}
    return sio.Skeleton(
        list(skeleton.names),
        edges=[tuple(edge) for edge in skeleton.edges],
        symmetries=[tuple(sorted(pair)) for pair in sorted(pairs, key=sorted)],
        name=skeleton.name,
    )


def labels_of(pose_set: PoseSet, sio: Any) -> Any:
    """sleap_io.Labels of a set: one image sequence for each folder and size of pictures."""
    nodes = nodes_of(pose_set.skeleton, sio)
    sequences: dict[tuple[str, int, int], list[int]] = {}
    for image, file in enumerate(pose_set.files):
        size = pose_set.sizes[image].tolist()
        sequences.setdefault((os.path.dirname(file), *size), []).append(image)
    rows: dict[int, list[int]] = {}
    for row, image in enumerate(pose_set.image_index.tolist()):
        if pose_set.labelled[row].any():
            rows.setdefault(image, []).append(row)
    frames, videos = [], []
    for (_, width, height), images in sequences.items():
        video = _sequence(sio, [str(pose_set.path(i).absolute()) for i in images], width, height)
        videos.append(video)
        for number, image in enumerate(images):
            instances = [
                sio.Instance.from_numpy(_points(pose_set, row), nodes)
                for row in rows.get(image, ())
            ]
            frames.append(sio.LabeledFrame(video=video, frame_idx=number, instances=instances))
    return sio.Labels(labeled_frames=frames, videos=videos, skeletons=[nodes])


def _sequence(sio: Any, files: list[str], width: int, height: int) -> Any:
    shape = (len(files), height, width, 3) if width and height else None
    told = {
        "type": "ImageVideo", "filename": files[0], "filenames": files, "shape": shape,
        "height_": height or None, "width_": width or None, "channels_": 3, "grayscale": False,
    }  # fmt: skip
    return sio.Video(filename=files, open_backend=False, backend_metadata=told)


def _points(pose_set: PoseSet, row: int) -> np.ndarray:
    labelled = pose_set.labelled[row][:, None]
    return np.where(labelled, pose_set.keypoints[row], np.nan).astype(np.float64)
