# SPDX-License-Identifier: Apache-2.0
"""Peers that are broken, slow, many, or lie: what is one's own is answered, and the rest is said."""
import http.server
import random
import re
import socket
import threading
import time
import urllib.parse
from pathlib import Path

import pytest
import sawlog
from test_peers import BASE, RANGE, SECOND, SPAN, ask, log_lines, made, make_records, push  # noqa: F401

OWN = [({"app": "own"}, BASE + i * SECOND, f"own {i}", {}) for i in range(5)]
NOT_THERE = "the answer is without the"


class Peer:
    """A server whose pages go through `change(form, page)`, which returns them changed, or as
    (status, body); or that, given a socket handler, does what that does."""

    def __init__(self, real, change):
        self.real, self.change, self.asked = real, change, []
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                form = self.rfile.read(int(self.headers["Content-Length"]))
                parsed = dict(urllib.parse.parse_qsl(form.decode(errors="replace")))
                peer.asked.append(parsed)
                page = b""
                if peer.real:
                    headers = {"Content-Type": self.headers["Content-Type"]}
                    if "X-Scope-OrgID" in self.headers:
                        headers["X-Scope-OrgID"] = self.headers["X-Scope-OrgID"]
                    page = peer.real.call("POST", "/api/v1/scan", form, headers).body
                changed = peer.change(self, parsed, page)
                if changed is None:
                    self.close_connection = True
                    return
                status, body = changed if isinstance(changed, tuple) else (200, changed)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Web(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self.web = Web(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.web.server_address[1]}"
        threading.Thread(target=self.web.serve_forever, daemon=True).start()

    def close(self):
        self.web.shutdown()
        self.web.server_close()


@pytest.fixture
def peers():
    """peers(real, change): a Peer, ended with the test."""
    all_of_them = []

    def make(real, change):
        all_of_them.append(Peer(real, change))
        return all_of_them[-1]

    yield make
    for p in all_of_them:
        p.close()


def asker(made, urls, more=""):  # noqa: F811
    a = made("asker")
    a.config.write_text("peers:\n" + "".join(f"  - {u}\n" for u in urls) + more)
    a.start()
    push(a, OWN)
    return a


def own_lines(server, **params):
    """All lines, and the warnings."""
    answer = ask(server, "/loki/api/v1/query_range", query="{}", limit=5000, **{**RANGE, **params})
    return [e[1] for e in log_lines(answer)], answer.get("warnings", [])


# -- pages that are damaged, or are no answer to the question

def turn(rng, page):
    """A page with some damage: cut, bytes turned, numbers of its head replaced."""
    at = page.find(b"\n\n") + 2
    kind = rng.randrange(6)
    if kind == 0:
        return page[:rng.randrange(len(page))]
    if kind == 1:
        return page + rng.randbytes(rng.randrange(1, 50))
    if kind == 2:
        return rng.randbytes(rng.randrange(400))
    if kind == 3:
        numbers = list(re.finditer(rb"\d+", page[:at]))
        n = rng.choice(numbers[1:] or numbers)
        value = rng.choice([0, 1, 7, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 10**30])
        return page[:n.start()] + str(value).encode() + page[n.end():]
    changed = bytearray(page)
    for _ in range(rng.choice([1, 1, 3, 30])):
        first = at if kind == 4 and len(page) > at else 0
        changed[rng.randrange(first, len(page))] = rng.choice([0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)])
    return bytes(changed)


VOLUME = {"query": "{}", "targetLabels": "app", "step": "1h"}
QUESTIONS = [
    ("/loki/api/v1/query_range", {"query": "{}", "limit": 5000}),
    ("/loki/api/v1/query_range", {"query": '{} | json | status > 1', "direction": "forward"}),
    ("/loki/api/v1/query_range", {"query": "sum by (app) (count_over_time({}[10m]))", "step": 600}),
    ("/loki/api/v1/query_range", {"query": "sum by (detected_level) (rate({}[1h]))", "step": 600}),
    ("/loki/api/v1/index/volume_range", VOLUME),
    ("/loki/api/v1/patterns", {"query": "{}", "step": "1h"}),
    ("/loki/api/v1/labels", {}),
    ("/loki/api/v1/series", {"match[]": "{}"}),
]


def test_damaged_pages(made, peers):  # noqa: F811
    """Any bytes for an answer: what is one's own is there, and the server goes on."""
    real = made("real").start()
    push(real, make_records()[:400])
    assert real.call("POST", "/-/flush").status == 200
    push(real, make_records()[400:600])
    rng = random.Random(11)
    peer = peers(real, lambda handler, form, page: turn(rng, page))
    a = asker(made, [peer.url])
    said = 0
    for i in range(120):
        path, params = QUESTIONS[i % len(QUESTIONS)]
        answer = a.get(path, {**params, **RANGE})
        assert answer.status == 200, (path, answer.text)
        said += "warnings" in answer.json()
        if i % len(QUESTIONS) == 0:
            values = [v[1] for s in answer.json()["data"]["result"] for v in s["values"]]
            assert {r[2] for r in OWN} <= set(values)
    assert said > 30
    assert a.running


