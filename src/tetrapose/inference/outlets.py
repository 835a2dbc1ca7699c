"""A film's table as others read it: COCO, DeepLabCut, SLEAP, NWB. Strays (track 0) are left out.

COCO and DeepLabCut's csv are written a row group at a time; DeepLabCut's h5, SLEAP and NWB are
written by their own libraries, which want the whole film's points in memory.
Sources: the formats as pandas, sleap-io and ndx-pose write them, and movement reads them.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.errors import UserError
from tetrapose.geometry import box_area, xyxy_to_xywh
from tetrapose.inference import tracked
from tetrapose.inference.chunks import Rows
from tetrapose.skeletons import Skeleton

SCORER = "tetrapose"


@dataclass(frozen=True)
class Told:
    """What goes out: the table, its film, its skeleton, the tracks, and the frames looked at.

    ``frames`` are the numbers of the frames, ``rate`` frames a second of the film, ``size`` (width,
    height) of its pictures.
    """

    table: Path
    film: Path
    skeleton: Skeleton
    tracks: tuple[int, ...]
    frames: range
    rate: float
    size: tuple[int, int]

    def rows(self) -> Iterator[Rows]:
        """Rows of the tracks, a row group at a time."""
        for rows in tracked.each(self.table):
            yield rows.take(rows.serial > 0)

    @property
    def individuals(self) -> list[str]:
        """A name for each track."""
        return [f"animal{track}" for track in self.tracks]


def write(told: Told, form: str, path: Path) -> Path:
    """The table in a form of ``FORMS`` at ``path``, whole or not at all; UserError says why not."""
    draft = path.with_name(f".part.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        FORMS[form][1](told, draft)
        draft.replace(path)
    except ImportError as error:
        raise UserError(
            f"{path}: needs the package {error.name}: pip install 'tetrapose[{EXTRAS[form]}]'"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return path


def _coco(told: Told, path: Path) -> None:
    """A COCO set: a picture for each frame, an annotation for each animal, with track_id."""
    width, height = told.size
    skeleton = told.skeleton
    category = {
        "id": 1, "name": "animal", "supercategory": "animal", "keypoints": list(skeleton.names),
        "skeleton": (skeleton.edge_indices + 1).tolist(),
    }  # fmt: skip
    with path.open("w", encoding="utf-8") as file:
        film = {"id": 1, "file_name": told.film.name, "width": width, "height": height}
        file.write(f'{{"videos": [{json.dumps(film)}],\n"categories": [{json.dumps(category)}],\n')
        file.write('"images": [\n')
        for number, frame in enumerate(told.frames):
            image = {
                "id": frame + 1, "file_name": f"{told.film.stem}/{frame:06d}.jpg", "video_id": 1,
                "frame_index": frame, "width": width, "height": height,
            }  # fmt: skip
            file.write((",\n" if number else "") + json.dumps(image))
        file.write('\n],\n"annotations": [\n')
        number = 0
        for rows in told.rows():
            for one in _annotations(rows):
                number += 1
                file.write((",\n" if number > 1 else "") + json.dumps({"id": number, **one}))
        file.write("\n]}\n")


def _annotations(rows: Rows) -> Iterator[dict[str, Any]]:
    there = np.asarray(np.isfinite(rows.keypoints).all(axis=-1))
    points = np.where(there[..., None], rows.keypoints, 0.0).round(2)
    areas, boxes = box_area(rows.bboxes), xyxy_to_xywh(rows.bboxes)
    for row in range(len(rows)):
        triples = np.column_stack([points[row], np.where(there[row], 2, 0)])
        yield {
            "image_id": int(rows.frame[row]) + 1,
            "category_id": 1,
            "track_id": int(rows.serial[row]),
            "time": round(float(rows.time[row]), 6),
            "bbox": boxes[row].round(2).tolist(),
            "area": round(float(areas[row]), 2),
            "iscrowd": 0,
            "keypoints": triples.ravel().tolist(),
            "num_keypoints": int(there[row].sum()),
            "keypoint_scores": rows.scores[row].round(4).tolist(),
            "score": round(float(rows.scores[row].mean()), 5),
        }


def _dlc_columns(told: Told) -> tuple[list[str], list[tuple[str, ...]]]:
    """Names of DeepLabCut's header lines, and the columns; one animal has no individuals."""
    several = len(told.tracks) > 1
    animals = [(name,) for name in told.individuals] if several else [()]
    columns = [
        (SCORER, *animal, name, axis)
        for animal in animals
        for name in told.skeleton.names
        for axis in ("x", "y", "likelihood")
    ]
    levels = ["scorer", *(["individuals"] if several else []), "bodyparts", "coords"]
    return levels, columns


def _dlc_lines(told: Told) -> Iterator[tuple[int, np.ndarray]]:
    """(frame, values) of every frame looked at, in order; NaN where an animal is not seen."""
    place = {track: number for number, track in enumerate(told.tracks)}
    width = 3 * len(told.skeleton)
    wanted = iter(told.frames)
    empty = np.full(max(len(place), 1) * width, np.nan)
    line, at = empty.copy(), next(wanted, None)
    for rows in told.rows():
        triples = np.concatenate([rows.keypoints, rows.scores[..., None]], axis=-1)
        for row in range(len(rows)):
            while at is not None and at < rows.frame[row]:
                yield at, line
                line, at = empty.copy(), next(wanted, None)
            first = place[int(rows.serial[row])] * width
            line[first : first + width] = triples[row].ravel()
    while at is not None:
        yield at, line
        line, at = empty.copy(), next(wanted, None)


