"""A library or an export of one, with its card, sent to a Hugging Face dataset repository.

In commits of a bounded size, the card last; files that are up already with the same content are
found so by the hub's library and not sent again (``pip install 'tetrapose[hub]'``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tetrapose.errors import UserError
from tetrapose.triplets.library import ABOUT, told

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
TOGETHER = 40  # files of a commit, and
MOST_BYTES = 2 << 30  # their bytes
SENT = ("README.md", ABOUT, "card/", "shards/", "ledger/", "data/")


def push(
    folder: Path,
    repository: str,
    *,
    private: bool = False,
    tell: Callable[[int, int], None] | None = None,
) -> str:
    """Send a folder with its card to a Hugging Face dataset repository; gives its last commit.

    ``tell`` hears how many files of how many are up. Only files of a library or an export go:
    nothing of ``work``. Raises UserError where the card or the library is missing, nobody is
    logged in, or the hub or the network refuses.
    """
    if not REPOSITORY.fullmatch(repository):
        raise UserError(f"{repository!r} is no repository; it is OWNER/NAME")
    if not (folder / "README.md").is_file():
        raise UserError(f"{folder}: has no card (README.md) yet; make it before it goes up")
    with told(folder):
        files = list(_sent(folder))
    try:
        from huggingface_hub import (  # pyright: ignore[reportMissingImports]  # an extra
            CommitOperationAdd,
            HfApi,
        )
    except ImportError:
        raise UserError("pushing wants huggingface_hub: pip install 'tetrapose[hub]'") from None
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    address = ""
    try:
        api.create_repo(repository, private=private, exist_ok=True, repo_type="dataset")
        done = 0
        for some in _batches(folder, files):
            steps = [
                CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(folder / name))
                for name in some
            ]
            made = api.create_commit(
                repository, steps, repo_type="dataset",
                commit_message=f"Triplets: {some[0]} and {len(some) - 1} more",
            )  # fmt: skip
            done, address = done + len(some), str(made.commit_url)
            if tell is not None:
                tell(done, len(files))
    except Exception as error:  # noqa: BLE001 the network, in the words of whatever library it is
        raise UserError(_refusal(repository, error)) from None
    return address


def _refusal(repository: str, error: Exception) -> str:
    from huggingface_hub.errors import (  # pyright: ignore[reportMissingImports]
        HfHubHTTPError,
        LocalTokenNotFoundError,
    )

    if isinstance(error, LocalTokenNotFoundError):
        return f"{repository}: nobody is logged in; run: hf auth login"
    text = " ".join(f"{error} {error.__cause__ or ''}".split())[:160] or type(error).__name__
    if isinstance(error, HfHubHTTPError):
        status = getattr(error.response, "status_code", None)
        hint = "; log in with: hf auth login" if status in (401, 403) else ""
        return f"{repository}: the hub refuses ({text}){hint}"
    return f"{repository}: not pushed ({text}); run it again, what is up stays up"


def _sent(folder: Path) -> Iterator[str]:
    """Names of the files that go up, the card last: a repository with a card is whole."""
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    names = [
        name for name in names
        if name.startswith(SENT) or ("/" not in name and name.endswith(".parquet"))
    ]  # fmt: skip
    hidden = [name for name in names if any(part.startswith(".") for part in name.split("/"))]
    ordered = [name for name in names if name not in hidden and name != "README.md"]
    yield from (*ordered, "README.md")


def _batches(folder: Path, names: Sequence[str]) -> Iterator[list[str]]:
    held: list[str] = []
    size = 0
    for name in names:
        more = (folder / name).stat().st_size
        if held and (len(held) >= TOGETHER or size + more > MOST_BYTES):
            yield held
            held, size = [], 0
        held.append(name)
        size += more
    if held:
        yield held
