# SPDX-License-Identifier: Apache-2.0
"""log-cache's HTTP API: what `cf logs`, `cf tail` and `cf log-meta` of today ask."""
import base64
import time

import pytest
import sawlog
from loggregator import DropsondeEmitter
from sawlog import wait_for

T = 1_700_000_000_000_000_000
APP = "01234567-89ab-cdef-0123-456789abcdef"


def read(server, source, **params):
    answer = server.get(f"/api/v1/read/{source}", params)
    assert answer.status == 200, answer.text
    assert answer.body.endswith(b"}}\n")
    shown = answer.json()
    assert set(shown) == {"envelopes"} and set(shown["envelopes"]) == {"batch"}
    return shown["envelopes"]["batch"]


def payloads(batch):
    return [base64.b64decode(x["log"]["payload"]).decode() for x in batch]


def walk(server, source, limit, **params):
    """All envelopes page by page, as its Go client walks: on from the last time and a nanosecond."""
    start, found = 0, []
    while True:
        page = read(server, source, start_time=start, limit=limit, **params)
        if not page:
            return found
        found += page
        start = int(page[-1]["timestamp"]) + 1


@pytest.fixture
def metrics(nodes):
    """A server that has one of each type, at T, T + 1, …"""
    port = sawlog.free_port()
    server = nodes.server(config=f"inputs:\n- loggregator: {{listen: 'udp://127.0.0.1:{port}'}}\n")
    with DropsondeEmitter(("127.0.0.1", port), app=APP, origin="doppler") as e:
        e.emit("out", timestamp=T)
        e.emit("err", err=True, timestamp=T + 1)
        e.container(12.5, 100, 200, 300, 400, index=3, timestamp=T + 2)
        e.http("http://x/", 200, T, T + 9, timestamp=T + 3)
        e.app = "doppler"
        e.counter("requests", 2, 10, timestamp=T + 4)
        e.metric("latency", 1.5, "ms", timestamp=T + 5)
    wait_for("all are there", lambda: len(server.entries('{app!=""}')) == 6)
    return server


def test_an_envelope(metrics):
    out, err, gauge, *_ = read(metrics, APP)
    assert set(out) == {"timestamp", "source_id", "instance_id", "deprecated_tags", "tags", "log"}
    assert (out["timestamp"], out["source_id"], out["instance_id"]) == (str(T), APP, "0")
    assert out["log"] == {"payload": base64.b64encode(b"out").decode(), "type": "OUT"}
    assert out["tags"]["source_type"] == "APP" and out["deprecated_tags"] == {}
    assert err["log"]["type"] == "ERR"
    assert gauge["instance_id"] == "3"
    assert gauge["gauge"]["metrics"]["cpu"]["value"] == 12.5


def test_types(metrics):
    def kinds(source, *types):
        return [next(k for k in ("log", "counter", "gauge", "timer", "event") if k in x)
                for x in read(metrics, source, envelope_types=types)]

    assert kinds(APP) == kinds(APP, "ANY") == ["log", "log", "gauge", "timer"][:len(kinds(APP))]
    assert kinds(APP, "LOG") == ["log", "log"]
    assert kinds(APP, "GAUGE") == ["gauge"]
    assert kinds(APP, "LOG", "GAUGE") == ["log", "log", "gauge"]
    assert kinds(APP, "1") == ["log", "log"]
    assert kinds(APP, "COUNTER") == kinds(APP, "EVENT") == []
    assert kinds("doppler") == ["counter", "gauge"] or kinds("doppler", "COUNTER") == []


def test_filter_by_name(metrics):
    def named(source, pattern):
        return len(read(metrics, source, name_filter=pattern))

    assert named(APP, "cpu") == 1
    assert named(APP, "^c.u$") == 1
    assert named(APP, "out") == 0  # logs have no name
    answer = metrics.get(f"/api/v1/read/{APP}?name_filter=(")
    assert answer.status == 400 and "name_filter" in answer.json()["error"]


def test_a_filter_reads_on_until_the_page_is_full(nodes):
    port = sawlog.free_port()
    server = nodes.server(config=f"inputs:\n- loggregator: {{listen: 'udp://127.0.0.1:{port}'}}\n")
    server.push({"app": "a"}, [(T + i, f"line {i}") for i in range(3000)])
    with DropsondeEmitter(("127.0.0.1", port), app="a") as e:
        e.container(1, 2, 3, timestamp=T + 2500)
        e.container(2, 2, 3, timestamp=T + 2900)
    wait_for("all are there", lambda: len(server.entries('{app="a"}')) == 3002)
    assert [x["timestamp"] for x in read(server, "a", name_filter="cpu")] == [str(T + 2500), str(T + 2900)]
    assert [x["timestamp"] for x in read(server, "a", name_filter="cpu", limit=1, descending="true")] == \
        [str(T + 2900)]