def _dlc_csv(told: Told, path: Path) -> None:
    levels, columns = _dlc_columns(told)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for level, names in zip(levels, zip(*columns, strict=True), strict=True):
            writer.writerow([level, *names])
        for frame, values in _dlc_lines(told):
            writer.writerow([frame, *("" if np.isnan(v) else f"{v:.4f}" for v in values)])


def _dlc_h5(told: Told, path: Path) -> None:
    import pandas as pd
    import tables  # noqa: F401  # what pandas writes h5 with

    levels, columns = _dlc_columns(told)
    lines = list(_dlc_lines(told))
    frame = pd.DataFrame(
        np.array([values for _, values in lines]).reshape(len(lines), len(columns)),
        index=[number for number, _ in lines],
        columns=pd.MultiIndex.from_tuples(columns, names=levels),
    )
    frame.to_hdf(path, key="df_with_missing", mode="w")


def _sleap(told: Told, path: Path) -> None:
    from tetrapose.data.sleap import nodes_of

    sio: Any = importlib.import_module("sleap_io")

    nodes = nodes_of(told.skeleton, sio)
    tracks = {
        track: sio.Track(name) for track, name in zip(told.tracks, told.individuals, strict=True)
    }
    width, height = told.size
    shape = (told.frames[-1] + 1 if len(told.frames) else 0, height, width, 3)
    video = sio.Video(
        filename=str(told.film.absolute()), open_backend=False,
        backend_metadata={"type": "MediaVideo", "shape": shape, "grayscale": False},
    )  # fmt: skip
    frames: dict[int, Any] = {}
    for rows in told.rows():
        for row in range(len(rows)):
            number = int(rows.frame[row])
            if number not in frames:
                frames[number] = sio.LabeledFrame(video=video, frame_idx=number, instances=[])
            frames[number].instances.append(
                sio.PredictedInstance.from_numpy(
                    rows.keypoints[row], nodes, point_scores=rows.scores[row],
                    score=float(rows.scores[row].mean()), track=tracks[int(rows.serial[row])],
                )
            )  # fmt: skip
    labels = sio.Labels(
        labeled_frames=list(frames.values()), videos=[video], skeletons=[nodes],
        tracks=list(tracks.values()),
    )  # fmt: skip
    sio.save_slp(labels, str(path), verbose=False)


def _nwb(told: Told, path: Path) -> None:
    """One ndx-pose PoseEstimation an animal (named so, if it is alone), at the frames' times."""
    from datetime import datetime, timezone

    pynwb: Any = importlib.import_module("pynwb")
    ndx: Any = importlib.import_module("ndx_pose")
    file = pynwb.NWBFile(
        session_description=f"keypoints of {told.film.name} by tetrapose",
        identifier=f"{told.film.name}-{told.frames[0] if len(told.frames) else 0}",
        session_start_time=datetime.now(timezone.utc),  # films do not tell it
    )
    names = list(told.skeleton.names)
    skeleton = ndx.Skeleton(
        name=told.skeleton.name, nodes=names, edges=told.skeleton.edge_indices.astype("uint8")
    )
    behavior = file.create_processing_module("behavior", "keypoints of animals in a film")
    behavior.add(ndx.Skeletons(skeletons=[skeleton]))
    times, points, scores = _arrays(told)
    single = ["PoseEstimation"] if len(told.tracks) == 1 else told.individuals
    for place, name in enumerate(single):
        series = [
            ndx.PoseEstimationSeries(
                name=point, description=point, data=points[:, place, number], unit="pixels",
                reference_frame="(0, 0) is the centre of the top-left pixel",
                timestamps=times, confidence=scores[:, place, number],
                confidence_definition="score of the model, 0 to 1",
            )
            for number, point in enumerate(names)
        ]  # fmt: skip
        behavior.add(
            ndx.PoseEstimation(
                name=name, pose_estimation_series=series, skeleton=skeleton, scorer=SCORER,
                source_software=SCORER,
                description=f"track {told.tracks[place]} of {told.film.name}",
            )
        )  # fmt: skip
    with pynwb.NWBHDF5IO(path, "w") as stream:
        stream.write(file)


def _arrays(told: Told) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (F,), points (F, A, K, 2) and scores (F, A, K), NaN where an animal is not seen."""
    shape = (len(told.frames), len(told.tracks), len(told.skeleton))
    points, scores = np.full((*shape, 2), np.nan), np.full(shape, np.nan)
    times = np.array([frame / told.rate for frame in told.frames], dtype=np.float64)
    place = {track: number for number, track in enumerate(told.tracks)}
    for rows in told.rows():
        at = (rows.frame - told.frames.start) // told.frames.step
        which = [place[int(track)] for track in rows.serial]
        points[at, which], scores[at, which] = rows.keypoints, rows.scores
        times[at] = rows.time
    return np.maximum.accumulate(times) if len(times) else times, points, scores


FORMS: dict[str, tuple[str, Callable[[Told, Path], None]]] = {
    "coco": (".coco.json", _coco),
    "dlc-csv": (".dlc.csv", _dlc_csv),
    "dlc-h5": (".dlc.h5", _dlc_h5),
    "sleap": (".slp", _sleap),
    "nwb": (".nwb", _nwb),
}
EXTRAS = {"dlc-h5": "deeplabcut", "sleap": "sleap", "nwb": "nwb"}
