"""What the documents show must exist: links, files, commands, make targets, Python."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shlex
from pathlib import Path, PurePosixPath

import pytest
import yaml

from tetrapose import skeletons
from tetrapose.cli import COMMANDS, build_parser
from tetrapose.commands.train import compose
from tetrapose.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
CODE = re.compile(r"`([^`\n]+)`")
OURS = re.compile(
    r"^(src|tests|docs|demo|benchmarks|constraints|\.ci)/[\w./-]*$|^[\w-]+\.(md|toml)$"
)
MADE_BY_USE = {"demo_out", "runs"}

READ = {  # what each kind of block must survive; each raises SyntaxError or ValueError
    "python": lambda body: compile(body, "document", "exec"),
    "json": json.loads,
    "yaml": lambda body: skeletons.from_dict(yaml.safe_load(body)),
}


def faults(text: str, folder: Path) -> list[str]:
    """What a document with that text, lying in ``folder``, shows wrongly."""
    blocks = BLOCK.findall(text)
    prose = BLOCK.sub("", text)
    found = link_faults(prose, folder) + file_faults(prose)
    commands = [code for code in CODE.findall(prose) if code.startswith(("tetrapose ", "make "))]
    for language, body in blocks:
        if language in ("sh", "console", "bash"):
            commands += body.replace("\\\n", " ").splitlines()
        elif language in READ:
            try:
                READ[language](body)
            except (SyntaxError, ValueError) as error:
                found.append(f"{language}: {error}")
    return found + [fault for command in commands for fault in command_faults(command)]


def link_faults(prose: str, folder: Path) -> list[str]:
    found = []
    for target in LINK.findall(prose):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (folder / name).resolve() if name else None
        if path and not path.exists():
            found.append(f"link to {target}: no such file")
        elif anchor:
            page = path.read_text(encoding="utf-8") if path else prose
            if anchor not in {slug(line) for line in page.splitlines() if line.startswith("#")}:
                found.append(f"link to {target}: no such heading")
    return found


def slug(heading: str) -> str:
    words = re.sub(r"[^\w\s-]", "", heading.lstrip("# ").lower())
    return re.sub(r"\s", "-", words.strip())


def file_faults(prose: str) -> list[str]:
    names = [code for code in CODE.findall(prose) if OURS.match(code)]
    return [f"{name}: no such file" for name in names if not (ROOT / name).exists()]


def command_faults(line: str) -> list[str]:
    """Faults of one shell line that calls tetrapose, make or a script of ours."""
    line = line.strip().removeprefix("$ ").split(" #")[0]
    if any(mark in line for mark in ("…", "...", "COMMAND", "[GROUP", "|")):
        return []  # a form, not a command
    words = shlex.split(line)
    while words and re.fullmatch(r"\w+=\S*", words[0]):
        words = words[1:]
    if not words:
        return []
    program = words[0].rsplit("/")[-1]
    if program == "tetrapose":
        named = len(words) == 2 and words[1] in COMMANDS  # a command's name, not its use
        return [] if named else parse_faults(line, words[1:])
    if program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = [word for word in words[1:] if "=" not in word]
        return [
            f"{line}: no such target"
            for target in targets
            if not re.search(rf"^{re.escape(target)}:", makefile, re.M)
        ]
    if program.startswith("python"):
        scripts = [word for word in words[1:] if word.endswith(".py")]
        return [f"{line}: no {name}" for name in scripts if not (ROOT / name).exists()]
    return []


def parse_faults(line: str, words: list[str]) -> list[str]:
    try:
        args = build_parser().parse_args(words)
        if args.command == "train" and not args.list:
            compose(args.overrides)
    except SystemExit as left:
        if left.code:
            return [f"{line}: the command line refuses it"]
    except UserError as error:
        return [f"{line}: {error}"]
    return []


@pytest.fixture(scope="module")
def hooks():
    """What the site is made with; it is no module of the package."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/site/hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def missing_commands(text: str, words: list[tuple[str, ...]]) -> list[str]:
    """Commands without a section, and subcommands that their command's section does not show."""
    sections = {}
    for part in re.split(r"^## ", text, flags=re.M)[1:]:
        heading, _, body = part.partition("\n")
        sections |= dict.fromkeys(heading.split(", "), body)
    return [
        " ".join(some)
        for some in words
        if f"tetrapose {' '.join(some)} " not in sections.get(some[0], "").replace("\n", " ")
    ]


def test_every_command_has_its_section(hooks):
    text = (ROOT / "docs/command_line.md").read_text(encoding="utf-8")
    leaves = [
        words
        for words, parser in hooks.commands(build_parser())
        if not any(isinstance(a, argparse._SubParsersAction) for a in parser._actions)
    ]
    assert len(leaves) > len(COMMANDS)
    assert missing_commands(text, leaves) == []


