"""The page's own files: contrast, labels, and that nothing comes from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tetrapose.app.serving import page_files

FILES = {name: data.decode() for name, data in page_files().items()}
CSS, HTML = FILES["studio.css"], FILES["index.html"]
SCHEMES = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for block in re.findall(r":root \{(.*?)\}", CSS, re.S)
]

TEXT = [
    ("text", "ground"), ("text", "surface"), ("text", "sunken"), ("quiet", "ground"),
    ("quiet", "surface"), ("quiet", "sunken"), ("on-accent", "accent"),
    ("on-soft", "accent-soft"), ("bad", "surface"), ("text", "accent-soft"),
]  # fmt: skip
EDGES = [
    ("edge", "surface"), ("edge", "ground"), ("focus", "surface"), ("focus", "ground"),
    ("focus", "sunken"), ("accent", "surface"), ("accent", "ground"),
]  # fmt: skip


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio" and "relative luminance"."""

    def luminance(colour: str) -> float:
        values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_what_the_standard_says():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_and_edges_can_be_read(scheme):
    colours = {**SCHEMES[0], **SCHEMES[scheme]}
    low = {pair: contrast(*(colours[c] for c in pair)) for pair in TEXT}
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}
    faint = {pair: contrast(*(colours[c] for c in pair)) for pair in EDGES}
    assert {pair: value for pair, value in faint.items() if value < 3} == {}


def test_every_pair_of_text_and_ground_in_the_sheet_is_among_those():
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", CSS)
    seen = set()
    for _, body in rules:
        text = re.search(r"(?<![\w-])color: var\(--([\w-]+)\)", body)
        ground = re.search(r"background(?:-color)?: var\(--([\w-]+)\)", body)
        if text and ground:
            seen.add((text[1], ground[1]))
    assert seen
    assert seen <= set(TEXT)


class Names(HTMLParser):
    """Controls with what names them, and whatever a strict policy would not let run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.labels = set(re.findall(r'<label[^>]* for="([\w-]+)"', text))
        self.open: list[tuple[str, dict, list[str]]] = []
        self.controls: list[tuple[str, dict, str, bool]] = []
        self.faults: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.faults += [f"{tag} {a}" for a in given if a.startswith("on") or a == "style"]
        for key in ("src", "href", "action"):
            if re.match(r"\s*(\w+:|//)", given.get(key) or ""):
                self.faults.append(f"{tag} {key}={given[key]}")
        if tag in ("input", "img", "meta", "link", "image", "rect", "use"):
            if tag == "input":
                within = any(one[0] == "label" for one in self.open)
                self.controls.append((tag, given, "", within))
            if tag == "img" and "alt" not in given:
                self.faults.append("img without alt")
            return
        self.open.append((tag, given, []))

    def handle_data(self, data):
        for _, _, words in self.open:
            words.append(data.strip())

    def handle_endtag(self, tag):
        if tag in ("use", "image", "rect"):
            return
        name, given, words = self.open.pop()
        assert name == tag, f"{tag} closes {name}"
        if tag in ("button", "select", "textarea"):
            within = any(one[0] == "label" for one in self.open)
            self.controls.append((tag, given, "".join(words), within))


def test_every_control_has_a_name_and_nothing_is_inline():
    page = Names(HTML)
    assert page.faults == []
    assert len(page.controls) > 20
    nameless = [
        (tag, given)
        for tag, given, words, within in page.controls
        if not (given.get("aria-label") or given.get("id") in page.labels or within)
        and not (tag == "button" and words)
    ]
    assert nameless == []


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_another_place(name):
    places = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", FILES[name]))
    assert {p for p in places if "w3.org" not in p} == set()  # the names of XML are no addresses
    assert "@import" not in FILES[name]
    assert "url(" not in FILES[name]


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_no_script_makes_markup_of_text(name):
    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", FILES[name]
    )
    assert found == []


def test_motion_is_left_out_where_it_is_not_wanted():
    reduced = re.search(r"prefers-reduced-motion: reduce\) \{(.*)", CSS)
    assert reduced
    assert "animation: none" in reduced[1]
    assert ":focus-visible { outline: 3px solid" in CSS
