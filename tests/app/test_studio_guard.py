"""Who may ask the studio, how much and how long: the guard around a handler that says yes."""

from __future__ import annotations

import asyncio
import json

import pytest

from tetrapose.app.guard import HEADERS, Guard

OURS = {"host": "127.0.0.1:7860"}
OWN = {**OURS, "x-tetrapose": "1"}


async def yes(scope, receive, send) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % len(message["body"])})


def asked(headers, *, method="POST", path="/api/canvas", parts=(b"{}",), pause=0.0, **more):
    """Status, headers and body that a guard answers with."""
    settings = {"most_bytes": 1000, "seconds": 0.3, **more}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }
    left, sent = list(parts), []

    async def receive():
        if pause:
            await asyncio.sleep(pause)
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(yes, **settings)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_the_page_itself_may_ask():
    assert asked(OWN)[0] == 200
    assert asked({**OWN, "origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"})[
        0::2
    ] == (200, b"2")
    assert asked({**OWN, "host": "localhost:9000", "origin": "http://localhost:9000"})[0] == 200
    assert asked({**OWN, "host": "[::1]:7860", "origin": "http://[::1]:7860"})[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:7860", "", "192.168.1.5:7860", "[", "localhost@evil:1",
     "0.0.0.0:7860"],
)  # fmt: skip
def test_a_name_that_is_not_ours_is_refused(host):
    """DNS rebinding: a foreign name that has come to mean this machine."""
    for method, path in (("GET", "/"), ("GET", "/api/state"), ("POST", "/api/canvas")):
        status, _, body = asked({**OWN, "host": host}, method=method, path=path)
        assert status == 421
        assert "host name" in json.loads(body)["error"]


def test_no_host_at_all_is_refused():
    assert asked({"x-tetrapose": "1"})[0] == 421


@pytest.mark.parametrize(
    "more",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},  # another program of this machine
        {"origin": "http://localhost:7860"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
def test_another_site_may_not_ask(more, method):
    status, _, body = asked({**OWN, **more}, method=method)
    assert (status, json.loads(body)["error"]) == (403, "asked by another site")


def test_a_form_cannot_post_since_it_sends_no_header_of_ours():
    assert asked({**OURS, "content-type": "text/plain"})[0] == 403
    assert asked({**OURS, "sec-fetch-site": "none"})[0] == 403
    assert asked(OURS, method="GET")[0] == 200


def test_a_link_may_open_the_page_and_nothing_else():
    linked = {**OURS, "sec-fetch-site": "cross-site"}
    assert asked(linked, method="GET", path="/")[0] == 200
    assert asked(linked, method="GET", path="/api/state")[0] == 403
    assert asked(linked, method="GET", path="/page/main.js")[0] == 403


def test_names_and_numbers_that_were_allowed():
    named = {"hosts": ("studio.example.org",)}
    assert asked({**OWN, "host": "Studio.example.org:80"}, **named)[0] == 200
    assert asked(OWN, **named)[0] == 421
    assert asked({**OWN, "host": "192.168.1.5:7860"}, addresses=True)[0] == 200
    assert asked({**OWN, "host": "[fe80::1]:7860"}, addresses=True)[0] == 200
    assert asked({**OWN, "host": "evil.example"}, addresses=True)[0] == 421


def test_a_body_is_bounded_told_or_not():
    told = {**OWN, "content-length": "1001"}
    assert asked(told, parts=(b"x",))[0] == 413
    assert asked(OWN, parts=[b"x" * 400] * 3)[0] == 413
    assert asked(OWN, parts=[b"x" * 400] * 1000)[0] == 413
    assert asked({**OWN, "content-length": "9" * 15}, parts=[b"x"] * 1000, pause=9)[0] == 413
    assert asked(OWN, parts=[b"x" * 500] * 2)[0::2] == (200, b"1000")


def test_a_body_that_drips_is_ended():
    status, _, body = asked(OWN, parts=[b"x"] * 100, pause=0.05)
    assert status == 408
    assert "longer than 0.3 s" in json.loads(body)["error"]


def test_closed_paths_are_closed_but_for_the_open_ones():
    way = {"closed": ("/gradio",), "open": ("/gradio/call/x",)}
    assert asked(OWN, path="/gradio/upload", **way)[0] == 404
    assert asked(OWN, path="/gradio", **way)[0] == 404
    assert asked(OWN, path="/gradio/call/x", **way)[0] == 200


@pytest.mark.parametrize("headers", [OWN, {"host": "evil.example"}])
def test_every_answer_carries_the_headers_that_keep_others_out(headers):
    got = asked(headers)[1]
    assert {key: got.get(key) for key in HEADERS} == HEADERS
    policy = got[b"content-security-policy"].decode()
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_a_websocket_is_closed():
    sent = []

    async def send(message):
        sent.append(message)

    guard = Guard(yes, most_bytes=1, seconds=1)
    asyncio.run(guard({"type": "websocket"}, None, send))  # type: ignore[arg-type]
    assert sent[0]["type"] == "websocket.close"
