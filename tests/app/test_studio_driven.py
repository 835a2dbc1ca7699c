"""The studio as a person uses it, in a headless Chromium; its scripts' own laws beside that."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from driven_chromium import Chromium, found
from studio_parts import BOXES, jpeg, serving, studio
from test_studio_browsing import EVIL, triplet

from tetrapose import skeletons
from tetrapose.app import poses
from tetrapose.app.browsing import open_all
from tetrapose.data import open_set
from tetrapose.triplets import shards

pytest.importorskip("fastapi", reason="the studio's packages are not installed (tetrapose[app])")
pytestmark = pytest.mark.skipif(found() is None, reason="no Chromium on this machine")

NAMES = skeletons.load("union26").names
POINTS = "studio.editor.animal.points"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driven")
    (folder / "<img src=x onerror=alert(1)>.jpg").write_bytes(jpeg(640, 480))
    (folder / "broken.jpg").write_bytes(jpeg()[:999])
    shards_ = folder / "dogs" / "shards"
    shards_.mkdir(parents=True)
    shards.write(shards_ / "000000.tar", [triplet(1, EVIL), triplet(2)])
    return folder


@pytest.fixture(scope="module")
def served(place):
    libraries = open_all([str(place / "dogs")])
    with serving(studio(place / "studio", triplets=libraries)) as one:
        yield one


@pytest.fixture(scope="module")
def page(served, place):
    """The page with a photograph whose two animals were found."""
    browser = Chromium()
    try:
        browser.do("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(place))
        browser.open(served.address)
        browser.until("document.querySelector('#skeleton')?.options.length > 3")
        browser.give("#open", place / "<img src=x onerror=alert(1)>.jpg")
        browser.until("window.studio.seconds")
        yield browser
        assert browser.errors == []
        foreign = [a for a in browser.addresses if not a.startswith((served.address, "about:",
                   "blob:", "data:"))]  # fmt: skip
        assert foreign == []
    finally:
        browser.close()


def at(page, name: str) -> tuple[float, float]:
    """Where a point of the active animal is on the screen."""
    x, y = page.run(
        f"(() => {{ const e = studio.editor, p = {POINTS}[{NAMES.index(name)}],"
        " r = e.svg.getBoundingClientRect();"
        " return [r.left + e.at.s * p[0] + e.at.x, r.top + e.at.s * p[1] + e.at.y]; })()"
    )
    return x, y


def points(page) -> list:
    return page.run(POINTS)


def take_skeleton(page, name: str) -> None:
    page.run(
        f"(s => {{ s.value = '{name}'; s.dispatchEvent(new Event('change')); }})"
        "(document.querySelector('#skeleton'))"
    )
    page.until(f"studio.editor.skeleton.name === '{name}'")


def downloaded(place: Path, suffix: str) -> bytes:
    """The file of that ending, once it is whole; it is taken away."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for path in place.glob(f"*{suffix}"):
            if data := path.read_bytes():
                path.unlink()
                return data
        time.sleep(0.05)
    raise AssertionError(f"no {suffix} came")


def test_points_are_shown_where_the_model_says(page):
    assert page.run("studio.editor.animals.length") == 2
    assert page.run("document.querySelectorAll('#points .point').length") == 2 * 24
    unit = poses.preset("side", skeletons.load("union26"))
    expected = BOXES[0, :2] + unit * (BOXES[0, 2:] - BOXES[0, :2])
    for name, shown, truth in zip(NAMES, points(page), expected, strict=True):
        if "front_ankle" in name:
            assert shown is None  # the model has no such point
        else:
            np.testing.assert_allclose(shown[:2], truth, atol=0.01)
    assert page.run("document.querySelector('#notice').textContent").startswith("2 animals found")


def test_what_a_file_is_called_stays_words(page):
    assert page.run("document.title").startswith("<img src=x onerror=alert(1)>.jpg")
    assert page.run("document.querySelectorAll('img[src=\"x\"]').length") == 0


def test_a_point_follows_the_pointer_without_the_server_and_comes_back(page):
    before = points(page)
    start = at(page, "nose")
    end = time.monotonic() + 30
    while not any(a.endswith("/pose") for a in page.addresses):  # what was found is kept first
        assert time.monotonic() < end
        page.run("new Promise(done => setTimeout(done, 50))")
    asked = len(page.addresses)
    page.mouse("mousePressed", *start)
    for i in range(1, 21):
        page.mouse("mouseMoved", start[0] + 3 * i, start[1] + 2 * i)
        x, y = at(page, "nose")
        assert abs(x - start[0] - 3 * i) < 0.6
        assert abs(y - start[1] - 2 * i) < 0.6
    assert len(page.addresses) == asked, "a drag asked the server"
    page.mouse("mouseReleased", start[0] + 60, start[1] + 40)
    moved = points(page)
    assert moved[NAMES.index("nose")][:2] != before[NAMES.index("nose")][:2]
    assert [p for i, p in enumerate(moved) if i != NAMES.index("nose")] == [
        p for i, p in enumerate(before) if i != NAMES.index("nose")
    ]
    page.run("document.querySelector('#undo').click()")
    assert points(page) == before
    page.press("z", control=True, shift=True)
    assert points(page) == moved
    page.press("z", control=True)
    assert points(page) == before