def varint(n):
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def counts_page(*counts, instance="00000000000000aa"):
    """A page with counts of {app="x"}: (first time, rows) each."""
    labels = b"\1\3app\1x"
    body = varint(1) + varint(len(labels)) + labels + varint(0) + varint(len(counts))
    for ns, rows in counts:
        zigzag = ns << 1 if ns >= 0 else (-ns << 1) - 1
        body += varint(0) + varint(0) + b"\0\0" + varint(zigzag) + varint(0) + varint(rows) + varint(5)
    return f"sawlog-scan 1\ninstance {instance}\nrows 0\ncounts {len(body)}\n\n".encode() + body


def test_counts_of_other_times(made, peers):  # noqa: F811
    """Counts of times that nobody asked for are left out, and said."""
    far = [0, BASE - 3600 * SECOND, BASE + SPAN + 7200 * SECOND, 2**62, -2**62]
    page = counts_page((BASE + 7 * SECOND, 4), *[(ns, 1000) for ns in far])
    a = asker(made, [peers(None, lambda *_: page).url])
    for path, params in QUESTIONS[2:6]:
        answer = ask(a, path, **{**params, **RANGE})
        assert "were left out" in answer["warnings"][0], (path, answer)
    answer = ask(a, "/loki/api/v1/index/volume_range", **{**VOLUME, **RANGE})
    volumes = {s["metric"]["app"]: [float(v) for _, v in s["values"]] for s in answer["data"]["result"]}
    assert volumes["x"] == [5.0]


def test_pages_without_an_end(made, peers):  # noqa: F811
    """A page that says that there is more where it began, or before: once, and then it is said."""
    real = made("real").start()
    push(real, make_records()[:50])

    def again(handler, form, page):
        head, _, payload = page.partition(b"\n\n")
        return head + f"\nnext {BASE + 10**15} 1\n\n".encode() + payload

    peer = peers(real, again)
    a = asker(made, [peer.url])
    lines, warnings = own_lines(a)
    assert lines == [r[2] for r in OWN] and NOT_THERE in warnings[0] and peer.url in warnings[0]
    # A record's neighbours at it are missing, and that is said as of any query.
    answer = ask(a, "/loki/api/v1/query_range", query="{}", sequence="true", **RANGE)
    [number, *_] = [v[2]["seq"] for s in answer["data"]["result"] for v in s["values"]]
    answer = ask(a, f"/api/v1/record/{number}", context=2)
    assert NOT_THERE in answer["warnings"][0]
    # Streams come with one page, whatever it says.
    assert "app" in ask(a, "/loki/api/v1/labels", **RANGE)["data"]
    assert len(peer.asked) < 20


def test_rows_in_another_order(made, peers):  # noqa: F811
    """Rows that were told before, or are in the other order, are not told."""
    real = made("real").start()
    push(real, make_records()[:300])

    def other_order(handler, form, page):
        form = dict(form)
        form.pop("packed", None)
        form["forward"] = "" if form.get("forward") else "true"
        return real.call("POST", "/api/v1/scan", urllib.parse.urlencode(form).encode(),
                         {"Content-Type": "application/x-www-form-urlencoded"}).body

    a = asker(made, [peers(real, other_order).url])
    lines, warnings = own_lines(a)
    assert lines == [r[2] for r in OWN] and "order" in warnings[0]


