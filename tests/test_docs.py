"""What the documents show must exist: links, files, commands, make targets, Python."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

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
