"""The downloader against a server that misbehaves in every way; nothing leaves this machine."""

from __future__ import annotations

import socket
import time
from collections import Counter

import pytest
from misbehaving import FAULTS, GOOD, picture, web

pytest.importorskip("aiohttp", reason="tetrapose[triplets] is not installed")

from tetrapose.errors import UserError
from tetrapose.triplets import addresses, fetched, robots
from tetrapose.triplets.contents import Bounds
from tetrapose.triplets.download import Manners, fetch_all
from tetrapose.triplets.rows import REASONS

QUICK = Manners(
    loopback=True, per_host=32, connect=2, silence=0.6, answer=1.2, tries=2, first_wait=0.05,
    longest_wait=1.2, bounds=Bounds(most_bytes=2_000_000, least_side=32),
)  # fmt: skip


def list_of(root: str, count: int, share: float = 0.3) -> tuple[list[str], list[str]]:
    """Addresses, ``share`` of them faulty in every way in turn, and what each is lost for."""
    urls, due = [], []
    faults = list(FAULTS)
    for i in range(count):
        if int((i + 1) * share) > int(i * share):
            kind = faults[int(i * share) % len(faults)]
            urls.append(f"{root}/{kind}/{i}.jpg")
            due.append(FAULTS[kind])
        else:
            urls.append(f"{root}/{GOOD[i % len(GOOD)]}/{i}.jpg")
            due.append("")
    return urls, due


def test_every_loss_has_its_reason_and_all_good_ones_are_there():
    with web(slow=3.0) as site:
        urls, due = list_of(site.root, 150)
        got = fetch_all(urls, QUICK)
        asked = site.asked.copy()
    assert [one.url for one in got] == urls
    for one, reason in zip(got, due, strict=True):
        assert one.reason.startswith(reason), one
        assert (one.reason == "") == (reason == "")
        assert one.reason.partition(":")[0] in REASONS
        kind, number = one.url.split("/")[3], one.url.rpartition("/")[2].removesuffix(".jpg")
        if not reason:
            assert one.data == picture(int(number), form="PNG" if kind == "mislabelled" else "JPEG")
    assert not any("closed" in path for path in asked)
    assert all(n == 2 for path, n in asked.items() if "always" in path)
    assert all(n == 1 for path, n in asked.items() if path.split("/")[1] in ("missing", "page"))
    assert site.robots == 1
    assert site.agents == {QUICK.user_agent}
    assert site.most_together <= QUICK.per_host + 1  # and the robots.txt


def test_what_came_is_kept_and_a_killed_run_goes_on(tmp_path):
    pack = tmp_path / "a.pack"
    with web(slow=3.0) as site:
        urls, due = list_of(site.root, 40)
        whole = fetched.fetch_into(tmp_path / "b.pack", urls, QUICK)

        class Killed(BaseException):
            pass

        seen = []

        def die(answer: fetched.Answer) -> None:
            seen.append(answer)
            if len(seen) == 15:
                raise Killed

        with pytest.raises(Killed):
            fetched.fetch_into(pack, urls, QUICK, told=die)
        with open(pack, "ab") as file:
            file.write(b"half a picture")
        with open(fetched.journal_of(pack), "ab") as file:
            file.write(b'{"place": 3, "ur')
        before = site.asked.copy()
        resumed = fetched.fetch_into(pack, urls, QUICK)
        for answer in seen[:15]:
            path = answer.url.removeprefix(site.root)
            assert site.asked[path] == before[path]
        assert fetched.fetch_into(pack, urls, QUICK) == resumed
        site.asked.clear()
        fetched.fetch_into(pack, urls, QUICK, again=True)
        kinds = {path.split("/")[1] for path in site.asked}
        assert "missing" not in kinds
        assert "good" not in kinds
        assert "always503" in kinds or "slow" in kinds
        with pytest.raises(UserError, match="another list"):
            fetched.fetch_into(pack, urls[1:], QUICK)
    for a, b, reason in zip(resumed, whole, due, strict=True):
        assert (a.url, a.sha256, a.reason.partition(":")[0]) == (
            b.url, b.sha256, b.reason.partition(":")[0]
        )  # fmt: skip
        if not reason:
            assert fetched.picture(pack, a) == fetched.picture(tmp_path / "b.pack", b)


def test_hosts_are_asked_with_pauses_and_by_few():
    manners = Manners(loopback=True, per_host=1, pause=0.1, bounds=Bounds(least_side=32))
    with web() as site:
        started = time.monotonic()
        got = fetch_all([f"{site.root}/good/{i}.jpg" for i in range(6)], manners)
        spent = time.monotonic() - started
    assert not any(one.reason for one in got)
    assert site.most_together == 1
    assert spent > 0.5
    asks = "User-agent: *\nCrawl-delay: 1\nDisallow:\n"
    with web(robots=asks) as site:
        started = time.monotonic()
        fetch_all([f"{site.root}/good/{i}.jpg" for i in range(2)], manners)
        assert time.monotonic() - started > 0.95