def test_a_command_without_a_section_is_seen():
    text = "# Commands\n\n## one, two\n\n`tetrapose one x`, `tetrapose two a --b`\n"
    words = [("one",), ("two", "a"), ("two", "b"), ("three",)]
    assert missing_commands(text, words) == ["two b", "three"]


def test_the_site_has_every_option(hooks):
    page = hooks.options()
    headings = re.findall(r"^#+ (.*)$", page, re.M)
    assert "train" in headings
    assert "weights push" in headings
    assert all(word in page for word in ("--patience", "--dry-run", "usage: tetrapose info"))


@pytest.mark.parametrize(
    "path, link, on_the_site",
    [
        ("README.md", "[films](docs/videos.md)", "[films](videos.md)"),
        ("README.md", "![a](docs/images/opening.jpg)", "![a](images/opening.jpg)"),
        ("README.md", "[CONTRIBUTING.md](CONTRIBUTING.md)", "[Contributing](contributing.md)"),
        ("docs/videos.md", "[a](#speed)", "[a](#speed)"),
        ("docs/videos.md", "[a](../README.md#limits)", "[a](index.md#limits)"),
        ("docs/videos.md", "[conventions.md](conventions.md)", "[Conventions](conventions.md)"),
        ("docs/a.md", "[a](../src/tetrapose/cli.py)", "[a](files/src/tetrapose/cli.py.md)"),
        ("docs/a.md", "[n](notebooks/dense_points.ipynb)", "[n](notebooks/dense_points.md)"),
        ("docs/notebooks/n.md", "[a](../codecs.md)", "[a](../codecs.md)"),
        ("docs/a.md", "[a](https://example.org/b)", "[a](https://example.org/b)"),
        ("docs/a.md", "[a](nowhere.md)", "[a](nowhere.md)"),  # left to MkDocs, which tells
        ("docs/a.md", "```\n[a](../README.md)\n```", "```\n[a](../README.md)\n```"),
    ],
)
def test_links_are_moved_to_the_site(hooks, path, link, on_the_site):
    assert hooks.moved(link, PurePosixPath(path)) == on_the_site


def test_files_linked_to_become_pages(hooks):
    text = "[a](../src/tetrapose/cli.py) [b](../README.md) [c](codecs.md) [d](x.md)"
    assert list(hooks.outside(text, PurePosixPath("docs/a.md"))) == ["src/tetrapose/cli.py"]
    assert "```python\n" in hooks.shown("src/tetrapose/cli.py")


def test_notebooks_become_pages_with_their_pictures(hooks):
    made = hooks.notebook(ROOT / "docs/notebooks/dense_points.ipynb")
    page = made.pop("notebooks/dense_points.md")
    assert page.startswith("# ")
    assert made
    for name, picture in made.items():
        assert picture[:3] in (b"\xff\xd8\xff", b"\x89PN")
        assert f"]({PurePosixPath(name).name})" in page


@pytest.mark.parametrize(
    "html, loaded",
    [
        ('<script src="https://a.org/b.js"></script>', ["https://a.org/b.js"]),
        ("<img alt=x src='http://a.org/b.png'>", ["http://a.org/b.png"]),
        ('<link rel="stylesheet" href="https://a.org/b.css">', ["https://a.org/b.css"]),
        ('<a href="https://a.org">read</a> <img src="images/b.png">', []),
    ],
)
def test_what_a_page_would_load_from_elsewhere_is_seen(hooks, html, loaded):
    assert hooks.LOADED.findall(html) == loaded


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert pages <= listed


def test_there_are_documents():
    assert {"README.md", "CONTRIBUTING.md"} <= {path.name for path in DOCUMENTS}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_shows_what_exists(path):
    assert faults(path.read_text(encoding="utf-8"), path.parent) == []


@pytest.mark.parametrize(
    "text",
    [
        "see [this](docs/nowhere.md)",
        "see [this](README.md#no-such-heading)",
        "look into `src/tetrapose/nowhere.py`",
        "```sh\ntetrapose predcit photo.jpg\n```",
        "```sh\n.venv/bin/tetrapose info --jsn\n```",
        "or `tetrapose info --jsn`",
        "```sh\nmake coffee\n```",
        "```sh\npython benchmarks/nowhere.py\n```",
        "```sh\ntetrapose train dataset.root=DIR model=nowhere\n```",
        "```sh\ntetrapose train dataset.root=DIR trainer=default \\\n  lerning_rate=1\n```",
        "```python\nimport tetrapose as\n```",
        "```json\n{1: 2}\n```",
        "```yaml\nname: nobody\n```",
    ],
)
def test_a_planted_fault_is_seen(text):
    assert len(faults(text, ROOT)) == 1
