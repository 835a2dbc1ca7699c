"""What paths mean: every picture once, by a name of its own, and no input ever overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from tetrapose.errors import UserError
from tetrapose.inference.sources import find_sources, overlay_paths


@pytest.fixture
def tree(tmp_path):
    for name in ("a/x.jpg", "a/sub/y.PNG", "b/x.jpg", "b/clip.mp4", "b/notes.txt", "b/.hidden.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"?")
    return tmp_path


def names(sources):
    return [source.name for source in sources]


def test_folders_are_searched_whole_and_in_order(tree):
    sources, problems = find_sources([tree / "a"])
    assert names(sources) == ["x.jpg", "sub/y.PNG"]
    assert not problems
    sources, _ = find_sources([tree / "b"])
    assert [(s.name, s.is_video) for s in sources] == [("clip.mp4", True), ("x.jpg", False)]


def test_clashing_names_keep_their_folders(tree):
    sources, _ = find_sources([tree / "a", tree / "b/x.jpg"])
    assert names(sources) == ["a/x.jpg", "a/sub/y.PNG", "b/x.jpg"]
    targets = overlay_paths(sources, Path("out"))
    assert targets == [Path("out/a/x.jpg"), Path("out/a/sub/y.jpg"), Path("out/b/x.jpg")]


def test_a_picture_named_twice_is_taken_once(tree):
    sources, _ = find_sources([tree / "a/x.jpg", tree / "a", tree / "b/../a/x.jpg"])
    assert names(sources) == ["x.jpg", "sub/y.PNG"]


def test_globs_that_the_shell_left_alone(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert names(find_sources(["**/*.jpg"])[0]) == ["a/x.jpg", "b/x.jpg"]
    assert names(find_sources(["a*"])[0]) == ["x.jpg", "sub/y.PNG"]
    (tree / "odd[1].jpg").write_bytes(b"?")
    assert names(find_sources(["odd[1].jpg"])[0]) == ["odd[1].jpg"]


def test_what_holds_nothing_is_told(tree):
    (tree / "empty").mkdir()
    sources, problems = find_sources(
        [tree / "none.jpg", tree / "*.gif", tree / "empty", tree / "b/notes.txt"]
    )
    assert names(sources) == ["notes.txt"]  # named by the user: reading it will tell
    assert [Path(p.where).name for p in problems] == ["none.jpg", "*.gif", "empty"]


def test_earlier_overlays_are_no_inputs(tree):
    (tree / "a/out").mkdir()
    (tree / "a/out/x.jpg").write_bytes(b"?")
    assert names(find_sources([tree / "a"], out=tree / "a/out")[0]) == ["x.jpg", "sub/y.PNG"]


def test_names_that_differ_in_suffix_alone_keep_it(tmp_path):
    for name in ("cat.png", "cat.JPG", "Cat.bmp", "dog.png"):
        (tmp_path / name).write_bytes(b"?")
    sources, _ = find_sources([tmp_path])
    targets = {path.name for path in overlay_paths(sources, Path("out"))}
    assert targets == {"Cat.bmp.jpg", "cat.JPG.jpg", "cat.png.jpg", "dog.jpg"}


def test_an_input_is_never_overwritten(tree):
    sources, _ = find_sources([tree / "a/x.jpg"])
    with pytest.raises(UserError, match="another --out"):
        overlay_paths(sources, tree / "a")
