"""A list of addresses, served here: the good ones all arrive, every loss is told, no one twice."""

from __future__ import annotations

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import piles
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tetrapose.triplets import build as building
from tetrapose.triplets import fetching, ledger, steps
from tetrapose.triplets.build import build
from tetrapose.triplets.download import Manners
from tetrapose.triplets.library import Library

asked: Counter[str] = Counter()


class Host(BaseHTTPRequestHandler):
    def do_GET(self):
        asked[self.path] += 1
        number = self.path.strip("/").partition(".")[0]
        if not number.isdigit() or int(number) % 3 == 2:
            self.send_response(404)
            self.end_headers()
            return
        data = steps.jpeg(piles.picture(int(number)), 90)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def host():
    asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.block_on_close = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


MANNERS = Manners(loopback=True, obey_robots=False, first_wait=0.01)


def test_what_an_address_gives_or_why_it_does_not_stands_in_the_ledger(tmp_path, host, monkeypatch):
    urls = [f"{host}/{i}.jpg" for i in range(9)] + ["", "ftp://x/y.jpg", "http://10.0.0.1/a.jpg"]
    pq.write_table(pa.table({"url": urls, "caption": ["a cat"] * 12}), tmp_path / "list.parquet")
    make = building.making.make_part

    def stop(library, part, *rest):
        if part == 1:
            raise KeyboardInterrupt
        return make(library, part, *rest)

    monkeypatch.setattr(building.making, "make_part", stop)
    with pytest.raises(KeyboardInterrupt):
        build([str(tmp_path / "list.parquet")], tmp_path / "lib", piles.SMALL, manners=MANNERS)
    monkeypatch.undo()
    library = Library(tmp_path / "lib")
    assert not library.fetched(0).exists()  # made, and forgotten
    assert library.fetched(1).exists()
    built = build([str(tmp_path / "list.parquet")], library.root, piles.SMALL, manners=MANNERS)
    rows = list(ledger.read_all(library))
    assert [(row.step, row.reason.split(":")[0]) for row in rows] == [
        ("download", "http_status") if i % 3 == 2 else ("find", "not_labelled") for i in range(9)
    ] + [("list", "no_address")] + [("download", "refused_address")] * 2
    assert rows[2].reason == "http_status:404"
    assert all(row.sha256 for row in rows if row.step == "find")
    assert max(asked.values()) == 1  # also over the two runs
    assert built.about["counts"]["dropped"]["download: http_status"] == 3


def test_workers_together_keep_the_manners_of_one():
    four = fetching.shared(Manners(connections=64, per_host=8, pause=0.5), 4)
    assert (four.connections, four.per_host, four.pause) == (16, 2, 2.0)
    assert fetching.shared(MANNERS, 1) == MANNERS
    assert fetching.shared(Manners(per_host=2), 8).per_host == 1
