"""Frames kept back to measure on: by lot, by name, as DeepLabCut drew them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import own_frames
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapose.data import hold_out, open_set
from tetrapose.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return own_frames.deeplabcut(tmp_path_factory.mktemp("dlc"), count=5, videos=3)


@pytest.fixture(scope="module")
def pose_set(root):
    return open_set(f"deeplabcut:{root}")


@given(st.integers(0, 10**6), st.floats(0.01, 0.99))
def test_a_lot_is_as_large_as_asked_and_leaves_both_sides(pose_set, seed, share):
    test = hold_out.by_lot(pose_set, share=share, seed=seed)
    assert test.sum() == min(max(round(share * 15), 1), 14)
    np.testing.assert_array_equal(test, hold_out.by_lot(pose_set, share=share, seed=seed))


def test_seeds_draw_differently_and_nothing_can_be_held_out(pose_set):
    drawn = {tuple(hold_out.by_lot(pose_set, seed=seed)) for seed in range(8)}
    assert len(drawn) > 4
    assert not hold_out.by_lot(pose_set, share=0).any()
    with pytest.raises(UserError, match="0..1"):
        hold_out.by_lot(pose_set, share=1.5)


@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
def test_whole_videos_are_never_cut(pose_set, seed, share):
    test = hold_out.by_lot(pose_set, share=share, seed=seed, videos=True)
    assert not test.all()
    assert test.any()
    assert not set(pose_set.groups[test]) & set(pose_set.groups[~test])


def test_one_video_cannot_be_held_out_whole(pose_set):
    one = pose_set.select_images(pose_set.groups == 0)
    with pytest.raises(UserError, match="one video"):
        hold_out.by_lot(one, videos=True)


def test_names_choose_by_path_or_its_end(pose_set, tmp_path):
    file = tmp_path / "test.txt"
    file.write_text("# mine\nlabeled-data/vid0/img001.png\nvid2/img003.png\n")
    test = hold_out.by_names(pose_set, file)
    assert [pose_set.files[i] for i in np.flatnonzero(test)] == [
        "labeled-data/vid0/img001.png", "labeled-data/vid2/img003.png"
    ]  # fmt: skip
    file.write_text("img099.png\n")
    with pytest.raises(UserError, match="no labelled frame is called img099.png"):
        hold_out.by_names(pose_set, file)
    file.write_text("".join(f"{name}\n" for name in pose_set.files))
    with pytest.raises(UserError, match="every frame is a test frame"):
        hold_out.by_names(pose_set, file)


def shuffle(root: Path, content: bytes, iteration: int = 0, frames=None) -> Path:
    folder = root / "training-datasets" / f"iteration-{iteration}" / "UnaugmentedDataSet_t"
    folder.mkdir(parents=True, exist_ok=True)
    rows = frames or [f"labeled-data/vid{v}/img{i:03d}.png" for v in range(3) for i in range(5)]
    head = ["scorer,me,me", "bodyparts,snout,snout", "coords,x,y"]
    (folder / "CollectedData_me.csv").write_text("\n".join([*head, *(f"{r},1,2" for r in rows)]))
    file = folder / "Documentation_data-t_95shuffle1.pickle"
    file.write_bytes(content)
    return file


def documentation(protocol: int, test=(2, 7), kind=np.array) -> bytes:
    train = [i for i in range(15) if i not in test]
    data = [{"image": ("labeled-data", "vid0", "img000.png"), "size": np.array([3, 72, 96]),
             "joints": np.ones((2, 3)), "name": np.array(["a"])}]  # fmt: skip
    share = np.float64(0.87)
    return pickle.dumps([data, kind(train), kind(list(test)), share], protocol=protocol)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", [np.array, list, lambda v: [np.int64(i) for i in v]])
def test_a_shuffle_of_deeplabcut_is_read(root, tmp_path, protocol, kind):
    pose_set = open_set(f"deeplabcut:{own_frames.deeplabcut(tmp_path, count=5, videos=3)}")
    shuffle(tmp_path, documentation(protocol, kind=kind))
    test = hold_out.of_deeplabcut(pose_set, 1)
    assert np.flatnonzero(test).tolist() == [2, 7]
    shuffle(tmp_path, documentation(protocol, test=(4,)), iteration=10)
    shuffle(tmp_path, documentation(protocol, test=(5,)), iteration=9)
    assert np.flatnonzero(hold_out.of_deeplabcut(pose_set, 1)).tolist() == [4]  # the last counts


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_what_a_shuffle_must_not_hold(tmp_path, capsys):
    pose_set = open_set(f"deeplabcut:{own_frames.deeplabcut(tmp_path, count=5, videos=3)}")
    with pytest.raises(UserError, match="no shuffle 1"):
        hold_out.of_deeplabcut(pose_set, 1)
    file = shuffle(tmp_path, pickle.dumps([[Evil()], [0], [1], 0.5]))
    with pytest.raises(UserError, match="asks for builtins.print"):
        hold_out.of_deeplabcut(pose_set, 1)
    assert capsys.readouterr().out == ""
    file.write_bytes(documentation(4)[:-20])
    with pytest.raises(UserError, match="cannot be read as a shuffle"):
        hold_out.of_deeplabcut(pose_set, 1)
    file.write_bytes(documentation(4, test=(2, 99)))
    with pytest.raises(UserError, match="cannot be read as a shuffle"):
        hold_out.of_deeplabcut(pose_set, 1)
    few = pickle.dumps([[], np.arange(3), np.array([3]), 0.75])
    shuffle(tmp_path, few, frames=[f"labeled-data/vid0/img{i:03d}.png" for i in range(4)])
    with pytest.raises(UserError, match="newer than this shuffle"):
        hold_out.of_deeplabcut(pose_set, 1)