def peak(server):
    """The most memory that it ever had, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.child.pid}/status").read_text())[1]) << 10


def test_a_bomb(made, peers):  # noqa: F811
    """4 KB that unpack to 120 MB are not unpacked where there is no room for it."""
    size, block = 120_000_000, 128 << 10
    frame = b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little")
    for at in range(0, size, block):
        n = min(block, size - at)
        frame += (n << 3 | 1 << 1 | (at + n == size)).to_bytes(3, "little") + b"\0"
    page = b"sawlog-scan 1\ninstance 00000000000000aa\nrows 60000000\ncounts 60000000\n" + \
        f"packed {len(frame)}\n\n".encode() + frame
    a = asker(made, [peers(None, lambda *_: page).url], "memory: 64MiB\n")
    before = peak(a)
    for _ in range(5):
        lines, warnings = own_lines(a)
        assert lines == [r[2] for r in OWN] and NOT_THERE in warnings[0]
    assert peak(a) - before < 60 << 20


# -- answers that are none

STATUSES = [400, 401, 403, 404, 405, 413, 429, 500, 503, 302, 204]


def test_other_statuses(made, peers):  # noqa: F811
    """Each is a warning that names the server, for lines, counts and listings."""
    status = [0]
    peer = peers(None, lambda *_: (status[0], b"said <b>\r\x1b[1m\xc3\xa4\x01 so \xff"))
    a = asker(made, [peer.url])
    for status[0] in STATUSES:
        lines, warnings = own_lines(a)
        assert lines == [r[2] for r in OWN], status
        assert len(warnings) == 1 and peer.url in warnings[0], (status, warnings)
        answer = ask(a, "/loki/api/v1/query", query="sum(count_over_time({}[4h]))",
                     time=str(BASE + SPAN + SECOND))
        assert answer["data"]["result"][0]["value"][1] == "5" and len(answer["warnings"]) == 1
        # Whatever bytes it says: they stand in a header here.
        answer = a.get("/logs/own", {"since": "876000h"})
        assert peer.url in answer.headers["X-Sawlog-Warning"]
    # What is too much of counts is asked for in halves, but not for ever.
    assert len(peer.asked) < 200


def hang(handler, form, page):
    """The head of an answer, half of a page, and nothing more while the connection is there."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(page) + 1000))
    handler.end_headers()
    handler.wfile.write(page[:len(page) // 2])
    handler.wfile.flush()
    handler.server.hanging.append(handler)
    while handler.connection.recv(100):
        pass
    handler.server.left.append(time.monotonic())


@pytest.fixture
def hanging(made, peers):  # noqa: F811
    real = made("real").start()
    push(real, make_records()[:100])
    peer = peers(real, hang)
    peer.web.hanging, peer.web.left = [], []
    return peer


def query_behind(server):
    """A query under way, on a connection of its own."""
    s = socket.create_connection(("127.0.0.1", server.port))
    s.sendall(b"GET /loki/api/v1/query_range?query=%7B%7D HTTP/1.1\r\nHost: x\r\n\r\n")
    return s


def test_one_stops_in_mid_page(made, hanging):  # noqa: F811
    a = asker(made, [hanging.url], "peer: {timeout: 1s}\n")
    lines, warnings = own_lines(a)
    assert lines == [r[2] for r in OWN] and hanging.url in warnings[0]


def test_a_query_ends_in_its_time(made, hanging):  # noqa: F811
    """A timeout of queries shorter than that of peers: the peer is given up first."""
    a = asker(made, [hanging.url], "limits: {query_timeout: 3s}\npeer: {timeout: 60s}\n")
    began = time.monotonic()
    lines, warnings = own_lines(a)
    assert lines == [r[2] for r in OWN] and hanging.url in warnings[0]
    # The next ones do not wait for it.
    own_lines(a)
    own_lines(a)
    assert time.monotonic() - began < 30
    assert len([form for form in hanging.asked if "streams" not in form]) < 3


def test_a_client_that_leaves(made, hanging):  # noqa: F811
    """ends its query, and that ends the question to the peer."""
    a = asker(made, [hanging.url], "limits: {query_timeout: 300s}\npeer: {timeout: 150s}\n")
    with query_behind(a):
        sawlog.wait_for("the peer was asked", lambda: hanging.web.hanging)
        assert not hanging.web.left
    sawlog.wait_for("the question was ended", lambda: hanging.web.left)


def test_the_server_ends_while_a_peer_hangs(made, hanging):  # noqa: F811
    a = asker(made, [hanging.url], "limits: {query_timeout: 300s}\npeer: {timeout: 150s}\n")
    behind = [query_behind(a) for _ in range(6)]
    sawlog.wait_for("the peer was asked", lambda: hanging.web.hanging)
    began = time.monotonic()
    a.stop()
    assert time.monotonic() - began < 20
    for s in behind:
        s.close()


# -- many

def test_sixty_four(made, peers):  # noqa: F811
    """As many as there may be, each with a record and a count of its own."""
    real = made("real").start()
    push(real, [({"app": "x"}, BASE + 9 * SECOND, "a record", {})])

    def own_name(handler, form, page):
        number = int(handler.path.split("/")[1])
        return re.sub(rb"instance \w+", b"instance %016x" % (number + 1), page)

    peer = peers(real, own_name)
    a = asker(made, [f"{peer.url}/{i}" for i in range(64)])
    for _ in range(3):
        lines, warnings = own_lines(a)
        assert sorted(lines) == ["a record"] * 64 + [r[2] for r in OWN] and not warnings
        answer = ask(a, "/loki/api/v1/query", query="sum(count_over_time({}[4h]))",
                     time=str(BASE + SPAN + SECOND))
        assert answer["data"]["result"][0]["value"][1] == "69" and "warnings" not in answer
    answer = ask(a, "/loki/api/v1/query_range", query='{app="x"}', sequence="true", **RANGE)
    numbers = {v[2]["seq"] for s in answer["data"]["result"] for v in s["values"]}
    assert len(numbers) == 64 and max(numbers) < 2**53
    b = made("too_many")
    b.config.write_text("peers:\n" + "".join(f"  - {peer.url}/{i}\n" for i in range(65)))
    b.start(wait=False)
    sawlog.wait_for("it is refused", lambda: not b.running)
    assert "64" in b.err