def test_the_keyboard_reaches_and_moves_every_point(page):
    page.run("document.querySelector('.point[data-animal=\"0\"]').focus()")
    order = []
    for _ in range(24):
        order.append(page.run("document.activeElement.dataset.point"))
        page.press("Tab")
    assert [int(k) for k in order] == [k for k, name in enumerate(NAMES) if "ankle" not in name]
    page.press("Tab", shift=True)
    k = int(page.run("document.activeElement.dataset.point"))
    outline = "getComputedStyle(document.activeElement.querySelector('.halo')).stroke"
    assert page.run(outline) != "none"  # the focus can be seen
    x, y, _ = points(page)[k]
    page.press("ArrowRight")
    page.press("ArrowDown", shift=True)
    assert points(page)[k][:2] == pytest.approx([x + 1, y + 10])
    page.press("z", control=True)  # a run of moves is one step
    assert points(page)[k][:2] == pytest.approx([x, y])
    page.run(f"document.querySelector('.point[data-point=\"{k}\"]').focus()")
    page.press("Delete")
    assert points(page)[k][2] == 1
    label = page.run("document.activeElement.getAttribute('aria-label')")
    assert label.startswith(f"{NAMES[k].replace('_', ' ')}, hidden")
    page.press("h")
    assert points(page)[k][2] == 2
    page.press("Escape")
    assert page.run("document.activeElement.closest('#view')") is None
    for _ in range(2):
        page.run("document.querySelector('#undo').click()")


def test_mirror_exchanges_the_sides_and_undoes_itself(page):
    before = points(page)
    page.run("document.querySelector('#mirror').click()")
    after = points(page)
    left, right = NAMES.index("left_back_paw"), NAMES.index("right_back_paw")
    assert after[left][1] == before[right][1]
    page.run("document.querySelector('#mirror').click()")
    for one, other in zip(points(page), before, strict=True):
        assert (one is None) == (other is None)
        if one:
            assert one == pytest.approx(other)
    for _ in range(2):
        page.run("document.querySelector('#undo').click()")
    assert points(page) == before


def test_bones_keep_their_lengths_when_asked(page):
    lengths = (
        "studio.editor.skeleton.edges.map(([i, j]) => { const a = " + POINTS + "[i], b = " + POINTS
        + "[j]; return a && b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0; })"
    )  # fmt: skip
    before, then = page.run(lengths), points(page)
    page.run("document.querySelector('#bones').click()")
    for name in ("left_back_paw", "nose", "withers", "tail"):
        start = at(page, name)
        page.drag(start, (start[0] - 40, start[1] - 25))
        assert points(page) != then
        np.testing.assert_allclose(page.run(lengths), before, atol=1e-9)
        page.press("z", control=True)
        assert points(page) == then
    page.run("document.querySelector('#bones').click()")


def test_fingers_drag_points_and_pinch(page):
    before = points(page)
    x, y = at(page, "tail")
    page.touch("touchStart", (x + 8, y + 8))  # a finger hits beside
    page.touch("touchMove", (x + 38, y + 28))
    page.touch("touchEnd")
    np.testing.assert_allclose(at(page, "tail"), (x + 30, y + 20), atol=1)
    page.run("document.querySelector('#undo').click()")
    scale = page.run("studio.editor.at.s")
    box = page.run("(r => [r.left, r.top])(studio.editor.svg.getBoundingClientRect())")
    u, v = box[0] + 400, box[1] + 40
    page.touch("touchStart", (u, v))
    page.touch("touchStart", (u, v), (u + 100, v))
    page.touch("touchMove", (u - 50, v), (u + 150, v))
    page.touch("touchEnd")
    assert page.run("studio.editor.at.s") == pytest.approx(2 * scale, rel=0.05)
    page.run("document.querySelector('#zoom-fit').click()")
    assert page.run("studio.editor.at.s") == pytest.approx(scale)
    assert points(page) == before


def test_missing_points_are_placed_as_hidden_and_taken_away_again(page):
    before = points(page)
    page.run("document.querySelector('#place-missing').click()")
    after = points(page)
    for name, old, new in zip(NAMES, before, after, strict=True):
        assert new == old if old else new[2] == 1, name
    knee, ankle, paw = (
        np.array(after[NAMES.index(f"left_front_{n}")][:2]) for n in ("knee", "ankle", "paw")
    )
    share = np.linalg.norm(ankle - knee) / np.linalg.norm(paw - knee)
    assert 0.5 < share < 0.9
    page.run("document.querySelector('#undo').click()")
    assert points(page) == before


