"""A set written as Neurodata Without Borders: ndx-pose's training labels, through sleap-io.

The file holds a behaviour module with Skeletons and PoseTraining: source videos (image sequences by
full paths), training frames and their skeleton instances, as ndx-pose defines them
(github.com/rly/ndx-pose). NWB wants a time at which the session began, which labelled pictures do
not have: the time of writing stands there.
"""

from __future__ import annotations

from pathlib import Path

from tetrapose.data import sleap
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

HOLDS = frozenset[str]()


def write(pose_set: PoseSet, path: str | Path) -> None:
    """The set as training labels at ``path`` (.nwb); its pictures, named there, must be at hand."""
    path = Path(path)
    if path.suffix.lower() != ".nwb":
        raise UserError(f"{path}: the name of an NWB file ends in .nwb")
    sio = sleap.needed(path)
    absent = next((f for i, f in enumerate(pose_set.files) if not pose_set.path(i).is_file()), None)
    if absent is not None:
        raise UserError(f"{path}: NWB refers to pictures that are there; {absent} is not")
    labels = sleap.labels_of(pose_set, sio)
    for video in labels.videos:
        video.open(list(video.filename))
    sleap.saved(path, lambda draft: sio.save_nwb(labels, draft, nwb_format="annotations"))