def test_times_and_limits(server):
    server.push({"app": "a"}, [(T + i, str(i)) for i in range(200)])
    assert payloads(read(server, "a")) == [str(i) for i in range(100)]
    assert payloads(read(server, "a", limit=0)) == [str(i) for i in range(100)]
    assert payloads(read(server, "a", start_time=T + 5, end_time=T + 8)) == ["5", "6", "7"]
    assert payloads(read(server, "a", limit=3, descending="true")) == ["199", "198", "197"]
    assert payloads(read(server, "a", end_time=T + 100, limit=2, descending="true")) == ["99", "98"]
    assert payloads(read(server, "a", start_time=T + 7, end_time=T + 7)) == []
    assert len(read(server, "a", limit=1000)) == 200
    # Without an end it is now.
    server.push({"app": "a"}, [(time.time_ns() + 3600 * 10**9, "of the future")])
    assert len(read(server, "a", limit=1000)) == 200


@pytest.mark.parametrize("params, words", [
    ({"limit": 1001}, "Limit (1001) must be 1000 or less"),
    ({"limit": -1}, "Limit (-1)"),
    ({"start_time": 5, "end_time": 4}, "StartTime (5) must be before EndTime (4)"),
    ({"start_time": "x"}, "start_time"),
    ({"end_time": 1 << 64}, "end_time"),
    ({"envelope_types": "LOGS"}, "envelope_types"),
])
def test_errors(server, params, words):
    answer = server.get("/api/v1/read/a", params)
    assert answer.status == 400
    assert words in answer.json()["error"] and answer.json()["message"] == answer.json()["error"]


def test_equal_times_all_come(server):
    """W-D11: log-cache took the time for the identity, so that envelopes of one nanosecond overwrote each other;
    and a client that goes on behind the last time must miss none that have it."""
    expected = []
    for i in range(40):
        lines = [(T + i, f"{i}.{k}") for k in range(i % 7 + 1)]
        expected += lines
        for instance in 0, 1:
            server.push({"app": "a", "source": f"APP/{instance}"}, lines)
    expected = sorted([line for _, line in expected] * 2)
    for limit in 1, 2, 3, 7, 14, 100, 1000:
        assert sorted(payloads(walk(server, "a", limit))) == expected, limit
    # Pages are no longer than asked for unless all of one is of one time.
    assert len(read(server, "a", limit=10)) <= 10
    assert len(read(server, "a", start_time=T + 6, limit=3)) == 14
    # The other way there is no next page to think of.
    assert len(read(server, "a", limit=3, descending="true")) == 3


def test_ids_with_slashes(server):
    server.push({"app": "a/b/c"}, [(T, "slashes")])
    assert payloads(read(server, "a/b/c")) == ["slashes"]
    assert payloads(read(server, "a%2Fb%2Fc")) == ["slashes"]
    assert read(server, "a") == []


def test_pages_of_any_size(nodes):
    """W-D5: 1,000 lines of 60 KB come in pages, forward; the newest ones when they are asked for backward."""
    server = nodes.server()
    for i in range(0, 1000, 100):
        assert server.push({"app": "a"}, [(T + n, f"{n:04} " + "x" * 60000) for n in range(i, i + 100)]).status == 204
    assert [p[:4] for p in payloads(walk(server, "a", 1000))] == [f"{i:04}" for i in range(1000)]
    newest = [p[:4] for p in payloads(read(server, "a", limit=1000, descending="true"))]
    assert len(newest) > 100 and newest == [f"{999 - i:04}" for i in range(len(newest))]


def test_meta(server):
    assert server.get("/api/v1/meta").json() == {"meta": {}}
    server.push({"app": "a", "source": "APP/0"}, [(T, "x"), (T + 5, "y")])
    server.push({"app": "a", "source": "APP/1"}, [(T - 5, "z")])
    server.push({"app": 'b "quoted"'}, [(T, "x")])
    server.push({"job": "no application"}, ["x"])
    server.push({"app": "c"}, ["x"], tenant="other")
    for _ in range(2):
        meta = server.get("/api/v1/meta").json()["meta"]
        assert set(meta) == {"a", 'b "quoted"'}
        assert meta["a"] == {"count": "3", "expired": "0", "oldest_timestamp": str(T - 5),
                             "newest_timestamp": str(T + 5)}
        server.call("POST", "/-/flush")


def test_info(server):
    info = server.get("/api/v1/info").json()
    assert set(info) == {"version", "vm_uptime"}
    assert info["version"].count(".") == 2 and int(info["vm_uptime"]) > 0


def test_over_several_servers(nodes):
    servers = [sawlog.Server(nodes.folder / name, name=name, config="{}\n") for name in ("first", "second")]
    first, second = servers
    try:
        first.start()
        second.config.write_text(f"peers: ['{first.url}']\n")
        second.start()
        first.push({"app": "a"}, [(T, "of the first")])
        second.push({"app": "a"}, [(T + 1, "of the second")])
        assert payloads(read(second, "a")) == ["of the first", "of the second"]
        assert second.get("/api/v1/meta").json()["meta"]["a"]["count"] == "2"
        assert payloads(read(second, "a", local="true")) == ["of the second"]
    finally:
        for s in servers:
            s.close()
