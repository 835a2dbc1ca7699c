"""What the site has beside the pages of docs/, made while MkDocs builds it (mkdocs.yml calls it).

README.md is its first page; CONTRIBUTING.md, LICENSE, the notebooks with what they put out, and
every option of every command are pages too. Pages are written for a code host: a link that leaves
docs/ would lead nowhere on the site, so the file that it names becomes a page as well.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\[\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "LICENSE": "licence.md"}
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=.?(https?://[^\"' >]+)"
)
SHIM = "https://unpkg.com/iframe-worker/shim"  # of Material's offline plugin: from another host
PICTURES = {"image/png": ".png", "image/jpeg": ".jpg"}
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".json": "json", ".sh": "sh"}


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that are made; MkDocs calls it with the files of docs/."""
    from mkdocs.structure.files import File

    texts = {PurePosixPath(file.src_uri): file.content_string for file in files
             if file.src_uri.endswith(".md")}  # fmt: skip
    made: dict[str, str | bytes] = {"options.md": options()}
    for path in sorted((ROOT / "docs").glob("notebooks/*.ipynb")):
        made |= notebook(path)
        files.remove(files.get_file_from_path(f"notebooks/{path.name}"))
    sources = {"docs" / path: text for path, text in texts.items()}
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        sources[PurePosixPath(name)] = text
        made[page] = moved(text, PurePosixPath(name)) if name.endswith(".md") else shown(name)
    for name in sorted({name for path, text in sources.items() for name in outside(text, path)}):
        made[site_path(name)] = shown(name)
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(text: str, *, page: Any, config: Any, files: Any) -> str:
    """Links of a page of docs/ as the site needs them; what was made has them already."""
    return (
        text if page.file.generated_by else moved(text, "docs" / PurePosixPath(page.file.src_uri))
    )


def on_post_page(html: str, *, page: Any, config: Any) -> str:
    """The page without what it would load from another host; site/worker.js does that work."""
    html = html.replace(SHIM, "../" * page.url.count("/") + "site/worker.js")
    for address in LOADED.findall(html):
        logging.getLogger("mkdocs.hooks").warning("%s loads %s", page.url, address)
    return html


def on_post_template(html: str, *, template_name: str, config: Any) -> str:
    """The same of 404.html, which is no page."""
    return html.replace(SHIM, "site/worker.js")


def moved(text: str, path: PurePosixPath) -> str:
    """The text of the file at ``path`` (from the root) with links as they are on the site.

    A link that shows a page's file name shows its title there.
    """
    here = PurePosixPath(site_path(str(path))).parent

    def link(found: re.Match[str]) -> str:
        label, target = found.groups()
        name, mark, anchor = target.partition("#")
        file = named(name, path)
        if file is None:
            return found.group()
        if label.endswith(".md") and label in (name, file, PurePosixPath(name).name):
            label = title(file)
        return f"[{label}]({os.path.relpath(site_path(file), here)}{mark}{anchor})"

    return "".join(part if part.startswith("```") else LINK.sub(link, part)
                   for part in FENCE.split(text))  # fmt: skip


def title(name: str) -> str:
    """The first heading of a page."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return next(line.lstrip("# ") for line in text.splitlines() if line.startswith("# "))


def outside(text: str, path: PurePosixPath) -> Iterator[str]:
    """Files of the repository that the text links to, and that are no page of their own."""
    for _, target in LINK.findall(FENCE.sub("", text)):
        file = named(target.partition("#")[0], path)
        if file is not None and not file.startswith("docs/") and file not in PAGES:
            yield file


def named(target: str, path: PurePosixPath) -> str | None:
    """The file, from the root, that a link of ``path`` means; None where it is no file here."""
    if not target or "://" in target or target.startswith("mailto:"):
        return None
    file = os.path.normpath(path.parent / target)
    return file if (ROOT / file).is_file() else None


def site_path(name: str) -> str:
    """Where a file of the repository is on the site."""
    if name.startswith("docs/"):
        return name.removeprefix("docs/").replace(".ipynb", ".md")
    return PAGES.get(name) or f"files/{name}.md"


def shown(name: str) -> str:
    """A page that shows a file as it is."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return f"# {PurePosixPath(name).name}\n\n`{name}`\n\n{fenced(text, _language(name))}"


def fenced(text: str, language: str) -> str:
    """A code block; the fence is longer than any in the text."""
    fence = max(re.findall(r"`{3,}", text), key=len, default="``") + "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _language(name: str) -> str:
    return LANGUAGES.get(PurePosixPath(name).suffix, "text")


def notebook(path: Path) -> dict[str, str | bytes]:
    """Pages and pictures of a notebook: its text, its code, and what that put out."""
    folder, parts = f"notebooks/{path.stem}", []
    made: dict[str, str | bytes] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(moved(source, PurePosixPath("docs") / "notebooks" / path.name))
            continue
        parts.append(fenced(source, "python"))
        for output in cell["outputs"]:
            data = output.get("data", {})
            kind = next((kind for kind in PICTURES if kind in data), None)
            if kind is not None:
                name = f"{folder}_{len(made)}{PICTURES[kind]}"
                made[name] = base64.b64decode("".join(data[kind]))
                parts.append(f"![What the code above draws]({PurePosixPath(name).name})")
            else:
                text = output.get("text", data.get("text/plain", []))
                parts.append(fenced("".join(text), "text"))
    made[f"{folder}.md"] = "\n\n".join(parts) + "\n"
    return made


def options() -> str:
    """The help of every command and subcommand, as the program prints it."""
    from tetrapose.cli import build_parser

    parts = ["# Every option", "What `--help` says, command by command."]
    for words, parser in commands(build_parser()):
        if not words:
            continue
        parts.append(f"{'#' * (len(words) + 1)} {' '.join(words)}")
        parts.append(fenced(_help(parser), "text"))
    return "\n\n".join(parts) + "\n"


def commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """The parser and those of its commands, each with its words."""
    yield words, parser
    for action in parser._actions:  # noqa: SLF001 argparse has no other way to its commands
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from commands(inner, (*words, word))


def _help(parser: argparse.ArgumentParser) -> str:
    form: Callable[..., argparse.HelpFormatter] = parser.formatter_class
    parser.formatter_class = lambda prog: form(prog, width=88)  # type: ignore[assignment]
    return parser.format_help()
