"""The dataset card, the contact sheet and the way up to a hub that is a stub on this machine."""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from piles import SMALL, labelled, photos, save

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "weights"))
from servers import serving  # pyright: ignore[reportMissingImports]
from test_hub import Hub  # pyright: ignore[reportMissingImports]

pytest.importorskip("pyarrow", reason="tetrapose[triplets] is not installed")

from tetrapose.errors import UserError
from tetrapose.triplets import card, inspect, ledger, pushing, quality, shards
from tetrapose.triplets.build import build
from tetrapose.triplets.library import Library
from tetrapose.triplets.rows import Triplet

EVIL = '<img src=x onerror=alert(1)> "cat" & |dog| #tag'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 9 triplets out of a set with repeats, bad files and too few points."""
    base = tmp_path_factory.mktemp("card")
    spec = labelled(base / "set", 9)
    few = labelled(base / "few", 2, points=3, start=50)
    odd = photos(base / "photos", 1, start=90)
    (odd / f"broken {EVIL.replace('/', '')}.jpg").write_bytes(b"no picture")
    save(odd / "tiny.png", np.zeros((8, 8, 3), np.uint8))
    build([spec, few, str(odd)], base / "library", replace(SMALL, part=6))
    return base / "library"


def spoilt(one: Triplet) -> Triplet:
    """With a stranger's words in every place that a stranger writes."""
    points = {**one.points, "animals": [{**a, "species": EVIL} for a in one.points["animals"]]}
    more = {"licence": EVIL, "source": EVIL, "key": EVIL, "url": EVIL}
    return replace(one, caption=EVIL, points=points, provenance={**one.provenance, **more})


def triplets(root: Path) -> list[Triplet]:
    return [one for path in Library(root).shards() for one in shards.read(path)]


def test_the_card_tells_counts_and_reasons_and_the_hub_can_read_it(root):
    path = card.write(root, triplets(root), title="Tiny set", licence="cc-by-4.0")
    _, front, text = path.read_text().split("---\n", 2)
    head = yaml.safe_load(front)
    assert head["license"] == "cc-by-4.0"
    assert head["pretty_name"] == "Tiny set"
    assert head["size_categories"] == ["n<1K"]
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "shards/*.tar"}]
    counts = ledger.counts(Library(root))
    assert f"Of {counts['items']} pictures {counts['kept']} were kept." in text
    for name, number in counts["dropped"].items():
        step, _, reason = name.partition(": ")
        assert re.search(rf"\| {number} \| {step} \| ", text), (name, reason)
    assert "animal_controlnet-v1" in text
    for name in re.findall(r"!\[.*?\]\((.*?)\)", text):
        picture = cv2.imread(str(root / name))
        assert picture is not None
        assert picture.std() > 5
    assert cv2.imread(str(root / "card" / "samples.jpg")).shape == (3 * 160, 8 * 160, 3)


def test_equal_folders_give_equal_cards(root):
    def made() -> dict[str, bytes]:
        card.write(root, iter(triplets(root)))
        return {p.name: p.read_bytes() for p in [root / "README.md", *root.glob("card/*")]}

    assert made() == made()


def test_a_stranger_cannot_write_the_card(root):
    about = json.loads((root / "library.json").read_text())
    counts = card.tally([spoilt(one) for one in triplets(root)])
    text = card.page_of(about, counts, EVIL + "\n---\nx: y", licence="other\nevil: 1")
    _, front, body = text.split("---\n", 2)
    head = yaml.safe_load(front)
    assert "evil" not in head
    assert "x" not in head
    assert "<img" not in body
    rows = [line for line in body.splitlines() if "onerror" in line and line.startswith("|")]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)


def test_quality_stands_in_the_card(root):
    agreement = quality.Agreement(
        points=0.9, pictures=0.8, whole=0.7, animals=0.85, in_groups=float("nan"),
        right_in_groups=float("nan"), strangers=0.05, misnamed=0.1, counted=120,
    )  # fmt: skip
    told = quality.Report(9, 9, 9, 1, 4, 2, agreement)
    text = card.write(root, triplets(root), report=told).read_text()
    assert "| animals with a limb too long, of 9 | 11.1% |" in text
    assert "| drawn points within PCK@0.1 of labels, of 120 | 90.0% |" in text
    assert "| pictures with all of them within | 70.0% |" in text
    assert "| mean over animals of pictures with several | none to judge |" in text
    assert "| of the others, animals under another species' name | 10.0% |" in text
    assert "Quality" not in card.write(root, triplets(root)).read_text()


def test_a_folder_without_a_library_has_no_card(tmp_path):
    with pytest.raises(UserError, match="no library"):
        card.write(tmp_path, [])