def test_another_skeleton_and_back_by_undo(page):
    before = points(page)
    take_skeleton(page, "quadruped")
    assert len(points(page)) == 32
    assert "points exact" in page.run("document.querySelector('#mapped').textContent")
    page.run("document.querySelector('#undo').click()")
    assert page.run("document.querySelector('#skeleton').value") == "union26"
    assert points(page) == before


def test_export_reload_and_open_give_the_same_points(page, served, place):
    start = at(page, "withers")
    page.drag(start, (start[0] + 21, start[1] - 13))
    shown = points(page)
    page.run("document.querySelector('#export-json').click()")
    content = json.loads(downloaded(place, ".pose.json"))
    posed = poses.read(content)
    for k, point in enumerate(shown):
        if point:
            exported = posed.instances.keypoints[0, k]
            np.testing.assert_allclose(exported, point[:2], atol=0.0051)
    page.run("document.querySelector('#export-picture').click()")
    assert downloaded(place, ".pose.png").startswith(b"\x89PNG")
    page.run("document.querySelector('#export-coco').click()")
    assert json.loads(downloaded(place, ".coco.json"))["annotations"]
    id = page.run("location.hash").removeprefix("#")
    wanted = poses.to_plain(posed)["animals"]
    end = time.monotonic() + 30
    while (served.ask(f"/api/pictures/{id}")[1]["pose"] or {}).get("animals") != wanted:
        assert time.monotonic() < end, "the pose was not kept"
        time.sleep(0.05)
    page.open(f"{served.address}/#{id}")
    page.until("window.studio?.editor.animals.length === 2")
    assert page.run("document.querySelectorAll('#points .point').length") == 2 * 24
    for one, other in zip(points(page), shown, strict=True):
        assert (one is None) == (other is None)
        if one:
            assert one == pytest.approx(other, abs=0.0051)
    # and opened from the file that was exported
    again = place / "again.json"
    again.write_text(json.dumps(content))
    before = points(page)
    page.run("document.querySelector('#mirror').click()")
    page.give("#open", again)
    page.until(
        f"JSON.stringify({POINTS}) === {json.dumps(json.dumps(before, separators=(',', ':')))}"
    )


def test_a_correction_is_saved_as_a_label(page, served):
    page.run("document.querySelector('#save-label').click()")
    told = page.until(
        "(t => t.startsWith('Saved') && t)(document.querySelector('#notice').textContent)"
    )
    assert "holds 2 animals on 1 picture" in told
    found_set = open_set(f"coco:{served.studio.folder}/labels/union26/labels.json")
    for k, point in enumerate(points(page)):
        if point:
            np.testing.assert_allclose(found_set.keypoints[0, k], point[:2], atol=0.01)


def test_a_corrupt_upload_is_told_in_the_page(page, place):
    page.give("#open", place / "broken.jpg")
    told = page.until(
        "(n => n.classList.contains('bad') && n.textContent)(document.querySelector('#notice'))"
    )
    assert told.startswith("broken.jpg: ")
    assert page.run("studio.editor.animals.length") == 2  # what was there stays
    page.errors[:] = [e for e in page.errors if "400 (Bad Request)" not in e]


def test_what_was_done_a_moment_before_the_next_picture_is_kept(page, served, place):
    before = points(page)
    id = page.run("location.hash").removeprefix("#")
    page.run("document.querySelector('#mirror').click()")
    page.run("document.querySelector('#blank').click()")  # within the moment that keeping waits
    page.until("studio.editor.picture.blank")
    nose = NAMES.index("nose")

    def kept():
        animal = served.ask(f"/api/pictures/{id}")[1]["pose"]["animals"][0]
        return animal["keypoints"]["nose"][0]

    end = time.monotonic() + 30
    while abs(kept() - before[nose][0]) < 1:
        assert time.monotonic() < end, "the mirrored pose was lost"
        time.sleep(0.05)
    page.open(f"{served.address}/#{id}")
    page.until("window.studio?.editor.animals.length === 2")
    page.run("document.querySelector('#mirror').click()")


def test_an_empty_canvas_begins_with_an_animal(page):
    page.run("document.querySelector('#blank').click()")
    page.until("studio.editor.picture.blank && studio.editor.animals.length === 1")
    assert all(points(page))
    page.run("document.querySelector('#preset').value = 'front'")
    page.run("document.querySelector('#add').click()")
    assert page.run("studio.editor.animals.length") == 2
    page.run("document.querySelector('#animals .away').click()")
    assert page.run("studio.editor.animals.length") == 1


