"""The studio with a ControlNet in miniature behind it: prompt and pictures beside the pose."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from driven_chromium import Chromium, found

LACKING = [name for name in ("gradio", "diffusers", "accelerate") if find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}"),
    pytest.mark.skipif(found() is None, reason="no Chromium on this machine"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "controlnet"))

PROMPT = "a fox <img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base in miniature and a ControlNet that is a copy of its encoder, as a run leaves it."""
    import tiny_sd
    from diffusers import ControlNetModel, UNet2DConditionModel

    folder = tmp_path_factory.mktemp("generates")
    unet = UNet2DConditionModel.from_pretrained(str(tiny_sd.base(folder / "base") / "unet"))
    control = folder / "animals" / "controlnet"
    ControlNetModel.from_unet(unet).save_pretrained(str(control))
    (control / "card.json").write_text(json.dumps({"style": tiny_sd.STYLE}))
    return folder


@pytest.fixture(scope="module")
def address(place):
    """Where the command serves the page."""
    words = ["app", "--folder", place / "studio", "--port", "0", "--base", place / "base"]
    words += ["--controlnet", place / "animals"]
    with (place / "told").open("w") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "tetrapose", *map(str, words)],
            stdout=subprocess.PIPE, stderr=told, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("studio  http://127.0.0.1:"), (place / "told").read_text()
        yield line.split()[1]
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def page(address):
    browser = Chromium()
    try:
        browser.open(address)
        browser.until("document.querySelector('#skeleton')?.options.length > 3")
        yield browser
        assert browser.errors == []
        assert {a.split(":")[0] for a in browser.addresses} <= {"http", "about", "blob", "data"}
        assert all(a.startswith(address) for a in browser.addresses if a.startswith("http"))
    finally:
        browser.close()


def ask(page, count: int, seed: int) -> list[str]:
    """Ask for pictures as a person does; the names of those that are shown once all are."""
    page.run(f"document.querySelector('#count').value = {count}")
    page.run(f"document.querySelector('#seed').value = {seed}")
    page.run("document.querySelector('#make').click()")
    page.until(
        f"!document.querySelector('#make').disabled && (all => all.length === {count}"
        " && all.every(one => one.complete && one.naturalWidth))"
        "([...document.querySelectorAll('#made img')])",
        120,
    )
    return page.run("[...document.querySelectorAll('#made img')].map(i => i.src.split('/').pop())")


def with_an_animal(page) -> None:
    """A blank canvas with one animal on it, whichever test comes first."""
    if page.run("document.querySelector('#make').disabled"):
        page.run("document.querySelector('#blank').click()")
        page.until("studio.editor.picture?.blank && studio.editor.animals.length === 1")


def test_the_form_stands_beside_the_pose_and_waits_for_an_animal(page):
    assert page.run("document.querySelector('#generate').offsetHeight") > 0
    assert page.run("document.querySelector('#generator').textContent") == "animals"
    assert page.run("document.querySelector('#make').disabled")
    with_an_animal(page)
    assert not page.run("document.querySelector('#make').disabled")


def test_without_a_prompt_one_is_asked_for_in_sight(page):
    with_an_animal(page)
    page.run("document.querySelector('#prompt').value = ''")
    page.run("document.querySelector('#made').scrollIntoView({block: 'end'})")
    page.run("document.querySelector('#make').click()")
    told = page.until(
        "(n => n.classList.contains('bad') && n.textContent)(document.querySelector('#notice'))"
    )
    assert told.startswith("write a prompt")
    place = "(r => [r.top, r.bottom])(document.querySelector('#notice').getBoundingClientRect())"
    top, bottom = page.run(place)
    assert 0 <= top < bottom <= page.run("innerHeight")


def test_pictures_of_the_pose_are_painted_one_seed_each(page, place):
    with_an_animal(page)
    page.run(f"document.querySelector('#prompt').value = {json.dumps(PROMPT)}")
    made = place / "studio" / "generated"

    def marks(names: list[str]) -> list[str]:
        return [hashlib.sha256((made / name).read_bytes()).hexdigest() for name in names]

    first = ask(page, 2, 7)
    assert page.run("[...document.querySelectorAll('#made img')].map(i => i.naturalWidth)") == (
        [768, 768]  # the size of the canvas
    )
    alt = page.run("document.querySelector('#made img').alt")
    assert alt == f"generated picture 1: {PROMPT}"
    assert page.run("document.querySelectorAll('img[src=\"x\"]').length") == 0
    assert page.run("document.querySelector('#notice').hidden")
    seventh, eighth = marks(first)
    assert seventh != eighth
    again = ask(page, 1, 8)
    assert marks(again) == [eighth]
    assert again[0] not in first
