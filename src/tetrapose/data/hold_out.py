"""Which of one's own labelled frames are kept back to measure on.

By lot, in the ways that labelling programs do it (frame by frame) or by whole videos; by a list of
names; or as DeepLabCut drew it for one of its shuffles.
Source of the last: github.com/DeepLabCut/DeepLabCut, generate_training_dataset/metadata.py: the
training indices, test indices and fraction of a shuffle stand in
training-datasets/iteration-*/UnaugmentedDataSet_*/Documentation_data-*shuffle<N>.pickle, and count
rows of the CollectedData table that lies beside it.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from tetrapose.data import reading
from tetrapose.data.deeplabcut import table_file
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

SHARE = 0.2


def by_lot(
    pose_set: PoseSet, *, share: float = SHARE, seed: int = 0, videos: bool = False
) -> np.ndarray:
    """(M,) True for test frames: a share of the pictures drawn by ``seed`` alone, one at least.

    With ``videos`` whole groups are drawn until the share is reached, so that no test frame has a
    like one among those learned from. UserError where nothing would be left on either side.
    """
    count = len(pose_set.files)
    test = np.zeros(count, dtype=bool)
    if share == 0:
        return test
    if not 0 < share < 1:
        raise UserError(f"--test-share must lie in 0..1, not {share:g}")
    rng = np.random.default_rng(seed)
    wanted = min(max(round(share * count), 1), count - 1)
    if not videos:
        test[rng.permutation(count)[:wanted]] = True
        return test
    groups = np.unique(pose_set.groups)
    if len(groups) < 2:
        raise UserError("--whole-videos: all frames are of one video; leave it out, or use --test")
    for group in rng.permutation(groups)[:-1]:
        test |= pose_set.groups == group
        if test.sum() >= wanted:
            break
    return test


def by_names(pose_set: PoseSet, file: str | Path) -> np.ndarray:
    """(M,) True for frames that a plain list names, by path or by the path's end.

    UserError for names that are no frame of the set, or that leave nothing on one side.
    """
    named = reading.read_split(Path(file), pose_set.root)
    test = np.zeros(len(pose_set.files), dtype=bool)
    strange = []
    for name in named:
        ends = [i for i, f in enumerate(pose_set.files) if f == name or f.endswith(f"/{name}")]
        test[ends] = True
        if not ends:
            strange.append(name)
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise UserError(f"{file}: no labelled frame is called {', '.join(strange[:3])}{more}")
    return _both_sides(test, str(file))


def of_deeplabcut(pose_set: PoseSet, shuffle: int) -> np.ndarray:
    """(M,) True for the test frames of a shuffle that DeepLabCut drew in the set's project.

    Of several iterations the last counts. UserError where there is no such shuffle, or where the
    labels are no longer those that it was drawn from.
    """
    found = sorted(
        (
            file
            for file in pose_set.root.glob("training-datasets/iteration-*/*/Documentation_*.pickle")
            if re.search(rf"shuffle{shuffle}\.pickle$", file.name)
        ),
        key=lambda file: int(re.sub(r"\D", "", file.parts[-3]) or 0),
    )
    if not found:
        raise UserError(
            f"{pose_set.root}: DeepLabCut has drawn no shuffle {shuffle} here (training-datasets/"
            "iteration-*/*/Documentation_data-*.pickle); leave --shuffle out"
        )
    file = found[-1]
    tables = sorted(file.parent.glob("CollectedData_*"), key=lambda one: one.suffix != ".csv")
    tables = [one for one in tables if one.suffix in (".csv", ".h5")]
    if not tables:
        raise UserError(f"{file.parent}: lacks the CollectedData table that its indices count")
    try:
        frames = table_file(tables[0]).frames
        held = _plain_pickle(file.read_bytes())
        train, test = (np.asarray(held[i], dtype=np.int64).ravel() for i in (1, 2))
        names = [["/".join(frames[i].replace("\\", "/").split("/")[-2:]) for i in part if i >= 0]
                 for part in (train, test)]  # fmt: skip
    except (OSError, ValueError, TypeError, IndexError, KeyError) as error:
        raise UserError(f"{file}: cannot be read as a shuffle ({error})") from None
    place = {"/".join(f.split("/")[-2:]): i for i, f in enumerate(pose_set.files)}
    chosen = np.zeros(len(pose_set.files), dtype=bool)
    chosen[[place[name] for name in names[1] if name in place]] = True
    known = {*names[0], *names[1]}
    new = [name for name in place if name not in known]
    if new:
        raise UserError(
            f"{file}: {len(new)} labelled frames ({new[0]} ...) are newer than this shuffle; draw "
            "a new one in DeepLabCut, or leave --shuffle out"
        )
    return _both_sides(chosen, str(file))


def _both_sides(test: np.ndarray, where: str) -> np.ndarray:
    if test.all() or not test.any():
        which = "every frame is a test frame" if test.all() else "no frame is a test frame"
        raise UserError(f"{where}: {which}")
    return test


class _Numbers(pickle.Unpickler):
    """Reads numpy's arrays and numbers from a pickle without calling anything of numpy's."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        known = {
            "_reconstruct": lambda *_: _Array(), "ndarray": _Array, "dtype": _Kind,
            "scalar": _scalar, "_frombuffer": _buffer,
        }  # fmt: skip
        if module_name.partition(".")[0] == "numpy" and global_name in known:
            return known[global_name]
        if (module_name, global_name) == ("_codecs", "encode"):  # how old protocols write bytes
            return lambda text, _: text.encode("latin1")
        raise ValueError(f"asks for {module_name}.{global_name}, which a shuffle never does")

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("refers to objects outside the file")


class _Kind:
    """What a pickle says of an array's numbers; only plain ones are read."""

    def __init__(self, code: str = "", *_: Any) -> None:
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1] if state[1] in "<>" else "<"

    def read(self, data: bytes) -> np.ndarray:
        if not re.fullmatch(r"[iuf][1248]|b1", self.code):
            return np.zeros(0)  # names and the like, which nobody asks for
        return np.frombuffer(bytes(data), dtype=np.dtype(self.order + self.code))


class _Array:
    """An array of a pickle, as a list that numpy takes."""

    def __init__(self, *_: Any) -> None:
        self.values = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, _, data = state
        if isinstance(data, (bytes, bytearray)):
            read = kind.read(data)
            self.values = read.reshape(shape) if read.size == np.prod(shape) else read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values.astype(dtype or self.values.dtype)


def _scalar(kind: _Kind, data: bytes = b"") -> Any:
    read = kind.read(data)
    return read[0] if read.size else None


def _buffer(data: Any, kind: _Kind, shape: Any, order: str) -> _Array:
    made = _Array()
    read = kind.read(data)
    made.values = read.reshape(shape) if read.size == np.prod(shape) else read
    return made


def _plain_pickle(data: bytes) -> Any:
    if len(data) > 1 << 26:
        raise ValueError(f"{len(data)} bytes, far more than a shuffle takes")
    try:
        return _Numbers(io.BytesIO(data), encoding="latin1").load()
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001  # a broken pickle raises nearly anything
        raise ValueError(f"not a whole pickle ({' '.join(str(error).split())})") from None