class Seen(HTMLParser):
    """Tags and attributes of a page as a browser would take them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_the_sheet_shows_kept_and_dropped_with_reasons(root):
    text = inspect.contact_sheet(Library(root))
    seen = Seen(text)
    articles = [attrs for tag, attrs in seen.tags if tag == "article"]
    counts = ledger.counts(Library(root))
    status = [attrs["data-status"] for attrs in articles]
    assert status.count("kept") == counts["kept"]
    assert status.count("dropped") == counts["items"] - counts["kept"]
    reasons = {attrs["data-reason"] for attrs in articles if attrs["data-status"] == "dropped"}
    assert reasons == {name.partition(": ")[2] for name in counts["dropped"]}
    species = {attrs["data-species"] for attrs in articles if attrs["data-status"] == "kept"}
    assert species == {"dog", "cat"}
    for tag, attrs in seen.tags:
        for name in ("src", "href"):
            assert tag not in ("link", "iframe", "object")
            if name in attrs:
                assert (attrs[name] or "").startswith("data:image/"), (tag, attrs[name])
        assert not any(name.startswith("on") for name in attrs)
    assert inspect.contact_sheet(Library(root)) == text
    few = Seen(inspect.contact_sheet(Library(root), kept=2, dropped=3))
    held = [attrs["data-status"] for tag, attrs in few.tags if tag == "article"]
    assert (held.count("kept"), held.count("dropped")) == (2, 3)


def test_a_stranger_cannot_write_the_sheet(root):
    counts = ledger.counts(Library(root))
    kept = [(spoilt(one), None) for one in triplets(root)[:2]]
    rows = [row for row in ledger.read_all(Library(root)) if row.outcome == "dropped"]
    bad = [
        replace(row, key=EVIL, url=EVIL, source=EVIL, reason=f"unreadable:{EVIL}") for row in rows
    ]
    text = inspect.sheet_of(inspect.Sampled(kept, bad, counts), EVIL)
    seen = Seen(text)
    assert not any(attrs.get("src") == "x" for _, attrs in seen.tags)
    assert not any(name.startswith("on") for _, attrs in seen.tags for name in attrs)
    assert sum(EVIL in word for word in seen.words) >= 4
    assert html.escape(EVIL) in text


def test_a_folder_that_is_no_library_is_told(tmp_path):
    with pytest.raises(UserError, match="no library"):
        inspect.contact_sheet(Library(tmp_path))


class DatasetHub(Hub):
    """The stub of the models' hub, spoken to about a data set; keeps every commit."""

    def __init__(self) -> None:
        self.commits: list[list[dict[str, Any]]] = []
        super().__init__()

    @property
    def commit(self) -> list[dict[str, Any]]:
        return self.commits[-1]

    @commit.setter
    def commit(self, rows: list[dict[str, Any]]) -> None:
        # kept as it is set, which is before the answer goes out: whoever has that sees all
        self.commits.append(rows)

    def __call__(self, request):
        request.path = request.path.replace("/api/datasets/", "/api/models/").replace(
            "/datasets/me/cats.git", "/me/cats.git"
        )
        super().__call__(request)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatasetHub]:
    pytest.importorskip("huggingface_hub", reason="tetrapose[hub] is not installed")
    hub = DatasetHub()
    with serving(hub) as (address, _):
        hub.address = address
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", "a-token-of-the-test")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield hub


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_library_goes_up_with_its_card_last_and_nothing_of_its_work(stub, root, monkeypatch):
    card.write(root, triplets(root))
    (root / "work").mkdir(exist_ok=True)
    (root / "work" / "secret.txt").write_text("a path of this machine")
    monkeypatch.setattr(pushing, "TOGETHER", 3)
    told = []
    address = pushing.push(root, "me/cats", private=True, tell=lambda *now: told.append(now))
    assert address.endswith("/commit/abc")
    assert stub.created["type"] == "dataset"
    sent = [row["value"] for commit in stub.commits for row in commit if row["key"] == "file"]
    names = [one["path"] for one in sent]
    due = {"README.md", "library.json", *(f"shards/{p.name}" for p in Library(root).shards())}
    assert due <= set(names)
    assert names[-1] == "README.md"
    assert not any(name.startswith(("work", ".")) for name in names)
    assert told[-1] == (len(names), len(names))
    held = {one["path"]: base64.b64decode(one["content"]) for one in sent}
    assert all(data == (root / name).read_bytes() for name, data in held.items())


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_refusal_is_one_line(stub, root, tmp_path):
    card.write(root, triplets(root))
    stub.status = 403
    with pytest.raises(UserError, match="hf auth login") as caught:
        pushing.push(root, "me/cats")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="OWNER/NAME"):
        pushing.push(root, "cats")
    with pytest.raises(UserError, match="no card"):
        pushing.push(tmp_path, "me/cats")
