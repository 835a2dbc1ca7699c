"""A model put up in a Hugging Face repository: weights, card, and the card as its page.

``huggingface_hub`` (``pip install 'tetrapose[hub]'``) does the sending and knows who is logged in;
``HF_ENDPOINT`` names another server, as everywhere in that library.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrapose.weights import card as cards
from tetrapose.weights.files import WeightsError, locate, read_bytes

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
MOST_LINES = 40  # of a card's notes on the page


@dataclass(frozen=True)
class Upload:
    """What goes up: bytes by name in the repository."""

    repository: str
    files: dict[str, bytes]


def prepare(model: str | Path, repository: str, *, licence: str | None = None) -> Upload:
    """The files of a model as they go up. Raises WeightsError for a model that does not load.

    ``licence`` is one of the hub's names (apache-2.0, cc-by-nc-4.0, other); without it the page
    states none.
    """
    if not REPOSITORY.fullmatch(repository):
        raise WeightsError(f"{repository!r} is no repository; it is OWNER/NAME")
    path = locate(model)
    card = cards.load(path).card
    files = {
        path.name: read_bytes(path),
        f"{path.stem}.json": read_bytes(path.with_suffix(".json")),
        "README.md": page(card, path.name, repository, licence).encode(),
    }
    return Upload(repository, files)


def push(upload: Upload, *, private: bool = False, message: str = "") -> str:
    """Send an upload as one commit, making the repository if need be; gives the commit's address.

    Raises WeightsError where the library is not installed, nobody is logged in, or the server or
    the network refuses.
    """
    try:
        from huggingface_hub import (  # pyright: ignore[reportMissingImports]  # an extra
            CommitOperationAdd,
            HfApi,
        )
        from huggingface_hub.errors import (  # pyright: ignore[reportMissingImports]
            HfHubHTTPError,
            LocalTokenNotFoundError,
        )
    except ImportError:
        raise WeightsError("pushing wants huggingface_hub: pip install 'tetrapose[hub]'") from None
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    steps = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=data)
        for name, data in upload.files.items()
    ]
    try:
        api.create_repo(upload.repository, private=private, exist_ok=True, repo_type="model")
        done = api.create_commit(
            upload.repository, steps, repo_type="model",
            commit_message=message or f"Model {next(iter(upload.files))}",
        )  # fmt: skip
    except LocalTokenNotFoundError:
        raise WeightsError(
            f"{upload.repository}: nobody is logged in; run: hf auth login"
        ) from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        hint = "; log in with: hf auth login" if status in (401, 403) else ""
        raise WeightsError(f"{upload.repository}: the hub refuses ({_line(error)}){hint}") from None
    except Exception as error:  # noqa: BLE001 the network, in the words of whatever library it is
        raise WeightsError(f"{upload.repository}: not pushed ({_line(error)})") from None
    return str(done.commit_url)


def page(card: Mapping[str, Any], file: str, repository: str, licence: str | None) -> str:
    """The repository's README.md: what the model is, how to use it, what it learned and reached."""
    skeleton, codec, crop = card["skeleton"], card["codec"], card["crop"]
    names = [str(point["name"]) for point in skeleton["keypoints"]]
    width, height = codec["input_size"]
    model = Path(file).stem
    lines = [
        "---",
        *([f"license: {json.dumps(licence)}"] if licence else []),
        "library_name: tetrapose",
        "pipeline_tag: keypoint-detection",
        "tags: [animal-pose, pose-estimation, keypoint-detection]",
        "---",
        "",
        f"# {model}",
        "",
        f"Keypoints of animals, for tetrapose: {_text(skeleton.get('title', skeleton['name']))},"
        f" {len(names)} points, from crops of {width}x{height} pixels.",
        "",
        "```sh",
        "pip install tetrapose",
        f"hf download {repository} {file} {model}.json --local-dir .",
        f"tetrapose predict photo.jpg --model {file}",
        "```",
        "",
        "## What it is",
        "",
        "| | |",
        "|---|---|",
        f"| network | `{_text(card['architecture']['builder'])}`"
        f" {_text(json.dumps(card['architecture']['arguments']))} |",
        f"| codec | {_text(json.dumps(codec))} |",
        f"| normalisation | mean {_text(card['normalisation']['mean'])},"
        f" deviation {_text(card['normalisation']['std'])} of RGB in 0..1 |",
        f"| crop | {_text(json.dumps(crop))} |",
        f"| sha256 of the weights | `{_text(card['sha256'])}` |",
        f"| written by | tetrapose {_text(card['code_version'])} |",
        "",
        f"Keypoints, in order: {', '.join(_text(name) for name in names)}.",
        "",
        *_section("Training", card["training"]),
        *_section("Scores", card["scores"]),
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, values: Mapping[str, Any]) -> list[str]:
    """A card's own notes, each a line; what is nested stays JSON."""
    if not values:
        return [f"## {title}", "", "Nothing is recorded in the card.", ""]
    rows = [
        f"- {_text(key)}: {_text(value if isinstance(value, str) else json.dumps(value))}"
        for key, value in list(values.items())[:MOST_LINES]
    ]
    return [f"## {title}", "", *rows, ""]


def _text(value: Any) -> str:
    """A value on one line of a Markdown table, without a stranger's tags in it."""
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")


def _line(error: Exception) -> str:
    cause = error.__cause__  # which says why, where the library says only that
    text = " ".join(f"{error} {cause or ''}".split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
