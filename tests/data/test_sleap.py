"""SLEAP's labels: what counts as labelled, where pictures are, films and packages."""

from __future__ import annotations

import numpy as np
import pytest
from miniatures import paint

from tetrapose.data import open_set, sleap
from tetrapose.errors import UserError

sio = pytest.importorskip("sleap_io", reason="extra sleap is not installed")


NAMES = ("nose", "left_ear", "right_ear")


def labels_of(files, *, symmetric=(NAMES[1:],), names=NAMES):
    """Two frames: one animal with a point that is not visible; one predicted animal."""
    nodes = sio.Skeleton(list(names), edges=[names[:2]], symmetries=list(symmetric), name="s")
    points = np.array([[10.5, 12], [20, 22], [30, 32.0]])
    user = sio.Instance.from_numpy(points, nodes)
    user["left_ear" if "left_ear" in names else names[1]]["visible"] = False
    guess = sio.PredictedInstance.from_numpy(points + 1, skeleton=nodes)
    video = sio.Video(filename=list(map(str, files)))
    frames = [
        sio.LabeledFrame(video=video, frame_idx=0, instances=[user]),
        sio.LabeledFrame(video=video, frame_idx=1, instances=[guess]),
    ]
    return sio.Labels(frames)


@pytest.fixture
def pictures(tmp_path):
    files = [tmp_path / "rec/day1" / f"{i}.png" for i in range(2)]
    for i, file in enumerate(files):
        paint(file, (64, 48), i)
    return files


@pytest.fixture
def file(tmp_path, pictures):
    sio.save_slp(labels_of(pictures), str(tmp_path / "a.slp"), verbose=False)
    return tmp_path / "a.slp"


def test_user_instances_are_labels_and_what_is_not_visible_is_none(file):
    pose_set = sleap.read(file, sizes=True)
    assert pose_set.files == ("0.png", "1.png")
    assert pose_set.image_index.tolist() == [0]
    np.testing.assert_array_equal(pose_set.visibility, [[2, 0, 2]])
    np.testing.assert_array_equal(pose_set.keypoints[0, 0], [10.5, 12])
    assert pose_set.skeleton.edges == (("nose", "left_ear"),)
    np.testing.assert_array_equal(pose_set.sizes, [[64, 48]] * 2)
    assert len(set(pose_set.groups.tolist())) == 1
    assert len(set(sleap.read(file, groups="picture").groups.tolist())) == 2
    (problem,) = pose_set.problems
    assert "1 predicted instances; they are no labels" in problem.what


def test_pictures_that_moved_are_found_by_the_end_of_their_path(file, tmp_path):
    (tmp_path / "rec").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="none of its 2 pictures is there"):
        sleap.read(file)
    assert len(open_set(f"sleap:{file}:{tmp_path / 'elsewhere'}")) == 1
    assert len(sleap.read(file, pictures=False)) == 1
    with pytest.raises(UserError, match="no such folder; the pictures of"):
        sleap.read(f"{file}:{tmp_path / 'nowhere'}")


def test_a_path_of_windows_is_found_too(tmp_path, pictures):
    found = sleap._found("D:\\lab\\rec\\day1\\0.png", [tmp_path])
    assert found == pictures[0]


def test_pictures_inside_the_file_are_written_out_once(tmp_path, pictures):
    packed = tmp_path / "a.pkg.slp"
    sio.save_slp(labels_of(pictures), str(packed), embed=True, verbose=False)
    with pytest.raises(UserError, match="its frames are inside .*; add frames=FOLDER"):
        sleap.read(packed)
    pose_set = sleap.read(packed, frames=tmp_path / "out", sizes=True)
    assert len(pose_set) == 1
    np.testing.assert_array_equal(pose_set.sizes[0], [64, 48])
    from PIL import Image

    given = np.asarray(Image.open(pictures[0]).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(Image.open(pose_set.path(0)).convert("RGB")), given)
    stamp = pose_set.path(0).stat().st_mtime_ns
    sleap.read(packed, frames=tmp_path / "out")
    assert pose_set.path(0).stat().st_mtime_ns == stamp


def test_symmetries_that_the_names_do_not_tell_are_refused(tmp_path, pictures):
    labels = labels_of(pictures, symmetric=[("near", "far")], names=("nose", "near", "far"))
    sio.save_slp(labels, str(tmp_path / "b.slp"), verbose=False)
    with pytest.raises(UserError, match="(near and far|far and near) are called symmetric"):
        sleap.read(tmp_path / "b.slp")


def test_what_is_no_slp_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        sleap.read(tmp_path / "absent.slp")
    with pytest.raises(UserError, match=r"a folder; name the \.slp"):
        sleap.read(tmp_path)
    (tmp_path / "x.slp").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="cannot be read as SLEAP's labels"):
        sleap.read(tmp_path / "x.slp")
    with pytest.raises(UserError, match="groups=x"):
        sleap.read(tmp_path / "x.slp", groups="x")