def test_triplets_are_shown_and_open_with_their_points(page, place):
    page.run("document.querySelector('#tab-triplets').click()")
    page.until("document.querySelectorAll('#rows li').length === 2")
    caption = page.run("document.querySelector('#rows .caption').textContent")
    assert caption == EVIL
    assert page.run("document.querySelectorAll('#rows img[src=\"x\"]').length") == 0
    page.run("document.querySelector('#rows button').click()")
    page.until("studio.editor.picture.width === 64")
    assert page.run("studio.editor.skeleton.name") == "ap10k"
    assert page.run(f"{POINTS}[0].slice(0, 2)") == [10, 20.5]
    page.run("document.querySelector('#tab-triplets').click()")
    page.give("#open", place / "<img src=x onerror=alert(1)>.jpg")  # from the other room
    page.until("studio.editor.picture.width === 640 && studio.editor.animals.length === 2")
    assert page.run("document.querySelector('#view').getBoundingClientRect().width") > 0
    assert page.run("document.querySelector('#triplets').hidden")


def test_a_phone_shows_all_of_it_without_a_sideways_scroll(page):
    page.do("Emulation.setDeviceMetricsOverride", width=360, height=780, deviceScaleFactor=2,
            mobile=True)  # fmt: skip
    assert page.until("innerWidth === 360 && document.documentElement.scrollWidth") <= 360
    small = page.run(
        "[...document.querySelectorAll('#pose button, #pose select')]"
        ".filter(b => b.offsetParent && !b.closest('#point-list') && b.offsetHeight < 40)"
        ".map(b => b.id)"
    )
    assert small == []
    page.do("Emulation.clearDeviceMetricsOverride")


LAWS = """(async () => {
  const pose = await import("/page/pose.js");
  const said = (await (await fetch("/api/state")).json()).skeletons;
  let seed = 7, worst = 0, far = 0, turns = 0;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (const skeleton of said.filter((one) => one.presets.side)) {
    for (let round = 0; round < 40; round++) {
      const points = pose.placed(skeleton.presets.side, 600, 500)
        .map((p) => (p && random() > 0.1 ? [p[0] + 30 * random(), p[1] + 30 * random(), 2] : null));
      const present = points.flatMap((p, k) => (p ? [k] : []));
      const k = present[Math.floor(random() * present.length)];
      const target = [600 * random(), 500 * random()];
      const out = pose.pulled(points, k, target, skeleton);
      for (const [i, j] of skeleton.edges) {
        if (!points[i] || !points[j]) continue;
        const length = (p) => Math.hypot(p[i][0] - p[j][0], p[i][1] - p[j][1]);
        worst = Math.max(worst, Math.abs(length(points) - length(out)));
      }
      const gap = (p) => Math.hypot(p[k][0] - target[0], p[k][1] - target[1]);
      far = Math.max(far, gap(out) - gap(points));
      const twice = pose.mirrored(pose.mirrored(points, skeleton.flip), skeleton.flip);
      points.forEach((p, i) => {
        if (p) turns = Math.max(turns, Math.hypot(twice[i][0] - p[0], twice[i][1] - p[1]));
      });
      const full = pose.completed(points, Object.values(skeleton.presets), skeleton);
      if (full.some((p, i) => !p || (points[i] && points[i] !== p))) throw new Error("completed");
    }
  }
  const history = new pose.History(3);
  for (let i = 0; i < 5; i++) history.add(i, "", 0);
  const back = [history.undo(5), history.undo(4), history.undo(3), history.undo(2)];
  const forth = [history.redo(2), history.redo(3)];
  history.add("a", "nudge", 0); history.add("b", "nudge", 500); history.add("c", "nudge", 5000);
  const [past, future] = [history.past.length, history.future.length];
  return { worst, far, turns, back, forth, past, future };
})()"""


def test_the_laws_of_the_pages_own_geometry(page):
    told = page.run(LAWS)
    assert told["worst"] < 1e-9  # no bone changes its length
    assert told["far"] < 1e-6  # a pulled point comes no further from where it is pulled to
    assert told["turns"] < 1e-9
    assert told["back"] == [4, 3, 2, None]
    assert told["forth"] == [3, 4]
    assert (told["past"], told["future"]) == (3, 0)


@pytest.mark.skipif("CI" in os.environ, reason="a figure of this machine")
def test_a_drag_event_takes_a_moment(page):
    take_skeleton(page, "union26")
    page.run("document.querySelector('#blank').click()")
    page.until("studio.editor.picture.blank && studio.editor.animals.length === 1")
    page.run("studio.editor.timings.length = 0")
    start = at(page, "left_back_paw")
    page.drag(start, (start[0] + 90, start[1] - 60), steps=40)
    times = sorted(page.run("studio.editor.timings"))
    assert len(times) >= 20
    assert times[len(times) // 2] < 8, times  # half of a frame at 60 a second; the middle one
