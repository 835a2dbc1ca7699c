"""What goes up to a Hugging Face repository, against a stub of its API on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from servers import serving

from tetrapose import skeletons
from tetrapose.codecs import Heatmap
from tetrapose.errors import UserError
from tetrapose.models.small import small
from tetrapose.weights import card as cards
from tetrapose.weights import hub

SMALL = {"channels": [8, 8, 8, 8], "blocks": [1, 1, 1, 1], "neck": 16}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "cats.safetensors"
    skeleton = skeletons.load("ap10k")
    torch.manual_seed(0)
    card = cards.describe(
        "tetrapose.models.small:small", SMALL, skeleton=skeleton,
        codec=Heatmap(len(skeleton), (64, 96)),
        normalisation={"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.25]},
        crop={"padding": 1.25},
        training={"data": "cats | dogs", "note": "<script>alert(1)</script>\n# big"},
        scores={"AP": 0.5},
    )  # fmt: skip
    cards.save(path, small(len(skeleton), **SMALL), card)
    return path


class Hub:
    """Enough of the hub's API to take a commit; keeps what it was sent."""

    def __init__(self) -> None:
        self.address = ""
        self.status: int | None = None
        self.created: dict[str, Any] = {}
        self.objects: dict[str, bytes] = {}
        self.page = ""
        self.commit: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        body = body_of(request)
        path = request.path.split("?")[0]
        if path.startswith("/put/"):
            self.objects[path.removeprefix("/put/")] = body
            answer: Any = {}
        elif self.status is not None:
            return self.reply(request, self.status, {"error": "no"})
        elif path == "/api/repos/create":
            self.created = json.loads(body)
            self.tokens.add(request.headers.get("Authorization"))
            answer = {"url": f"{self.address}/me/cats"}
        elif path == "/api/validate-yaml":
            self.page = json.loads(body)["content"]
            answer = {"errors": [], "warnings": []}
        elif path == "/api/models/me/cats/preupload/main":
            answer = {
                "files": [
                    {
                        "path": file["path"], "shouldIgnore": False,
                        "uploadMode": "lfs" if "safetensors" in file["path"] else "regular",
                    }
                    for file in json.loads(body)["files"]
                ]
            }  # fmt: skip
        elif path == "/me/cats.git/info/lfs/objects/batch":
            answer = {
                "transfer": "basic",
                "objects": [
                    {**one, "actions": {"upload": {"href": f"{self.address}/put/{one['oid']}"}}}
                    for one in json.loads(body)["objects"]
                ],
            }
        elif path == "/api/models/me/cats/commit/main":
            self.commit = [json.loads(line) for line in body.splitlines()]
            answer = {"commitUrl": f"{self.address}/me/cats/commit/abc", "commitOid": "abc"}
        else:
            return self.reply(request, 404, {"error": f"the stub has no {path}"})
        return self.reply(request, 200, answer)

    def reply(self, request: BaseHTTPRequestHandler, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


def body_of(request: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in (request.headers.get("Transfer-Encoding") or ""):
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    parts = []
    while size := int(request.rfile.readline(), 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(parts)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub", reason="tetrapose[hub] is not installed")
    hub_ = Hub()
    with serving(hub_) as (address, _):
        hub_.address = address
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", "a-token-of-the-test")
        # the stub speaks the API's plain way of sending large files, not the chunked one (Xet)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield hub_


# huggingface_hub 2.4 sends the file in a way that its own HTTP library has deprecated
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_model_goes_up_with_its_card_and_page(stub, model):
    upload = hub.prepare(model, "me/cats", licence="apache-2.0")
    address = hub.push(upload, private=True, message="Cats")
    assert address == f"{stub.address}/me/cats/commit/abc"
    assert stub.created["name"] == "cats"
    assert stub.created["organization"] == "me"
    assert stub.created.get("private", stub.created.get("visibility") == "private")
    assert stub.tokens == {"Bearer a-token-of-the-test"}
    header, *rows = stub.commit
    assert header["value"]["summary"] == "Cats"
    sent = {row["value"]["path"]: row for row in rows}
    assert sent.keys() == {"cats.safetensors", "cats.json", "README.md"}
    weights = model.read_bytes()
    oid = hashlib.sha256(weights).hexdigest()
    assert sent["cats.safetensors"]["value"]["oid"] == oid
    assert stub.objects[oid] == weights
    assert base64.b64decode(sent["cats.json"]["value"]["content"]) == (
        model.with_suffix(".json").read_bytes()
    )
    page = base64.b64decode(sent["README.md"]["value"]["content"]).decode()
    assert page == upload.files["README.md"].decode()


def test_the_page_tells_what_the_card_holds(model):
    files = hub.prepare(model, "me/cats", licence="apache-2.0").files
    _, front, text = files["README.md"].decode().split("---\n", 2)
    head = yaml.safe_load(front)
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "tetrapose"
    assert head["pipeline_tag"] == "keypoint-detection"
    card = json.loads(files["cats.json"])
    for words in (card["sha256"], "left_eye", "17 points", "64x96", "- AP: 0.5",
                  "tetrapose predict photo.jpg --model cats.safetensors"):  # fmt: skip
        assert words in text
    assert "<script>" not in text
    assert "\n# big" not in text
    assert "license" not in hub.prepare(model, "me/cats").files["README.md"].decode()


@pytest.mark.parametrize("status, words", [(401, "hf auth login"), (403, "hf auth login"),
                                           (500, "refuses")])  # fmt: skip
def test_a_refusal_is_one_line(status, words, stub, model):
    stub.status = status
    with pytest.raises(UserError, match=words) as caught:
        hub.push(hub.prepare(model, "me/cats"))
    assert "\n" not in str(caught.value)
    assert not stub.commit


def test_no_server_is_one_line(stub, model, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="me/cats: not pushed") as caught:
        hub.push(hub.prepare(model, "me/cats"))
    assert "\n" not in str(caught.value)


def test_what_is_no_repository_or_no_model_does_not_go_up(model, tmp_path):
    for name in ("cats", "me/", "a/b/c", "../x", "me/ca ts"):
        with pytest.raises(UserError, match="OWNER/NAME"):
            hub.prepare(model, name)
    spoilt = tmp_path / "cats.safetensors"
    spoilt.write_bytes(model.read_bytes()[:-1] + b"x")
    spoilt.with_suffix(".json").write_bytes(model.with_suffix(".json").read_bytes())
    with pytest.raises(UserError, match="sha256 differs"):
        hub.prepare(spoilt, "me/cats")


def test_without_the_library_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"tetrapose\[hub\]"):
        hub.push(hub.prepare(model, "me/cats"))