def test_retry_after_is_waited_for_within_bounds():
    with web() as site:
        started = time.monotonic()
        (got,) = fetch_all([f"{site.root}/once429/1.jpg"], QUICK)
        assert got.reason == ""
        assert got.tries == 2
        assert time.monotonic() - started > 0.95


def test_an_unreachable_host_is_a_lost_connection():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        (got,) = fetch_all([f"http://127.0.0.1:{taken.getsockname()[1]}/a.jpg"], QUICK)
    assert got.reason.startswith("connection")
    assert got.tries == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.jpg", "http://localhost/a.jpg", "http://10.1.2.3/a.jpg",
        "http://192.168.1.1/a.jpg", "http://172.16.0.9/a.jpg", "http://169.254.169.254/latest",
        "http://[::1]/a.jpg", "http://[fe80::1]/a", "http://[fd00::1]/a", "http://0.0.0.0/a",
        "http://[::ffff:127.0.0.1]/a", "http://[::ffff:10.0.0.1]/a", "http://[64:ff9b::a00:1]/a",
        "http://[2002:7f00:1::]/a", "http://2130706433/a.jpg", "http://0x7f.1/a.jpg",
        "http://0177.0.0.1/a", "http://100.64.0.1/a", "http://224.0.0.1/a", "http://255.255.255.255",
        "ftp://example.org/a.jpg", "file:///etc/passwd", "data:image/png;base64,AAAA",
        "http://user:pass@example.org/a.jpg", "http:///a.jpg", "javascript:alert(1)", "",
        "http://exa mple.org/", "http://[::1", "http://example.org:99999/", "http://a" * 400,
    ],
)  # fmt: skip
def test_addresses_that_are_not_asked(url):
    (got,) = fetch_all([url], Manners(tries=1))
    assert got.reason.startswith("refused_address"), got
    assert got.tries == 1


def test_a_name_that_stands_for_a_private_place_is_refused_when_connecting(monkeypatch):
    """The check is of the very places that are connected to, so rebinding gains nothing."""
    asked = []

    def resolve(host, port, *rest, **more):
        asked.append(host)
        place = {"public.example": "93.184.216.34"}.get(host, "10.0.0.7")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    (got,) = fetch_all(["http://inner.example/a.jpg"], Manners(tries=3))
    assert got.reason == "refused_address:private"
    assert got.tries == 1
    assert asked == ["inner.example"]


def test_robots_are_read_as_their_rule_says():
    agent = "tetrapose"
    text = b"User-agent: tetrapose\nDisallow: /no/\nCrawl-delay: 3\n\nUser-agent: *\nDisallow: /\n"
    mine = robots.rules(200, text, agent)
    assert mine.allow("http://a.example/yes/1.jpg", agent)
    assert not mine.allow("http://a.example/no/1.jpg", agent)
    assert mine.delay == 3
    assert not robots.rules(200, text, "another").allow("http://a.example/yes/1.jpg", "another")
    assert robots.rules(404, b"", agent).allow("http://a.example/x", agent)
    assert robots.rules(403, b"", agent).allow("http://a.example/x", agent)
    assert not robots.rules(503, b"", agent).allow("http://a.example/x", agent)
    assert robots.rules(200, b"\xff\xfe\0<html>", agent).allow("http://a.example/x", agent)


@pytest.mark.parametrize(
    "values, said",
    [
        ([], ""), (["noai"], "noai"), (["NoImageAI, nofollow"], "noimageai"),
        (["noindex"], "noindex"),
        (["nofollow"], ""), (["googlebot: noai"], ""), (["tetrapose: noai"], "noai"),
        (["*: noimageindex"], "noimageindex"), (["none"], "none"),
        (["googlebot: nofollow, noai"], ""), (["otherbot: noai", "noai"], "noai"),
        (["unavailable_after: 25 Jun 2010, noai"], "noai"),
    ],
)  # fmt: skip
def test_headers_that_opt_out(values, said):
    assert robots.opted_out(values, "tetrapose") == said


@pytest.mark.parametrize(
    "value, seconds", [("3", 3), ("", 0), ("soon", 0), ("-5", 0), ("9" * 30, 999999999)]
)
def test_retry_after(value, seconds):
    assert addresses.retry_after(value) == seconds


def test_a_setting_that_cannot_be_is_told():
    with pytest.raises(UserError, match="per_host"):
        Manners(per_host=0)


def test_nothing_to_fetch_is_nothing():
    assert fetch_all([], QUICK) == []


def test_the_faults_of_the_list_are_all_there():
    _, due = list_of("http://a.example", 150)
    assert set(due) - {""} == set(FAULTS.values())
    assert Counter(map(bool, due))[True] == 45
